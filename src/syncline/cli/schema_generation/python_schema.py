"""`python`: a module with `SCHEMA` for `syncline.client.SyncDatabase`, and `Streams`. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from syncline.cli.schema_generation.model import ClientTable, ClientTables
from syncline.cli.schema_generation.outputs import SchemaOutput
from syncline.cli.schema_generation.python_source import literal, module, python_type, usable_tables

__all__ = ["SCHEMA_IMPORT", "python_schema", "schema_constant"]

SCHEMA_IMPORT = "from syncline.client import Column, Schema, Table"


def python_schema(found: ClientTables, notes: list[str]) -> str:
    """The module; what had to be left out goes to `notes`."""
    tables = usable_tables(found, notes)
    return module(found, SchemaOutput.PYTHON, imports={SCHEMA_IMPORT}, parts=[schema_constant(tables)])


def schema_constant(tables: Iterable[ClientTable]) -> str:
    """`SCHEMA = Schema([…])`."""
    lines = ["SCHEMA = Schema(", "    ["]
    for table in tables:
        lines += ["        Table(", f"            {literal(table.name)},"]
        columns = [
            f"                Column.{python_type(column).helper}({literal(column.name)})," for column in table.columns
        ]
        lines += ["            [", *columns, "            ],"] if columns else ["            [],"]
        lines += ["        ),"]
    return "\n".join([*lines, "    ]", ")"]) + "\n"
