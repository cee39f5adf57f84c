"""What administrators ask of a Postgres source. Contract: `syncline.replication.inspection.SourceInspector`.

Each question has a connection of its own, one at a time: administrators are few, and a connection that is kept could only hide that
none can be made any more.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from itertools import groupby
from typing import Any, LiteralString, cast

import psycopg

from syncline import __version__
from syncline.errors import SourceNotReady
from syncline.replication.inspection import (
    SQL_RESULT_BYTES_MAX,
    SQL_RESULT_ROWS_MAX,
    SQL_TIMEOUT_S,
    AnswerTooLarge,
    SlotReport,
    SourceColumn,
    SourceTable,
    SqlResult,
    SqlScalar,
)
from syncline.replication.postgres.checks import check_source
from syncline.replication.postgres.connection import Row, connect, source_errors
from syncline.replication.postgres.slot import slot_report

__all__ = ["PostgresInspector"]

COLUMNS_MAX = 100_000  # columns of all tables together that one answer holds

# Key columns as replication finds them: by replica identity. A domain stands for what it is made of.
_TABLES = """
WITH published AS MATERIALIZED (SELECT schemaname, tablename FROM pg_publication_tables WHERE pubname = %s)
SELECT n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
       CASE WHEN e.oid IS NOT NULL THEN e.typname || '[]' ELSE t.typname END, coalesce(d.typname, b.typname, t.typname),
       CASE c.relreplident WHEN 'f' THEN true WHEN 'n' THEN false
            ELSE coalesce(a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]), false) END,
       p.tablename IS NOT NULL,
       row_security_active(c.oid), has_table_privilege(c.oid, 'SELECT'), c.relkind = 'p', quote_ident(current_user)
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  JOIN pg_type t ON t.oid = a.atttypid
  LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
  LEFT JOIN pg_type b ON b.oid = t.typbasetype
  LEFT JOIN pg_type d ON d.oid = b.typbasetype
  LEFT JOIN published p ON p.schemaname = n.nspname AND p.tablename = c.relname
  LEFT JOIN pg_index i ON i.indrelid = c.oid
       AND i.indimmediate AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END
 WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', %s)
 ORDER BY n.nspname, c.relname, a.attnum LIMIT %s
"""
_INTEGERS = frozenset({"int2", "int4", "int8", "bool", "oid"})
_REALS = frozenset({"float4", "float8"})


class PostgresInspector:
    """One database. `ignored_schema` is that of bucket storage, whose tables are no business of the sync config."""

    def __init__(self, conninfo: str, *, publication: str, ignored_schema: str) -> None:
        self._conninfo = conninfo
        self._publication = publication
        self._ignored_schema = ignored_schema
        self._one_at_a_time = asyncio.Lock()

    async def problems(self) -> list[str]:
        """Why the source cannot be replicated at present."""
        async with self._connected() as connection:
            try:
                await check_source(connection, self._publication)
            except SourceNotReady as exc:
                return [str(exc)]
        return []

    async def tables(self) -> list[SourceTable]:
        """All tables but the system's and those of bucket storage."""
        async with self._connected() as connection:
            cursor = await connection.execute(_TABLES, (self._publication, self._ignored_schema, COLUMNS_MAX))
            rows = await cursor.fetchall()
        return [self._table(list(columns)) for _, columns in groupby(rows, key=lambda row: row[:2])]

    async def slots(self, names: Sequence[str]) -> dict[str, SlotReport]:
        """How these replication slots are."""
        async with self._connected() as connection:
            return await slot_report(connection, names)

    async def run_sql(self, query: str, arguments: Sequence[SqlScalar]) -> SqlResult:
        """Run one statement in a read-only transaction."""
        async with self._connected() as connection:
            await connection.set_read_only(True)
            async with connection.transaction(force_rollback=True):
                cursor = psycopg.AsyncRawCursor(connection)
                rows: list[list[SqlScalar]] = []
                size = 0
                # Row by row: an answer that is too large is noticed before it is in memory.
                async for row in cursor.stream(cast("LiteralString", query), list(arguments)):
                    rows.append([_scalar(value) for value in row])
                    size += sum(len(str(value)) for value in rows[-1])
                    if len(rows) > SQL_RESULT_ROWS_MAX or size > SQL_RESULT_BYTES_MAX:
                        raise AnswerTooLarge(
                            f"The answer has more than {SQL_RESULT_ROWS_MAX} rows or {SQL_RESULT_BYTES_MAX} bytes.",
                            hint="Add a LIMIT, or select fewer columns.",
                        )
                return SqlResult([column.name for column in cursor.description or ()], rows)

    def _table(self, rows: list[Row]) -> SourceTable:
        schema, name = rows[0][:2]
        published, hidden, readable, partitioned, role = rows[0][7:]
        keys = tuple(row[2] for row in rows if row[6])
        quoted = f'"{schema}"."{name}"'
        problems: list[tuple[str, str]] = []
        if partitioned:
            problems.append(("warning", f"Table {quoted} is partitioned: name its partitions, or a pattern for them."))
        elif not published:
            problems.append(
                (
                    "fatal",
                    f"Table {quoted} is not in the publication {self._publication}. Run on the source:"
                    f" ALTER PUBLICATION {self._publication} ADD TABLE {quoted};",
                )
            )
        if not readable:
            problems.append(
                ("fatal", f"The role may not read {quoted}. Run on the source: GRANT SELECT ON {quoted} TO {role};")
            )
        if hidden:
            problems.append(
                (
                    "warning",
                    f"[PSYNC_S1145] Row-level security hides rows of {quoted} from the role."
                    f" Run on the source: ALTER ROLE {role} BYPASSRLS;",
                )
            )
        if not keys and not partitioned:
            problems.append(
                (
                    "warning",
                    f"Table {quoted} has no replica identity: rows that are updated or deleted cannot be told apart."
                    " Add a primary key, or set REPLICA IDENTITY FULL.",
                )
            )
        return SourceTable(
            schema,
            name,
            tuple(map(_column, rows)),
            keys,
            tuple(problems),
            is_published=published,
            is_readable=readable,
            is_partitioned=partitioned,
            hides_rows=hidden,
        )

    @asynccontextmanager
    async def _connected(self) -> AsyncGenerator[psycopg.AsyncConnection[Row]]:
        async with self._one_at_a_time:
            connection = await connect(self._conninfo, application_name=f"syncline/{__version__} admin")
            try:
                with source_errors():
                    await connection.execute(
                        "SELECT set_config('statement_timeout', %s, false)", (str(int(SQL_TIMEOUT_S * 1000)),)
                    )
                    yield connection
            finally:
                await connection.close()


def _column(row: Row) -> SourceColumn:
    base, is_array = row[5], row[4].endswith("[]")
    flag = 2 if is_array else 1 if base == "bytea" else 4 if base in _INTEGERS else 8 if base in _REALS else 2
    return SourceColumn(row[2], row[3], row[4], flag)


def _scalar(value: Any) -> SqlScalar:
    """A value as JSON can hold it."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else str(value)  # not-a-number and infinities are no JSON
    if isinstance(value, bytes):
        return value.hex()
    return json.dumps(value, default=str) if isinstance(value, (dict, list)) else str(value)
