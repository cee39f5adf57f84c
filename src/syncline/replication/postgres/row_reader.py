"""Rows of a Postgres source for administrators. Contract: `syncline.replication.row_reading.RowSource`.

They are read as replication reads them: published columns and rows only, by COPY, decoded by the same converters.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import psycopg
from psycopg import sql

from syncline import __version__
from syncline.errors import SourceUnavailable
from syncline.replication.postgres.catalog import PublishedTable, TypeCatalog, published_tables
from syncline.replication.postgres.connection import Row, connect, source_errors
from syncline.replication.postgres.copy_out import copy_out
from syncline.replication.postgres.copy_rows import make_row_parser
from syncline.replication.row_reading import READ_BYTES_MAX, READ_ROWS_MAX, READ_TIMEOUT_S, RowRefused, TableRows
from syncline.sync_config.plan import TablePattern
from syncline.sync_config.value_format import ValueFormat

__all__ = ["PostgresRowReader"]

LINES_AT_A_TIME = 1000  # lines that are taken over at once
LINES_BYTES = 1024 * 1024  # bytes after which fewer are
_ALL = sql.SQL("true")


class PostgresRowReader:
    """One database. Each reading has a connection of its own, one at a time: administrators are few.

    `ignored_schema` is that of bucket storage.
    """

    def __init__(self, conninfo: str, *, publication: str, ignored_schema: str) -> None:
        self._conninfo = conninfo
        self._publication = publication
        self._ignored_schema = ignored_schema
        self._one_at_a_time = asyncio.Lock()

    async def tables(
        self, patterns: Sequence[TablePattern], formats: Sequence[ValueFormat], *, rows_max: int = READ_ROWS_MAX
    ) -> list[list[TableRows]]:
        """Published rows of all tables that match, as of one moment, once for each format."""
        async with self._reading() as connection:
            published = await self._published(connection, patterns)
            catalog = await _catalog(connection, published)
            share = max(1, rows_max // max(1, len(published)))
            found: list[tuple[PublishedTable, list[bytes], bool]] = []
            left = READ_BYTES_MAX
            for table in published:
                lines, is_cut = await _lines(connection, table, rows_max=share, bytes_max=left)
                found.append((table, lines, is_cut))
                left -= sum(map(len, lines))
                if left <= 0:
                    break  # the connection is closed with its copy unfinished
            found += [(table, [], True) for table in published[len(found) :]]
        return await asyncio.to_thread(_decoded, found, catalog, formats)

    async def row(
        self, schema: str, name: str, row_id: str, value_format: ValueFormat, *, column: str = ""
    ) -> TableRows | None:
        """The row whose column has this value."""
        async with self._reading() as connection:
            published = await self._published(connection, [TablePattern(schema, name)])
            if not published:
                raise RowRefused(f"The table {schema}.{name} is not in the publication {self._publication}.")
            table = published[0]
            wanted = sql.SQL("{} = {}").format(sql.Identifier(_key_column(table, column)), sql.Literal(row_id))
            catalog = await _catalog(connection, published)
            try:
                lines, _ = await _lines(connection, table, rows_max=1, bytes_max=READ_BYTES_MAX, condition=wanted)
            except SourceUnavailable as exc:
                if connection.broken:
                    raise
                # Postgres' own words for a value that is none of the column's type; they repeat it to who has sent it.
                raise RowRefused(f"The row cannot be asked for: {exc.message}") from exc
        return _decoded([(table, lines, False)], catalog, [value_format])[0][0] if lines else None

    async def _published(
        self, connection: psycopg.AsyncConnection[Row], patterns: Sequence[TablePattern]
    ) -> list[PublishedTable]:
        return await published_tables(connection, self._publication, patterns, ignored_schema=self._ignored_schema)

    @asynccontextmanager
    async def _reading(self) -> AsyncGenerator[psycopg.AsyncConnection[Row]]:
        """A connection in one transaction that changes nothing and sees one moment."""
        async with self._one_at_a_time:
            connection = await connect(self._conninfo, application_name=f"syncline/{__version__} admin")
            try:
                with source_errors():
                    timeout_ms = str(int(READ_TIMEOUT_S * 1000))
                    await connection.execute("SELECT set_config('statement_timeout', %s, false)", (timeout_ms,))
                    await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                    yield connection
            finally:
                await connection.close()


def _key_column(table: PublishedTable, column: str) -> str:
    """The column by which a row is asked for. Raises RowRefused."""
    relation = table.relation
    names, keys = relation.column_names, relation.key_columns
    wanted = column or ("id" if "id" in names else keys[0] if len(keys) == 1 else "")
    if wanted not in names:
        missing = f"no column {wanted!r}" if wanted else "neither a column id nor a key of one column: name one"
        raise RowRefused(f"{relation.schema}.{relation.name} has {missing}.")
    return wanted


async def _catalog(connection: psycopg.AsyncConnection[Row], tables: Sequence[PublishedTable]) -> TypeCatalog:
    catalog = TypeCatalog()
    await catalog.load(connection, {column.type_id for table in tables for column in table.relation.columns})
    return catalog


async def _lines(
    connection: psycopg.AsyncConnection[Row],
    table: PublishedTable,
    *,
    rows_max: int,
    bytes_max: int,
    condition: sql.Composable = _ALL,
) -> tuple[list[bytes], bool]:
    """Lines of COPY, and whether there are more. After `bytes_max` bytes the connection can only be closed."""
    lines: list[bytes] = []
    size = 0
    query = _query(table, condition, limit=rows_max + 1).as_bytes(connection)
    copying = copy_out(connection, query, lines_max=LINES_AT_A_TIME, bytes_max=LINES_BYTES)
    async for part in copying:
        lines += part
        size += sum(map(len, part))
        if size >= bytes_max:
            await copying.aclose()
            return lines[:rows_max], True
    return lines[:rows_max], len(lines) > rows_max


def _query(table: PublishedTable, condition: sql.Composable, *, limit: int) -> sql.Composed:
    relation = table.relation
    columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in relation.columns)
    # The catalog's own text; a table without one publishes all of its rows.
    row_filter = sql.SQL(table.row_filter or "true")  # type: ignore[arg-type]  # see above
    return sql.SQL("COPY (SELECT {} FROM ONLY {} WHERE {} AND ({}) LIMIT {}) TO STDOUT").format(
        columns, sql.Identifier(relation.schema, relation.name), condition, row_filter, sql.Literal(limit)
    )


def _decoded(
    found: Sequence[tuple[PublishedTable, list[bytes], bool]], catalog: TypeCatalog, formats: Sequence[ValueFormat]
) -> list[list[TableRows]]:
    decoded: list[list[TableRows]] = []
    for value_format in formats:
        tables: list[TableRows] = []
        for table, lines, is_cut in found:
            relation = table.relation
            parse = make_row_parser([column.type_id for column in relation.columns], catalog.types, value_format)
            rows = [parse(line) for line in lines]
            tables.append(TableRows(relation.schema, relation.name, relation.column_names, rows, is_cut))
        decoded.append(tables)
    return decoded
