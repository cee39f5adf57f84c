"""Reading a table while its changes are streamed: small chunks that say what they see, rows by key, and whom to wait for.

A table that was published only after its slot was made is copied beside the stream (`syncline.replication.beside`). Its rows are read
by block ranges as in any copy (`snapshot.py`); what moves meanwhile is in the stream.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Mapping, Sequence

import psycopg
from psycopg import sql

from syncline.protocol.bucket_names import SyncValue
from syncline.replication.postgres.catalog import PublishedTable
from syncline.replication.postgres.connection import Row
from syncline.replication.postgres.copy_out import copy_out
from syncline.replication.postgres.copy_rows import make_row_parser
from syncline.replication.postgres.table_reading import (
    SNAPSHOT_RANGE_BLOCKS,
    copy_query,
    lock_and_look,
    pages,
    read_chunks,
    tell_of_range,
    tell_of_rewrite,
)
from syncline.replication.postgres.types import TypeInfo
from syncline.replication.source import Relation, SnapshotChunk, SourceView
from syncline.storage.model import SnapshotProgress
from syncline.sync_config.value_format import ValueFormat

__all__ = ["BESIDE_CHUNK_ROWS", "copy_beside", "rows_by_key", "wait_for_writers"]

log = logging.getLogger(__name__)

BESIDE_CHUNK_ROWS = (
    1000  # rows handed over at a time, about: commits of the stream wait while they are stored, some 20 ms
)
BESIDE_BYTES_MAX = 8_000_000  # bytes of COPY text handed over at a time, unless a single page has more
BESIDE_FIRST_BLOCKS = 8  # pages read first; then as many as give the wanted rows
WRITERS_POLL_S = 0.1  # seconds between two looks at who still writes
WRITERS_TOLD_INTERVAL_S = 30.0  # seconds between two lines of the log about them

_WRITERS = """
SELECT DISTINCT virtualtransaction, coalesce(pid, 0) FROM pg_locks
 WHERE locktype = 'relation' AND relation = %s AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock') AND granted
   AND pid IS DISTINCT FROM pg_backend_pid()
"""
_VIEW = """
SELECT pg_snapshot_xmax(s)::text, ARRAY(SELECT x::text FROM pg_snapshot_xip(s) x) FROM pg_current_snapshot() s
"""
_COLUMNS_LEFT = """
SELECT count(*) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid = %s AND n.nspname = %s AND c.relname = %s AND a.attname = ANY (%s) AND NOT a.attisdropped
"""


async def wait_for_writers(connection: psycopg.AsyncConnection[Row], relation: Relation) -> None:
    """Return when all transactions have ended that have written to the table up to now.

    What a transaction wrote before the table was published is not in the stream, even if it commits afterwards: the publication of the
    moment of the change decides. Only a reading that sees its commit has it. Writers hold their lock until they end.
    """
    waited_for: set[str] | None = None
    told_s = time.monotonic()
    while True:
        writers: dict[str, int] = dict(await (await connection.execute(_WRITERS, (relation.id,))).fetchall())
        waited_for = set(writers) if waited_for is None else waited_for & writers.keys()
        if not waited_for:
            return
        if time.monotonic() - told_s >= WRITERS_TOLD_INTERVAL_S:
            told_s = time.monotonic()
            name = f"{relation.schema}.{relation.name}"
            log.warning(
                "The copy of %s waits for transactions that have written to it before it was published (backends %s)",
                name,
                ", ".join(str(writers[writer]) for writer in sorted(waited_for)),
                extra={"event": "replication.writers", "table": name},
            )
        await asyncio.sleep(WRITERS_POLL_S)


async def copy_beside(
    connection: psycopg.AsyncConnection[Row],
    table: PublishedTable,
    types: Mapping[int, TypeInfo],
    value_format: ValueFormat,
    *,
    resume: SnapshotProgress | None,
) -> AsyncGenerator[SnapshotChunk]:
    """See `syncline.replication.source.Source.snapshot`. `connection` is used by nobody else meanwhile.

    Nothing is locked while a chunk waits to be stored: an ALTER TABLE that waits for the lock would hold up all who ask for the table
    after it, and the stream that the chunk waits for may be one of them.
    """
    parse = make_row_parser([column.type_id for column in table.relation.columns], types, value_format)
    done, blocks = resume, BESIDE_FIRST_BLOCKS
    while done is None or done.next_block < done.blocks:
        start = done.next_block if done is not None else 0
        await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        state = await lock_and_look(connection, table.relation)
        if done is not None and done.filenode != state.filenode:
            tell_of_rewrite(table.relation)
            await connection.execute("ROLLBACK")
            done = None
            continue
        done = done or SnapshotProgress(state.filenode, 0, state.blocks, 0)
        last = min(start + blocks, done.blocks)
        tell_of_range(table.relation, start, last)
        view = await _view(connection)
        lines, size = await _read(connection, copy_query(connection, table, pages(start, last)), all_of_it=blocks == 1)
        await connection.execute("COMMIT")
        blocks = _blocks_to_read(blocks, rows=len(lines), size=size)
        if size <= BESIDE_BYTES_MAX or last - start <= 1:
            done = done._replace(next_block=last, rows=done.rows + len(lines))
            yield SnapshotChunk([parse(line) for line in lines], look_up=True, progress=done, view=view)


async def _read(connection: psycopg.AsyncConnection[Row], query: bytes, *, all_of_it: bool) -> tuple[list[bytes], int]:
    """The lines of a COPY and their bytes, of which there may be more than lines: what goes beyond `BESIDE_BYTES_MAX` is not kept."""
    lines: list[bytes] = []
    size = 0
    async for some in copy_out(connection, query, lines_max=BESIDE_CHUNK_ROWS, bytes_max=BESIDE_BYTES_MAX):
        size += sum(map(len, some))
        if size <= BESIDE_BYTES_MAX or all_of_it:
            lines += some
    return lines, size


def _blocks_to_read(blocks: int, *, rows: int, size: int) -> int:
    """How many pages to read next, after `blocks` of them gave so much: about `BESIDE_CHUNK_ROWS` rows, and not too many bytes."""
    if size > BESIDE_BYTES_MAX:
        return 1
    wanted = min(BESIDE_CHUNK_ROWS / max(rows, 1), BESIDE_BYTES_MAX / 2 / max(size, 1), 8.0)
    return max(1, min(int(blocks * wanted), SNAPSHOT_RANGE_BLOCKS))


async def rows_by_key(
    connection: psycopg.AsyncConnection[Row],
    table: PublishedTable,
    types: Mapping[int, TypeInfo],
    value_format: ValueFormat,
    keys: Sequence[tuple[SyncValue, ...]],
) -> list[tuple[SyncValue, ...]]:
    """See `syncline.replication.source.Source.rows`. None where the table has lost one of the columns, or its name."""
    relation = table.relation
    names = list(relation.column_names)
    async with connection.transaction():
        left = await connection.execute(_COLUMNS_LEFT, (relation.id, relation.schema, relation.name, names))
        row = await left.fetchone()
        if row is None or row[0] < len(names):
            return []
        columns = sql.SQL(", ").join(sql.Identifier(name) for name in relation.key_columns)
        wanted = sql.SQL(", ").join(
            sql.SQL("({})").format(sql.SQL(", ").join(sql.Literal(_text(value)) for value in key)) for key in keys
        )
        condition = sql.SQL("({}) IN ({})").format(columns, wanted)
        parse = make_row_parser([column.type_id for column in relation.columns], types, value_format)
        query = copy_query(connection, table, condition)
        return [row async for chunk in read_chunks(connection, query, parse, look_up=True) for row in chunk.rows]


def _text(value: SyncValue) -> str:
    """A key's value as a literal of unknown type, which Postgres reads as the column's: `1` and `0` are truth values too."""
    assert isinstance(value, (int, str)), "only such keys can be asked for"
    return str(value)


async def _view(connection: psycopg.AsyncConnection[Row]) -> SourceView:
    row = await (await connection.execute(_VIEW)).fetchone()
    assert row is not None
    return SourceView(int(row[0]) % 2**32, frozenset(int(running) % 2**32 for running in row[1]))
