"""Reading parts of a table for its copy: what is locked, looked at and asked for, and how its rows come out."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import psycopg
from psycopg import sql

from syncline.errors import SourceUnavailable
from syncline.replication.postgres.catalog import PublishedTable
from syncline.replication.postgres.connection import Row
from syncline.replication.postgres.copy_out import copy_out
from syncline.replication.postgres.copy_rows import RowParser
from syncline.replication.source import Relation, SnapshotChunk

__all__ = [
    "SNAPSHOT_CHUNK_BYTES",
    "SNAPSHOT_CHUNK_ROWS",
    "SNAPSHOT_RANGE_BLOCKS",
    "TableState",
    "copy_query",
    "lock_and_look",
    "pages",
    "read_chunks",
    "tell_of_range",
    "tell_of_rewrite",
    "written_since",
]

log = logging.getLogger(__name__)

SNAPSHOT_CHUNK_ROWS = 4000  # rows handed over at a time
SNAPSHOT_CHUNK_BYTES = (
    8_000_000  # bytes of COPY text after which fewer are handed over: large rows must not fill the memory
)
SNAPSHOT_RANGE_BLOCKS = 1024  # pages of one COPY (8 MB): what is read again after a crash

_NO_ROWS = sql.SQL("false")


@dataclass(frozen=True, slots=True)
class TableState:
    """A table while its lock is held: the file that it is in, its size, and whether the range at hand holds rows written lately."""

    filenode: int
    blocks: int
    written_since: bool


async def read_chunks(
    connection: psycopg.AsyncConnection[Row],
    query: bytes,
    parse: RowParser,
    *,
    look_up: bool,
    rows_max: int | None = None,
) -> AsyncGenerator[SnapshotChunk]:
    """The rows of a COPY in chunks of up to `rows_max` rows (`SNAPSHOT_CHUNK_ROWS` where it is not said), without progress."""
    lines_max = SNAPSHOT_CHUNK_ROWS if rows_max is None else rows_max
    async for lines in copy_out(connection, query, lines_max=lines_max, bytes_max=SNAPSHOT_CHUNK_BYTES):
        yield SnapshotChunk([parse(line) for line in lines], look_up, None)


def tell_of_range(relation: Relation, start: int, end: int) -> None:
    """Log which pages are asked for."""
    log.debug(
        "Reading blocks %d to %d of %s.%s",
        start,
        end,
        relation.schema,
        relation.name,
        extra={"event": "replication.range"},
    )


def tell_of_rewrite(relation: Relation) -> None:
    """Log that the pages read so far are another file's."""
    log.warning(
        "The table %s.%s was rewritten (TRUNCATE, VACUUM FULL, CLUSTER, ALTER TABLE): its copy begins again",
        relation.schema,
        relation.name,
        extra={"event": "replication.rewritten", "table": f"{relation.schema}.{relation.name}"},
    )


async def lock_and_look(
    connection: psycopg.AsyncConnection[Row], relation: Relation, *, lately: sql.Composable = _NO_ROWS
) -> TableState:
    """Hold the table as it is, then look at it: also whether it has rows that satisfy `lately`.

    Raises SourceUnavailable when it is not the one that was announced.

    The lock stands before the transaction's snapshot is taken: a rewrite by ALTER TABLE between them would leave a table that looks
    empty to this snapshot (Postgres manual, 13.6, "Caveats"). With the lock held, the file stays the same until the end of the range.
    """
    name = sql.Identifier(relation.schema, relation.name)
    await connection.execute(sql.SQL("LOCK TABLE ONLY {} IN ACCESS SHARE MODE").format(name))
    query = sql.SQL(
        "SELECT pg_relation_filenode(c.oid)::bigint, pg_relation_size(c.oid) / current_setting('block_size')::int,"
        " EXISTS (SELECT FROM ONLY {} WHERE {})"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.oid = {} AND n.nspname = {} AND c.relname = {}"
    ).format(
        name,
        lately,
        sql.Literal(relation.id),
        sql.Literal(relation.schema),
        sql.Literal(relation.name),
    )
    row = await (await connection.execute(query)).fetchone()
    if row is None:
        raise SourceUnavailable(f"The table {relation.schema}.{relation.name} was replaced before it could be copied.")
    return TableState(filenode=row[0], blocks=row[1], written_since=row[2])


def pages(start: int, end: int) -> sql.Composable:
    """Condition on the rows of the pages from `start` to before `end`."""
    return sql.SQL("ctid >= {}::tid AND ctid < {}::tid").format(sql.Literal(f"({start},0)"), sql.Literal(f"({end},0)"))


def written_since(since: str) -> sql.Composable:
    """Condition on rows that a transaction wrote from `since` on. Where the age of a very old row overflows, it holds too."""
    return sql.SQL("age(xmin) <= age({}::xid)").format(sql.Literal(since))


def copy_query(connection: psycopg.AsyncConnection[Row], table: PublishedTable, condition: sql.Composable) -> bytes:
    """COPY of the published columns and rows that satisfy `condition`."""
    columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in table.relation.columns)
    query = sql.SQL("COPY (SELECT {} FROM ONLY {} WHERE {}").format(
        columns, sql.Identifier(table.relation.schema, table.relation.name), condition
    )
    if table.row_filter:
        query += sql.SQL(" AND ({})").format(sql.SQL(table.row_filter))  # type: ignore[arg-type]  # the catalog's own text
    return (query + sql.SQL(") TO STDOUT")).as_bytes(connection)
