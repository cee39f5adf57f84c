"""`sqlalchemy`: mapped classes, the client's schema made from them, and `Streams`. Pure."""

from __future__ import annotations

from syncline.cli.schema_generation.model import ClientColumn, ClientTable, ClientTables, ColumnKind
from syncline.cli.schema_generation.names import python_class_name, python_name
from syncline.cli.schema_generation.outputs import SchemaOutput
from syncline.cli.schema_generation.python_source import (
    RESERVED,
    docstring,
    literal,
    module,
    python_type,
    usable_tables,
)

__all__ = ["sqlalchemy_models"]

_SQL_TYPES = {
    "bool": "Boolean",
    "Decimal": "Numeric",
    "dt.date": "Date",
    "dt.datetime": "DateTime(timezone=True)",
    "dict[str, Any] | list[Any]": "JSON",
    "list[Any]": "JSON",
    "dt.time": "Time",
}
_BY_KIND = {ColumnKind.TEXT: "String", ColumnKind.INTEGER: "BigInteger", ColumnKind.REAL: "Float"}
_TAKEN = frozenset({"id", "metadata", "registry", *RESERVED})
_BASE = 'class Base(DeclarativeBase):\n    """What all models of this module descend from."""\n'
_SCHEMA = "SCHEMA = schema_from_sqlalchemy(Base.metadata)\n"


def sqlalchemy_models(found: ClientTables, notes: list[str]) -> str:
    """A class for each table; `SCHEMA` is what `SyncDatabase` takes."""
    tables = usable_tables(found, notes)
    columns = [column for table in tables for column in table.columns]
    sql_types = sorted({"String", *(_sql_type(column).partition("(")[0] for column in columns)})
    imports = {
        f"from sqlalchemy import {', '.join(sql_types)}",
        "from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column",
        "from syncline.client import new_id",
        "from syncline.client.sqlalchemy import schema_from_sqlalchemy",
        *(line for column in columns for line in python_type(column).imports),
    }
    taken: set[str] = {"Base"}
    classes: list[str] = []
    for table in tables:
        name = python_class_name(table.name, taken)
        taken.add(name)
        classes.append(_model(table, name))
    return module(found, SchemaOutput.SQLALCHEMY, imports=imports, parts=[_BASE, *classes, _SCHEMA])


def _annotation(column: ClientColumn) -> str:
    return python_type(column).annotation


def _sql_type(column: ClientColumn) -> str:
    return _SQL_TYPES.get(_annotation(column)) or _BY_KIND[column.kind]


def _model(table: ClientTable, name: str) -> str:
    lines = [
        f"class {name}(Base):",
        f"    {docstring(f'A row of the table {table.name}.')}",
        "",
        f"    __tablename__ = {literal(table.name)}",
        "",
        "    id: Mapped[str] = mapped_column(String, primary_key=True, default=new_id)",
    ]
    taken: set[str] = set(_TAKEN)
    for column in table.columns:
        field = python_name(column.name, taken)
        if field.startswith("__"):  # Python and SQLAlchemy take such names for their own
            field = python_name(f"column{field}", taken)
        taken.add(field)
        arguments = [*([literal(column.name)] if field != column.name else []), _sql_type(column)]
        lines.append(f"    {field}: Mapped[{_annotation(column)} | None] = mapped_column({', '.join(arguments)})")
    return "\n".join(lines) + "\n"
