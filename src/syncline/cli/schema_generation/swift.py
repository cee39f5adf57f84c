"""A schema for the Swift SDK. Pure."""

from __future__ import annotations

from syncline.cli.schema_generation.composing import declared_parameters, schema_with_streams
from syncline.cli.schema_generation.model import (
    ClientStream,
    ClientTable,
    ClientTables,
    ColumnKind,
    StreamParameter,
    ValueTypes,
)
from syncline.cli.schema_generation.names import camel_case, in_quotes

__all__ = ["swift"]

_TYPES = {ColumnKind.TEXT: "String", ColumnKind.INTEGER: "Int", ColumnKind.REAL: "Double"}
_STREAMS_HEAD = (
    "struct TypedSyncStreams {\n    private var db: PowerSyncDatabaseProtocol\n"
    "    init(_ db: PowerSyncDatabaseProtocol) {\n        self.db = db\n    }\n"
)


def swift(found: ClientTables) -> str:
    """The schema, and a struct with the streams."""
    return schema_with_streams(
        found,
        around_tables=("import PowerSync\n\nlet schema = Schema(\n", "\n)\n\n"),
        table=_table,
        around_streams=(_STREAMS_HEAD, "}\n"),
        stream=_stream,
    )


def _text(name: str) -> str:
    return in_quotes(name, '"')


def _table(table: ClientTable) -> str:
    columns = ",\n".join(f"        .{column.kind}({_text(column.name)})" for column in table.columns)
    return f"  Table(\n    name: {_text(table.name)},\n    columns: [\n{columns}\n    ]\n  )"


def _stream(stream: ClientStream) -> str:
    declared = declared_parameters(stream, _TYPES, "{name}: {type}")
    entries = ",\n".join(f"            {_text(one.name)}: {_value(one)}" for one in stream.parameters)
    given = f"[\n{entries}\n        ]" if entries else "[:]"
    return (
        f"    func {camel_case(stream.name)}({declared}) -> SyncStream {{\n"
        f"        return db.syncStream(name: {_text(stream.name)}, params: {given})\n    }}\n"
    )


def _value(parameter: StreamParameter) -> str:
    number = "int" if parameter.types & ValueTypes.INTEGER else "double"
    case = number if parameter.types & (ValueTypes.INTEGER | ValueTypes.REAL) else "string"
    return f"JsonValue.{case}({camel_case(parameter.name)})"
