"""Copying a table: COPY by block ranges, each in a short transaction of its own, so that a broken copy goes on where it was.

A TID range scan reads a table of any key (or none) in the order of its pages, and how far it is can be told by arithmetic. Ranges are
read at different times, so a row that is updated meanwhile may move from a page that is still to come to one that was read already
(and be missed), or the other way (and be read twice). Both are told by the transaction that wrote the row, `xmin`: a row has not
moved since the copy began if all transactions before the writer's had ended by then. A copy that is gone on with does not know any
more when it began; it takes the slot's `catalog_xmin`, which is older.

- Read twice: the range says `look_up` where it holds a row that was written since, and the rows that another state of it left are found.
- Missed: the stream has its update, whole but for large values that the update did not touch (TOAST). So a table that may have such
  values is read once more at the end, in one transaction, but only the rows that were written since the copy began.

Rows in pages that were added after the first measure are new or moved: the stream has them.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass

import psycopg
from psycopg import sql

from syncline.errors import SourceUnavailable
from syncline.replication.postgres.catalog import PublishedTable
from syncline.replication.postgres.connection import Row
from syncline.replication.postgres.copy_out import copy_out
from syncline.replication.postgres.copy_rows import RowParser, make_row_parser
from syncline.replication.postgres.types import TypeInfo
from syncline.replication.source import Relation, SnapshotChunk
from syncline.storage.model import SnapshotProgress
from syncline.sync_config.value_format import ValueFormat

__all__ = ["SNAPSHOT_CHUNK_BYTES", "SNAPSHOT_CHUNK_ROWS", "SNAPSHOT_RANGE_BLOCKS", "copy_table"]

log = logging.getLogger(__name__)

SNAPSHOT_CHUNK_ROWS = 4000  # rows handed over at a time
SNAPSHOT_CHUNK_BYTES = (
    8_000_000  # bytes of COPY text after which fewer are handed over: large rows must not fill the memory
)
SNAPSHOT_RANGE_BLOCKS = 1024  # pages of one COPY (8 MB): what is read again after a crash


@dataclass(frozen=True, slots=True)
class _TableState:
    """A table while its lock is held: the file that it is in, its size, and whether the range at hand holds rows written lately."""

    filenode: int
    blocks: int
    written_since: bool


async def copy_table(
    connection: psycopg.AsyncConnection[Row],
    table: PublishedTable,
    types: Mapping[int, TypeInfo],
    value_format: ValueFormat,
    *,
    slot_xmin: str,
    resume: SnapshotProgress | None,
) -> AsyncGenerator[SnapshotChunk]:
    """See `syncline.replication.source.Source.snapshot`. `connection` is used by nobody else meanwhile.

    `slot_xmin` is the slot's `catalog_xmin`; a copy that begins anew needs none.
    """
    parse = make_row_parser([column.type_id for column in table.relation.columns], types, value_format)
    assert slot_xmin or resume is None, "only the slot knows when the copy began"
    since = slot_xmin if resume is not None else await _current_xmin(connection)
    done, resumed = resume, resume is not None
    while done is None or done.next_block < done.blocks:
        start = done.next_block if done is not None else 0
        end = start + SNAPSHOT_RANGE_BLOCKS
        await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        state = await _lock_and_look(connection, table.relation, _pages(start, end), since)
        if done is not None and done.filenode != state.filenode:
            _tell_of_rewrite(table.relation)
            await connection.execute("ROLLBACK")
            done = None  # the pages read so far are another file's
            continue
        done = done or SnapshotProgress(state.filenode, 0, state.blocks, 0)
        last = min(end, done.blocks)
        _tell_of_range(table.relation, start, last)
        query = _query(connection, table, _pages(start, last))
        rows = done.rows
        waiting = SnapshotChunk([], look_up=False, progress=None)
        async for chunk in _chunks(connection, query, parse, look_up=resumed or state.written_since):
            if waiting.rows:
                yield waiting
            rows += len(chunk.rows)
            waiting = chunk
        await connection.execute("COMMIT")
        done, resumed = done._replace(next_block=last, rows=rows), False
        yield waiting._replace(progress=done)
    if any(column.toastable for column in table.relation.columns):
        async for chunk in _written_lately(connection, table, parse, since):
            yield chunk


async def _written_lately(
    connection: psycopg.AsyncConnection[Row], table: PublishedTable, parse: RowParser, since: str
) -> AsyncGenerator[SnapshotChunk]:
    """All rows that were written since, in one state of the table: none of them can move out of sight."""
    await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    condition = _written_since(since)
    state = await _lock_and_look(connection, table.relation, condition, since)
    if state.written_since:
        async for chunk in _chunks(connection, _query(connection, table, condition), parse, look_up=True):
            yield chunk
    await connection.execute("COMMIT")


async def _chunks(
    connection: psycopg.AsyncConnection[Row], query: bytes, parse: RowParser, *, look_up: bool
) -> AsyncGenerator[SnapshotChunk]:
    lines_max, bytes_max = SNAPSHOT_CHUNK_ROWS, SNAPSHOT_CHUNK_BYTES
    async for lines in copy_out(connection, query, lines_max=lines_max, bytes_max=bytes_max):
        yield SnapshotChunk([parse(line) for line in lines], look_up, None)


def _tell_of_range(relation: Relation, start: int, end: int) -> None:
    log.debug(
        "Reading blocks %d to %d of %s.%s",
        start,
        end,
        relation.schema,
        relation.name,
        extra={"event": "replication.range"},
    )


def _tell_of_rewrite(relation: Relation) -> None:
    log.warning(
        "The table %s.%s was rewritten (TRUNCATE, VACUUM FULL, CLUSTER, ALTER TABLE): its copy begins again",
        relation.schema,
        relation.name,
        extra={"event": "replication.rewritten", "table": f"{relation.schema}.{relation.name}"},
    )


async def _current_xmin(connection: psycopg.AsyncConnection[Row]) -> str:
    """Every transaction that ends from now on is at or after this one."""
    row = await (await connection.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::xid::text")).fetchone()
    assert row is not None
    return row[0]


async def _lock_and_look(
    connection: psycopg.AsyncConnection[Row], relation: Relation, condition: sql.Composable, since: str
) -> _TableState:
    """Hold the table as it is, then look at it. Raises SourceUnavailable when it is not the one that was announced.

    The lock stands before the transaction's snapshot is taken: a rewrite by ALTER TABLE between them would leave a table that looks
    empty to this snapshot (Postgres manual, 13.6, "Caveats"). With the lock held, the file stays the same until the end of the range.
    """
    name = sql.Identifier(relation.schema, relation.name)
    await connection.execute(sql.SQL("LOCK TABLE ONLY {} IN ACCESS SHARE MODE").format(name))
    query = sql.SQL(
        "SELECT pg_relation_filenode(c.oid)::bigint, pg_relation_size(c.oid) / current_setting('block_size')::int,"
        " EXISTS (SELECT FROM ONLY {} WHERE {} AND {})"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.oid = {} AND n.nspname = {} AND c.relname = {}"
    ).format(
        name,
        condition,
        _written_since(since),
        sql.Literal(relation.id),
        sql.Literal(relation.schema),
        sql.Literal(relation.name),
    )
    row = await (await connection.execute(query)).fetchone()
    if row is None:
        raise SourceUnavailable(f"The table {relation.schema}.{relation.name} was replaced before it could be copied.")
    return _TableState(filenode=row[0], blocks=row[1], written_since=row[2])


def _pages(start: int, end: int) -> sql.Composable:
    """Condition on the rows of the pages from `start` to before `end`."""
    return sql.SQL("ctid >= {}::tid AND ctid < {}::tid").format(sql.Literal(f"({start},0)"), sql.Literal(f"({end},0)"))


def _written_since(since: str) -> sql.Composable:
    """Condition on rows that a transaction wrote from `since` on. Where the age of a very old row overflows, it holds too."""
    return sql.SQL("age(xmin) <= age({}::xid)").format(sql.Literal(since))


def _query(connection: psycopg.AsyncConnection[Row], table: PublishedTable, condition: sql.Composable) -> bytes:
    """COPY of the published columns and rows that satisfy `condition`."""
    columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in table.relation.columns)
    query = sql.SQL("COPY (SELECT {} FROM ONLY {} WHERE {}").format(
        columns, sql.Identifier(table.relation.schema, table.relation.name), condition
    )
    if table.row_filter:
        query += sql.SQL(" AND ({})").format(sql.SQL(table.row_filter))  # type: ignore[arg-type]  # the catalog's own text
    return (query + sql.SQL(") TO STDOUT")).as_bytes(connection)
