"""A schema for the Dart SDK. Pure."""

from __future__ import annotations

from syncline.cli.schema_generation.composing import declared_parameters, schema_with_streams
from syncline.cli.schema_generation.model import ClientStream, ClientTable, ClientTables, ColumnKind
from syncline.cli.schema_generation.names import camel_case, in_quotes

__all__ = ["dart"]

_TYPES = {ColumnKind.TEXT: "String", ColumnKind.INTEGER: "int", ColumnKind.REAL: "double"}


def dart(found: ClientTables) -> str:
    """The schema, and an extension type with the streams."""
    return schema_with_streams(
        found,
        around_tables=("Schema([\n", "\n]);\n"),
        table=_table,
        around_streams=("\nextension type TypedSyncStreams(PowerSyncDatabase _db) {\n", "}\n"),
        stream=_stream,
    )


def _text(name: str) -> str:
    return in_quotes(name, "'", "$")


def _table(table: ClientTable) -> str:
    columns = ",\n".join(f"    Column.{column.kind}({_text(column.name)})" for column in table.columns)
    return f"  Table({_text(table.name)}, [\n{columns}\n  ])"


def _stream(stream: ClientStream) -> str:
    declared = declared_parameters(stream, _TYPES, "required {type} {name}")
    given = " ".join(f"{_text(one.name)}: {camel_case(one.name)}," for one in stream.parameters)
    head = f"{{{declared}}}" if declared else ""
    return f"  SyncStream {camel_case(stream.name)}({head}) => _db.syncStream({_text(stream.name)}, {{{given}}});\n"
