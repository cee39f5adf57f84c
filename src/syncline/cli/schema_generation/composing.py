"""What outputs share that are a schema of tables and, where there are streams, something with a method for each. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from syncline.cli.schema_generation.model import ClientStream, ClientTable, ClientTables, ColumnKind, column_kind
from syncline.cli.schema_generation.names import camel_case

__all__ = ["declared_parameters", "schema_with_streams"]


def schema_with_streams(
    found: ClientTables,
    *,
    around_tables: tuple[str, str],
    table: Callable[[ClientTable], str],
    around_streams: tuple[str, str],
    stream: Callable[[ClientStream], str],
) -> str:
    """The whole text: tables between commas, then methods, one behind the other; both with what stands around them."""
    before, behind = around_tables
    schema = before + ",\n".join(map(table, found.tables)) + behind
    if not found.streams:
        return schema
    before, behind = around_streams
    return schema + before + "".join(map(stream, found.streams)) + behind


def declared_parameters(stream: ClientStream, types: Mapping[ColumnKind, str], form: str) -> str:
    """The parameters of a stream's method: `form` says one, with `{name}` and `{type}`; `types` are the language's."""
    return ", ".join(
        form.format(name=camel_case(one.name), type=types[column_kind(one.types)]) for one in stream.parameters
    )
