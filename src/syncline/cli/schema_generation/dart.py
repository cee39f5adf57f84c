"""A schema for the Dart SDK. Pure."""

from __future__ import annotations

from syncline.cli.schema_generation.model import ClientStream, ClientTable, ClientTables, ColumnKind, column_kind
from syncline.cli.schema_generation.names import camel_case, in_quotes

__all__ = ["dart"]

_TYPES = {ColumnKind.TEXT: "String", ColumnKind.INTEGER: "int", ColumnKind.REAL: "double"}


def dart(found: ClientTables) -> str:
    """The schema, and an extension type with the streams."""
    tables = ",\n".join(map(_table, found.tables))
    schema = f"Schema([\n{tables}\n]);\n"
    if not found.streams:
        return schema
    methods = "\n".join(map(_stream, found.streams))
    return f"{schema}\nextension type TypedSyncStreams(PowerSyncDatabase _db) {{\n{methods}\n}}\n"


def _text(name: str) -> str:
    return in_quotes(name, "'", "$")


def _table(table: ClientTable) -> str:
    columns = ",\n".join(f"    Column.{column.kind}({_text(column.name)})" for column in table.columns)
    return f"  Table({_text(table.name)}, [\n{columns}\n  ])"


def _stream(stream: ClientStream) -> str:
    names = [(one.name, camel_case(one.name), _TYPES[column_kind(one.types)]) for one in stream.parameters]
    declared = ", ".join(f"required {kind} {variable}" for _, variable, kind in names)
    given = " ".join(f"{_text(name)}: {variable}," for name, variable, _ in names)
    head = f"{{{declared}}}" if declared else ""
    return f"  SyncStream {camel_case(stream.name)}({head}) => _db.syncStream({_text(stream.name)}, {{{given}}});"
