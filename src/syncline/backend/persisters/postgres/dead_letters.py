"""Dead letters in Postgres, in the database of the writes that were refused. See `backend.dead_letters.DeadLetterStore`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg_pool import AsyncConnectionPool

from syncline.backend.dead_letters.letters import (
    DeadLetter,
    DeadLetterFilter,
    DeadLetterLimits,
    DeadLetterState,
    KeptVerdict,
)
from syncline.backend.dead_letters.rows import (
    LETTER_COLUMNS,
    letter_of,
    letter_row,
    verdict_columns,
    write_result_row,
)
from syncline.backend.limits import (
    DEAD_LETTER_REPEAT_HOURS,
    DEAD_LETTERS_LISTED_BYTES_MAX,
    DEAD_LETTERS_LISTED_MAX,
)
from syncline.backend.persisters.base import RetryLater, UploadIdentity
from syncline.backend.persisters.postgres.dead_letter_tables import drop_old_letters, make_dead_letter_tables
from syncline.backend.persisters.postgres.uploads import claim_upload
from syncline.protocol.crud import TransactionResult

__all__ = ["PostgresDeadLetters"]

Connection = psycopg.AsyncConnection[tuple[Any, ...]]

_COLUMNS = sql.SQL(", ").join(map(sql.Identifier, LETTER_COLUMNS))
_FILTERS: dict[str, LiteralString] = {
    "user_id": "user_id = %(user_id)s",
    "client_id": "client_id = %(client_id)s",
    "state": "state = %(state)s",
    "code": "code = %(code)s",
    "since": "created_at >= %(since)s",
    "until": "created_at < %(until)s",
}
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('syncline_dead_letters/' || %s, 0))"
_REPEAT = """
UPDATE syncline_dead_letters
   SET occurrences = occurrences + 1, last_at = %(created_at)s, code = %(code)s, message = %(message)s, details = %(details)s,
       operation_index = %(operation_index)s
 WHERE id = (SELECT id FROM syncline_dead_letters
              WHERE user_id = %(user_id)s AND client_id IS NOT DISTINCT FROM %(client_id)s AND content_hash = %(content_hash)s
                AND state = 'open' AND created_at > %(created_at)s - make_interval(hours => %(hours)s)
              ORDER BY id DESC LIMIT 1)
"""
_OPEN_OF_USER = (
    "SELECT count(*), coalesce(sum(content_bytes), 0) FROM syncline_dead_letters WHERE user_id = %s AND state = 'open'"
)
_OPEN_OF_ALL = "SELECT count(*) FROM (SELECT 1 FROM syncline_dead_letters WHERE state = 'open' LIMIT %s) AS counted"
_SETTLE = """
UPDATE syncline_dead_letters SET state = %(state)s, settled_at = now()
 WHERE id = %(id)s AND (state = 'open' OR (state = 'discarded' AND %(state)s = 'retried'))
"""
_COUNT_FAILURE = """
INSERT INTO syncline_upload_failures (user_id, client_id, content_hash, failures) VALUES (%s, %s, %s, 1)
ON CONFLICT (user_id, client_id, content_hash) DO UPDATE SET failures = syncline_upload_failures.failures + 1, last_at = now()
RETURNING failures
"""
_FORGET_FAILURES = """
DELETE FROM syncline_upload_failures WHERE user_id = %(user_id)s AND last_at <
  (SELECT last_at FROM syncline_upload_failures WHERE user_id = %(user_id)s ORDER BY last_at DESC OFFSET %(kept)s LIMIT 1)
"""


class PostgresDeadLetters:
    """Letters through the pool of a persister."""

    def __init__(
        self,
        pool: AsyncConnectionPool[Connection],
        *,
        seconds_max: float,
        limits: DeadLetterLimits | None = None,
    ) -> None:
        self._pool = pool
        self._seconds_max = seconds_max
        self._limits = limits or DeadLetterLimits()
        self._write_results = False

    async def prepare(self, *, write_results: bool) -> None:
        """See DeadLetterStore."""
        self._write_results = write_results
        async with self._transaction() as connection:
            await make_dead_letter_tables(connection, write_results=write_results)
            await drop_old_letters(connection, write_results=write_results)

    async def add(
        self,
        letter: DeadLetter,
        identity: UploadIdentity | None,
        verdict: TransactionResult,
        *,
        write_result: bool = False,
    ) -> KeptVerdict:
        """See DeadLetterStore."""
        row = letter_row(letter)
        async with self._transaction() as connection:
            if identity is not None:
                stored = await claim_upload(connection, identity, verdict)
                if stored is not None:
                    return KeptVerdict(stored, is_new=False)
            await connection.execute(_LOCK, (letter.user_id,))
            if identity is None:
                repeated = await connection.execute(_REPEAT, {**row, "hours": DEAD_LETTER_REPEAT_HOURS})
                if repeated.rowcount:
                    return KeptVerdict(verdict, is_new=False)
            await self._check_room(connection, letter.user_id, row["content_bytes"])
            await _insert(connection, "syncline_dead_letters", row)
            if write_result:
                await _insert(connection, "powersync_write_results", write_result_row(letter))
        return KeptVerdict(verdict, is_new=True)

    async def list(
        self, where: DeadLetterFilter, *, after: str = "", limit: int = DEAD_LETTERS_LISTED_MAX
    ) -> list[DeadLetter]:
        """See DeadLetterStore."""
        conditions, parameters = _conditions(where)
        query = sql.SQL(
            "SELECT {columns} FROM (SELECT *, sum(content_bytes) OVER (ORDER BY id) - content_bytes AS bytes_before"
            " FROM syncline_dead_letters WHERE id > %(after)s AND {conditions} ORDER BY id LIMIT %(limit)s) AS page"
            " WHERE bytes_before < %(bytes_max)s ORDER BY id"
        ).format(columns=_COLUMNS, conditions=conditions)
        parameters |= {"after": after, "limit": limit, "bytes_max": DEAD_LETTERS_LISTED_BYTES_MAX}
        async with self._transaction() as connection:
            return [
                letter_of(dict(zip(LETTER_COLUMNS, row, strict=True)))
                for row in await (await connection.execute(query, parameters)).fetchall()
            ]

    async def get(self, letter_id: str) -> DeadLetter | None:
        """See DeadLetterStore."""
        async with self._transaction() as connection:
            return await _get(connection, letter_id)

    async def count(self, where: DeadLetterFilter) -> int:
        """See DeadLetterStore."""
        conditions, parameters = _conditions(where)
        query = sql.SQL("SELECT count(*) FROM syncline_dead_letters WHERE {}").format(conditions)
        async with self._transaction() as connection:
            return await _number(connection, query, parameters)

    async def settle(self, letter_id: str, state: DeadLetterState) -> DeadLetter | None:
        """See DeadLetterStore."""
        async with self._transaction() as connection:
            changed = await connection.execute(_SETTLE, {"id": letter_id, "state": str(state)})
            if changed.rowcount and self._write_results:
                await connection.execute(
                    "UPDATE powersync_write_results SET resolved = true WHERE id = %s", (letter_id,)
                )
            await drop_old_letters(connection, write_results=self._write_results)
            return await _get(connection, letter_id)

    async def refused_again(self, letter_id: str, verdict: TransactionResult) -> DeadLetter | None:
        """See DeadLetterStore."""
        again = sql.SQL(
            "UPDATE syncline_dead_letters SET retries = retries + 1, code = %(code)s, message = %(message)s, details = %(details)s,"
            " operation_index = %(operation_index)s WHERE id = %(id)s"
        )
        async with self._transaction() as connection:
            await connection.execute(again, {**verdict_columns(verdict), "id": letter_id})
            return await _get(connection, letter_id)

    async def count_failure(self, user_id: str, client_id: str | None, content_hash: str) -> int:
        """See DeadLetterStore."""
        async with self._transaction() as connection:
            failures = await _number(connection, sql.SQL(_COUNT_FAILURE), (user_id, client_id or "", content_hash))
            if failures == 1:
                kept = {"user_id": user_id, "kept": self._limits.failures_per_user_max - 1}
                await connection.execute(_FORGET_FAILURES, kept)
            return failures

    async def _check_room(self, connection: Connection, user_id: str, content_bytes: int) -> None:
        cursor = await connection.execute(_OPEN_OF_USER, (user_id,))
        [(letters, stored_bytes)] = await cursor.fetchall()
        self._limits.check_user(letters, int(stored_bytes), content_bytes)
        self._limits.check_all(await _number(connection, sql.SQL(_OPEN_OF_ALL), (self._limits.letters_max,)))

    @contextlib.asynccontextmanager
    async def _transaction(self) -> AsyncGenerator[Connection]:
        """A transaction of its own, committed at the end. Raises RetryLater for what the database cannot do now."""
        try:
            async with (
                asyncio.timeout(self._seconds_max),
                self._pool.connection() as connection,
                connection.transaction(),
            ):
                yield connection
        except (psycopg.Error, TimeoutError) as exc:
            raise RetryLater("The database cannot keep or find dead letters at the moment.") from exc


def _conditions(where: DeadLetterFilter) -> tuple[sql.Composed, dict[str, Any]]:
    """What a filter asks, and its values."""
    parameters = {name: value for name in _FILTERS if (value := getattr(where, name)) is not None}
    conditions = [sql.SQL("true"), *(sql.SQL(_FILTERS[name]) for name in parameters)]
    return sql.SQL(" AND ").join(conditions), parameters


async def _number(connection: Connection, query: sql.SQL | sql.Composed, parameters: Any) -> int:
    row = await (await connection.execute(query, parameters)).fetchone()
    assert row is not None
    return int(row[0])


async def _get(connection: Connection, letter_id: str) -> DeadLetter | None:
    query = sql.SQL("SELECT {} FROM syncline_dead_letters WHERE id = %s").format(_COLUMNS)
    row = await (await connection.execute(query, (letter_id,))).fetchone()
    return None if row is None else letter_of(dict(zip(LETTER_COLUMNS, row, strict=True)))


async def _insert(connection: Connection, table: str, row: dict[str, Any]) -> None:
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, row)),
        sql.SQL(", ").join(map(sql.Placeholder, row)),
    )
    await connection.execute(statement, row)
