"""Columns of a source for tests: `table="id uuid, name text"`, in the schema public."""

from __future__ import annotations

from syncline.cli.schema_generation.model import ClientTables, ValueTypes
from syncline.cli.schema_generation.source_columns import SourceColumn, SourceColumns, SourceTableColumns
from syncline.cli.schema_generation.tables import client_tables

__all__ = ["STREAMS", "source", "tables_of"]

STREAMS = "config:\n  edition: 3\nstreams:\n"
_INTEGERS = ("int2", "int4", "int8", "bool", "oid")


def _column(text: str) -> SourceColumn:
    name, declared = text.split()
    if declared in _INTEGERS:
        types = ValueTypes.INTEGER
    elif declared in ("float4", "float8"):
        types = ValueTypes.REAL
    else:
        types = ValueTypes.BLOB if declared == "bytea" else ValueTypes.TEXT
    return SourceColumn(name, types, declared)


def source(**tables: str) -> SourceColumns:
    """All of them in the schema public."""
    return SourceColumns(
        tuple(
            SourceTableColumns("public", name, tuple(_column(one.strip()) for one in columns.split(",")))
            for name, columns in tables.items()
        )
    )


def tables_of(streams: str, **tables: str) -> ClientTables:
    """What a device gets of these streams (indented by two); without tables, the source is not known."""
    return client_tables(STREAMS + streams, source(**tables) if tables else None)
