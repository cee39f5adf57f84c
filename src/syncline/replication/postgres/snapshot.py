"""Copying a table: COPY by block ranges, in one REPEATABLE READ transaction.

A TID range scan reads a table of any key (or none) in the order of its pages, and how far it is can be told by arithmetic. It is sound
because the slot is older than the copy: whatever changes meanwhile comes again in the stream.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping

import psycopg
from psycopg import sql

from syncline.errors import SourceUnavailable
from syncline.protocol.bucket_names import SyncValue
from syncline.replication.postgres.catalog import PublishedTable
from syncline.replication.postgres.connection import Row
from syncline.replication.postgres.types import TypeInfo
from syncline.replication.postgres.values import Converter, as_it_is, make_converter
from syncline.replication.source import Relation, SnapshotChunk
from syncline.sync_config.value_format import ValueFormat

__all__ = ["SNAPSHOT_CHUNK_BYTES", "SNAPSHOT_CHUNK_ROWS", "copy_table", "parse_row"]

SNAPSHOT_CHUNK_ROWS = 4000  # rows handed over at a time
SNAPSHOT_CHUNK_BYTES = (
    8_000_000  # bytes of COPY text after which fewer are handed over: large rows must not fill the memory
)
SNAPSHOT_RANGE_BLOCKS = 1024  # pages of one COPY (8 MB): how often progress is told

_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


async def copy_table(
    connection: psycopg.AsyncConnection[Row],
    table: PublishedTable,
    types: Mapping[int, TypeInfo],
    value_format: ValueFormat,
) -> AsyncGenerator[SnapshotChunk]:
    """All rows of the table as of the beginning, in chunks. `connection` is used by nobody else meanwhile."""
    converters = [make_converter(column.type_id, types, value_format) for column in table.relation.columns]
    await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try:
        blocks = await _lock_and_measure(connection, table.relation)
        rows: list[tuple[SyncValue, ...]] = []
        size = 0
        for start in range(0, max(blocks, 1), SNAPSHOT_RANGE_BLOCKS):
            end = start + SNAPSHOT_RANGE_BLOCKS
            query = _range_query(table, start, end if end < blocks else None)
            async with connection.cursor() as reading, reading.copy(query) as copy:
                async for data in copy:
                    rows.append(parse_row(bytes(data), converters))
                    size += len(data)
                    if len(rows) >= SNAPSHOT_CHUNK_ROWS or size >= SNAPSHOT_CHUNK_BYTES:
                        yield SnapshotChunk(rows, start / max(blocks, 1))
                        rows, size = [], 0
        yield SnapshotChunk(rows, 1.0)
    finally:
        if not connection.closed:
            await connection.execute("ROLLBACK")


async def _lock_and_measure(connection: psycopg.AsyncConnection[Row], relation: Relation) -> int:
    """Hold the table as it is, then count its pages. Raises SourceUnavailable when it is not the one that was announced.

    The lock stands before the transaction's snapshot is taken: a rewrite by ALTER TABLE between them would leave a table that looks
    empty to this snapshot (Postgres manual, 13.6, "Caveats").
    """
    name = sql.Identifier(relation.schema, relation.name)
    await connection.execute(sql.SQL("LOCK TABLE ONLY {} IN ACCESS SHARE MODE").format(name))
    cursor = await connection.execute(
        "SELECT pg_relation_size(c.oid) / current_setting('block_size')::int"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = %s AND n.nspname = %s AND c.relname = %s",
        (relation.id, relation.schema, relation.name),
    )
    row = await cursor.fetchone()
    if row is None:
        raise SourceUnavailable(f"The table {relation.schema}.{relation.name} was replaced before it could be copied.")
    return row[0]


def _range_query(table: PublishedTable, start: int, end: int | None) -> sql.Composed:
    """Rows of the pages from `start` to before `end`; without an end, also those that were added meanwhile."""
    columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in table.relation.columns)
    query = sql.SQL("COPY (SELECT {} FROM ONLY {} WHERE ctid >= {}::tid").format(
        columns, sql.Identifier(table.relation.schema, table.relation.name), sql.Literal(f"({start},0)")
    )
    if end is not None:
        query += sql.SQL(" AND ctid < {}::tid").format(sql.Literal(f"({end},0)"))
    if table.row_filter:
        query += sql.SQL(" AND ({})").format(sql.SQL(table.row_filter))  # type: ignore[arg-type]  # the catalog's own text
    return query + sql.SQL(") TO STDOUT")


def parse_row(line: bytes, converters: list[Converter]) -> tuple[SyncValue, ...]:
    """One line of COPY's text format (Postgres manual, COPY, "Text Format")."""
    if not converters:  # a table may have no columns
        return ()
    fields = line.decode().removesuffix("\n").split("\t")
    if b"\\" not in line:
        return tuple(
            [
                field if convert is as_it_is else convert(field)
                for convert, field in zip(converters, fields, strict=True)
            ]
        )
    return tuple(
        [
            None if field == "\\N" else convert(_unescape(field) if "\\" in field else field)
            for convert, field in zip(converters, fields, strict=True)
        ]
    )


def _unescape(field: str) -> str:
    parts = field.split("\\")
    out = [parts[0]]
    index = 1
    while index < len(parts):
        part = parts[index]
        if part == "":  # an escaped backslash: what follows it is plain
            out.append("\\")
            index += 1
            if index < len(parts):
                out.append(parts[index])
        else:
            out.append(_ESCAPES.get(part[0], part[0]) + part[1:])
        index += 1
    return "".join(out)
