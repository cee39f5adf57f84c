"""`sql`: `CREATE TABLE` statements for SQLite, for tables that an app keeps itself (raw tables) and for looking at. Pure."""

from __future__ import annotations

from syncline.cli.schema_generation.header import head_lines
from syncline.cli.schema_generation.model import ClientTable, ClientTables
from syncline.cli.schema_generation.outputs import SchemaOutput

__all__ = ["sql_tables"]


def sql_tables(found: ClientTables) -> str:
    """One statement for each table."""
    return head_lines(found, SchemaOutput.SQL, "--") + "".join(f"\n{_table(table)}" for table in found.tables)


def _table(table: ClientTable) -> str:
    columns = ["  id TEXT NOT NULL PRIMARY KEY"]
    columns += [f"  {_quoted(column.name)} {column.kind.upper()}" for column in table.columns]
    listed = ",\n".join(columns)
    return f"CREATE TABLE {_quoted(table.name)} (\n{listed}\n);\n"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
