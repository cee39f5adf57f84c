"""Schemas for the .NET SDK: tables as values (`dotNet`) or as classes with attributes (`dotNetClass`). Pure."""

from __future__ import annotations

from syncline.cli.schema_generation.composing import declared_parameters
from syncline.cli.schema_generation.model import ClientStream, ClientTable, ClientTables, ColumnKind
from syncline.cli.schema_generation.names import camel_case, capitalised, in_quotes, pascal_case

__all__ = ["dot_net", "dot_net_class"]

_TYPES = {ColumnKind.TEXT: "string", ColumnKind.INTEGER: "int", ColumnKind.REAL: "double"}
_STREAMS_HEAD = (
    "public readonly ref struct TypedSyncStreams(PowerSyncDatabase db)\n{\n"
    "    private PowerSyncDatabase db { get; } = db;\n"
)


def dot_net(found: ClientTables) -> str:
    """A class with one static table each."""
    tables = "".join(f"{_table(table)}\n" for table in found.tables)
    names = ", ".join(capitalised(table.name) for table in found.tables)
    return (
        f"using PowerSync.Common.DB.Schema;\n\nclass AppSchema\n{{\n{tables}"
        f"    public static Schema PowerSyncSchema = new Schema({names});\n}}"
        f"{_streams(found.streams)}"
    )


def _text(name: str) -> str:
    return in_quotes(name, '"')


def _table(table: ClientTable) -> str:
    columns = "".join(
        f"            [{_text(column.name)}] = ColumnType.{capitalised(column.kind)},\n" for column in table.columns
    )
    return (
        f"    public static Table {capitalised(table.name)} = new Table\n    {{\n"
        f"        Name = {_text(table.name)},\n        Columns =\n        {{\n{columns}        }},\n    }};\n"
    )


def dot_net_class(found: ClientTables) -> str:
    """A class for the rows of each table."""
    classes = "".join(f"{_row_class(table)}\n" for table in found.tables)
    names = ", ".join(f"typeof({pascal_case(table.name)}Item)" for table in found.tables)
    streams = _streams(found.streams)
    return (
        "using PowerSync.Common.DB.Schema;\nusing PowerSync.Common.DB.Schema.Attributes;\n\n"
        f"{classes}public class AppSchema\n{{\n"
        f"    public static Schema PowerSyncSchema = new Schema({names});\n}}{streams or chr(10)}"
    )


def _row_class(table: ClientTable) -> str:
    key = (
        '    // An "id" property is required when using a class-based schema.\n'
        '    [Column("id")]\n    public string Id { get; set; }\n'
    )
    columns = "".join(
        f"\n    [Column({_text(column.name)})]\n    public {_TYPES[column.kind]} {pascal_case(column.name)} {{ get; set; }}\n"
        for column in table.columns
    )
    return f"[Table({_text(table.name)})]\npublic class {pascal_case(table.name)}Item\n{{\n{key}{columns}}}\n"


def _streams(streams: tuple[ClientStream, ...]) -> str:
    """What stands behind the last brace of the schema; empty where there are none."""
    return f"\n\n{_STREAMS_HEAD}{''.join(map(_stream, streams))}}}\n" if streams else ""


def _stream(stream: ClientStream) -> str:
    declared = declared_parameters(stream, _TYPES, "{type} {name}")
    entries = ",\n".join(f"            {{ {_text(one.name)}, {camel_case(one.name)} }}" for one in stream.parameters)
    given = f"{{\n{entries}\n        }}" if entries else "{}"
    return (
        f"    public ISyncStream {pascal_case(stream.name)}({declared})\n    {{\n"
        f"        var parameters = new Dictionary<string, object>() {given};\n"
        f"        return db.SyncStream({_text(stream.name)}, parameters);\n    }}\n"
    )
