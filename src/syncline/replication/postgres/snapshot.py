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

from collections.abc import AsyncGenerator, Mapping

import psycopg
from psycopg import sql

from syncline.replication.postgres.catalog import PublishedTable
from syncline.replication.postgres.connection import Row
from syncline.replication.postgres.copy_rows import RowParser, make_row_parser
from syncline.replication.postgres.table_reading import (
    SNAPSHOT_RANGE_BLOCKS,
    copy_query,
    lock_and_look,
    pages,
    read_chunks,
    tell_of_range,
    tell_of_rewrite,
    written_since,
)
from syncline.replication.postgres.types import TypeInfo
from syncline.replication.source import SnapshotChunk
from syncline.storage.model import SnapshotProgress
from syncline.sync_config.value_format import ValueFormat

__all__ = ["copy_table"]


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
        lately = sql.SQL("{} AND {}").format(pages(start, end), written_since(since))
        state = await lock_and_look(connection, table.relation, lately=lately)
        if done is not None and done.filenode != state.filenode:
            tell_of_rewrite(table.relation)
            await connection.execute("ROLLBACK")
            done = None  # the pages read so far are another file's
            continue
        done = done or SnapshotProgress(state.filenode, 0, state.blocks, 0)
        last = min(end, done.blocks)
        tell_of_range(table.relation, start, last)
        query = copy_query(connection, table, pages(start, last))
        rows = done.rows
        waiting = SnapshotChunk([], look_up=False, progress=None)
        async for chunk in read_chunks(connection, query, parse, look_up=resumed or state.written_since):
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
    condition = written_since(since)
    state = await lock_and_look(connection, table.relation, lately=condition)
    if state.written_since:
        async for chunk in read_chunks(connection, copy_query(connection, table, condition), parse, look_up=True):
            yield chunk
    await connection.execute("COMMIT")


async def _current_xmin(connection: psycopg.AsyncConnection[Row]) -> str:
    """Every transaction that ends from now on is at or after this one."""
    row = await (await connection.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::xid::text")).fetchone()
    assert row is not None
    return row[0]
