"""`python-dataclass` and `pydantic`: the module of `python_schema`, and a class for the rows of each table. Pure.

`db.fetch(ListsRow, "SELECT * FROM lists")` reads rows as these classes (Python client reference, "typed reads"). Every field but the id can
be None: a device cannot know more, and a column that was added is NULL in rows that came before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from syncline.cli.schema_generation.model import ClientColumn, ClientTable, ClientTables
from syncline.cli.schema_generation.names import python_class_name, python_name
from syncline.cli.schema_generation.outputs import SchemaOutput
from syncline.cli.schema_generation.python_schema import SCHEMA_IMPORT, schema_constant
from syncline.cli.schema_generation.python_source import (
    RESERVED,
    docstring,
    literal,
    module,
    python_type,
    usable_tables,
)

__all__ = ["dataclass_rows", "pydantic_rows"]

_PYDANTIC_TAKEN = frozenset(
    {"construct", "copy", "dict", "from_orm", "json", "parse_file", "parse_obj", "parse_raw", "schema", "schema_json"}
    | {"update_forward_refs", "validate"}
)


def dataclass_rows(found: ClientTables, notes: list[str]) -> str:
    """Frozen dataclasses. A column whose name is no identifier needs `AS` in queries: the field says so."""
    tables = usable_tables(found, notes)
    imports = {SCHEMA_IMPORT, "from dataclasses import dataclass", *_imports(tables)}
    rows = [_dataclass(table, name) for table, name in _classes(tables)]
    return module(found, SchemaOutput.PYTHON_DATACLASS, imports=imports, parts=[schema_constant(tables), *rows])


def pydantic_rows(found: ClientTables, notes: list[str]) -> str:
    """Frozen models. A column whose name is no identifier is the alias of its field."""
    tables = usable_tables(found, notes)
    imports = {SCHEMA_IMPORT, "from pydantic import BaseModel, ConfigDict", *_imports(tables)}
    rows = [_model(table, name) for table, name in _classes(tables)]
    if any("Field(" in row for row in rows):
        imports = {
            *imports - {"from pydantic import BaseModel, ConfigDict"},
            "from pydantic import BaseModel, ConfigDict, Field",
        }
    return module(found, SchemaOutput.PYDANTIC, imports=imports, parts=[schema_constant(tables), *rows])


def _classes(tables: tuple[ClientTable, ...]) -> Iterator[tuple[ClientTable, str]]:
    taken: set[str] = set()
    for table in tables:
        name = python_class_name(table.name, taken)
        taken.add(name)
        yield table, name


def _imports(tables: tuple[ClientTable, ...]) -> set[str]:
    return {line for table in tables for column in table.columns for line in python_type(column).imports}


def _annotation(column: ClientColumn) -> str:
    return f"{python_type(column).annotation} | None"


def _docstring(table: ClientTable, name: str) -> str:
    return "    " + docstring(f"A row of the table {table.name}, as `db.fetch({name}, …)` reads it.")


def _dataclass(table: ClientTable, name: str) -> str:
    lines = ["@dataclass(frozen=True, slots=True, kw_only=True)", f"class {name}:", _docstring(table, name), ""]
    lines.append("    id: str")
    taken: set[str] = {"id"}
    for column in table.columns:
        field = python_name(column.name, {*taken, *RESERVED})
        taken.add(field)
        comment = "" if field == column.name else f"  # SELECT {_quoted(column.name)} AS {field}"
        lines.append(f"    {field}: {_annotation(column)}{comment}")
    return "\n".join(lines) + "\n"


def _model(table: ClientTable, name: str) -> str:
    lines = [f"class {name}(BaseModel):", _docstring(table, name), "", "    model_config = ConfigDict(frozen=True)", ""]
    lines.append("    id: str")
    taken: set[str] = {"id", *_PYDANTIC_TAKEN, *RESERVED}
    for column in table.columns:
        plain = re.sub(r"^(_|model_)+", "", column.name) or "field"  # both beginnings are the library's own
        field = python_name(plain, taken).lstrip("_") or "field"
        field = field if field.isidentifier() and field not in taken else python_name(f"column_{field}", taken)
        taken.add(field)
        alias = "" if field == column.name else f" = Field(alias={literal(column.name)})"
        lines.append(f"    {field}: {_annotation(column)}{alias}")
    return "\n".join(lines) + "\n"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
