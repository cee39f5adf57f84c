"""Schemas for the JavaScript SDKs: `ts`, `js`, and the form of their first releases, `jsLegacy`. Pure."""

from __future__ import annotations

from syncline.cli.schema_generation.model import (
    ClientStream,
    ClientTable,
    ClientTables,
    StreamParameter,
    ValueTypes,
)
from syncline.cli.schema_generation.names import camel_case, in_quotes

__all__ = ["javascript", "javascript_legacy", "typescript"]


def typescript(found: ClientTables) -> str:
    """Tables, `AppSchema`, the type of its rows, and a function that gives the streams."""
    return _module(found, "export type Database = (typeof AppSchema)['types'];\n")


def javascript(found: ClientTables) -> str:
    """The same without the type of rows."""
    return _module(found, "")


def _module(found: ClientTables, rows_type: str) -> str:
    names = "column, Schema, Table" + (", PowerSyncDatabase, SyncStream" if found.streams else "")
    head = f"import {{ {names} }} from '@powersync/web';\n// OR: import {{ {names} }} from '@powersync/react-native';\n"
    tables = "".join(f"\n{_table(table)}" for table in found.tables)
    listed = ",\n".join(f"  {table.name}" for table in found.tables)
    schema = f"\nexport const AppSchema = new Schema({{\n{listed}\n}});\n"
    return f"{head}{tables}{schema}\n{rows_type}\n{_streams(found.streams)}"


def _table(table: ClientTable) -> str:
    columns = ",\n".join(f"    {column.name}: column.{column.kind}" for column in table.columns)
    return (
        f"const {table.name} = new Table(\n  {{\n    // id column (text) is automatically included\n{columns}\n  }},\n"
        "  { indexes: {} }\n);\n"
    )


def _streams(streams: tuple[ClientStream, ...]) -> str:
    if not streams:
        return ""
    methods = ",\n".join(map(_stream, streams))
    return f"export function typedStreams(db: PowerSyncDatabase) {{\n  return {{\n{methods}\n  }};\n}}\n"


def _text(name: str) -> str:
    return in_quotes(name, "'")


def _stream(stream: ClientStream) -> str:
    declared = ", ".join(f"{one.name}: {_type(one)}" for one in stream.parameters)
    head, given = (f"params: {{ {declared} }}", "params") if declared else ("", "{}")
    return (
        f"    {camel_case(stream.name)}({head}): SyncStream {{\n"
        f"      return db.syncStream({_text(stream.name)}, {given});\n    }}"
    )


def _type(parameter: StreamParameter) -> str:
    return "number" if parameter.types & (ValueTypes.INTEGER | ValueTypes.REAL) else "string"


def javascript_legacy(found: ClientTables) -> str:
    """A list of tables with classes for columns."""
    tables = ",\n".join(map(_legacy_table, found.tables))
    return f"new Schema([\n{tables}\n])\n"


def _legacy_table(table: ClientTable) -> str:
    columns = ",\n".join(
        f"      new Column({{ name: {_text(column.name)}, type: ColumnType.{column.kind.upper()} }})"
        for column in table.columns
    )
    return f"  new Table({{\n    name: {_text(table.name)},\n    columns: [\n{columns}\n    ]\n  }})"
