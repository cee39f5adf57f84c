"""A schema for the Kotlin SDK. Pure."""

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

__all__ = ["kotlin"]

_TYPES = {ColumnKind.TEXT: "String", ColumnKind.INTEGER: "Int", ColumnKind.REAL: "Double"}
_TABLES = "import com.powersync.db.schema.Column\nimport com.powersync.db.schema.Schema\nimport com.powersync.db.schema.Table\n"
_STREAMS = (
    "import com.powersync.PowerSyncDatabase\nimport com.powersync.sync.SyncStream\n"
    "import com.powersync.utils.JsonParam\nimport kotlin.jvm.JvmInline\n"
)


def kotlin(found: ClientTables) -> str:
    """The schema, and a value class with the streams."""
    imports = _TABLES + (_STREAMS if found.streams else "")
    return schema_with_streams(
        found,
        around_tables=(f"{imports}\nval schema = Schema(\n", "\n)\n"),
        table=_table,
        around_streams=("\n@JvmInline\nvalue class TypedSyncStreams(private val db: PowerSyncDatabase) {\n", "}\n"),
        stream=_stream,
    )


def _text(name: str) -> str:
    return in_quotes(name, '"', "$")


def _table(table: ClientTable) -> str:
    columns = ",\n".join(f"        Column.{column.kind}({_text(column.name)})" for column in table.columns)
    return f"  Table(\n    name = {_text(table.name)},\n    columns = listOf(\n{columns}\n    )\n  )"


def _stream(stream: ClientStream) -> str:
    head = f"  fun {camel_case(stream.name)}("
    if not stream.parameters:
        return f"{head}): SyncStream = db.syncStream({_text(stream.name)}, emptyMap())\n"
    declared = declared_parameters(stream, _TYPES, "{name}: {type}")
    puts = "\n".join(f"    put({_text(one.name)}, {_value(one)})" for one in stream.parameters)
    return f"{head}{declared}): SyncStream = db.syncStream({_text(stream.name)}, buildMap {{\n{puts}\n  }})\n"


def _value(parameter: StreamParameter) -> str:
    is_number = parameter.types & (ValueTypes.INTEGER | ValueTypes.REAL)
    return f"JsonParam.{'Number' if is_number else 'String'}({camel_case(parameter.name)})"
