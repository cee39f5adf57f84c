"""Staged uploads in Postgres: two tables, made when the first one is begun.

Parts are in an unlogged table: they never enter the write-ahead log, so neither replication nor a publication for all tables sees them. A
crash of the server empties it; the device then finds its parts missing, and sends them again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
import psycopg
from psycopg_pool import AsyncConnectionPool

from syncline.backend.limits import (
    STAGED_BYTES_PER_USER_MAX,
    STAGED_CONNECTIONS_MAX,
    STAGED_IDLE_MINUTES,
    STAGED_KEPT_HOURS,
    STAGED_PARTS_MAX,
    STAGED_UPLOADS_PER_USER_MAX,
    TRANSACTION_SECONDS_MAX,
)
from syncline.backend.persisters.base import RetryLater
from syncline.backend.staged.store import StagedFull, StagedNotPossible, StagedUpload
from syncline.protocol.crud import TransactionResult
from syncline.protocol.staged import StagedBegin, StagedState

__all__ = ["STAGED_TABLES_SQL", "PostgresStagedStore"]

log = logging.getLogger(__name__)

STAGED_TABLES_SQL = """
CREATE TABLE IF NOT EXISTS syncline_staged_uploads (
  id text PRIMARY KEY,
  user_id text NOT NULL,
  client_id text NOT NULL,
  first_op_id bigint NOT NULL,
  last_op_id bigint NOT NULL,
  content_hash text NOT NULL,
  announced text NOT NULL,
  state text NOT NULL,
  manifest text[] NOT NULL DEFAULT '{}',
  result text,
  failures integer NOT NULL DEFAULT 0,
  holder text,
  leased_until timestamptz,
  touched_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (user_id, client_id, first_op_id, last_op_id, content_hash)
);
CREATE INDEX IF NOT EXISTS syncline_staged_uploads_touched_at ON syncline_staged_uploads (touched_at);
CREATE UNLOGGED TABLE IF NOT EXISTS syncline_staged_parts (
  upload_id text NOT NULL,
  part integer NOT NULL,
  digest text NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (upload_id, part)
);
"""

_COLUMNS = "id, user_id, announced, state, manifest, result, failures"
_DROP_OLD = """
WITH gone AS (
  DELETE FROM syncline_staged_uploads
   WHERE touched_at < now() - make_interval(hours => %s) AND (leased_until IS NULL OR leased_until < now())
  RETURNING id)
DELETE FROM syncline_staged_parts WHERE upload_id IN (SELECT id FROM gone)
"""
# Of a user who has begun too many, the one that was left alone the longest gives way: its device can begin it again.
_DROP_IDLE = """
WITH gone AS (
  DELETE FROM syncline_staged_uploads WHERE id IN (
    SELECT id FROM syncline_staged_uploads
     WHERE user_id = %s AND state = 'open' AND touched_at < now() - make_interval(mins => %s)
     ORDER BY touched_at LIMIT 1)
  RETURNING id)
, parts AS (DELETE FROM syncline_staged_parts WHERE upload_id IN (SELECT id FROM gone))
SELECT count(*) FROM gone
"""
_BEGIN = """
INSERT INTO syncline_staged_uploads (id, user_id, client_id, first_op_id, last_op_id, content_hash, announced, state)
VALUES (%s, %s, %s, %s, %s, %s, %s, 'open') ON CONFLICT DO NOTHING
"""
_FIND = (
    f"SELECT {_COLUMNS} FROM syncline_staged_uploads"  # noqa: S608 - our own names
    " WHERE user_id = %s AND client_id = %s AND first_op_id = %s AND last_op_id = %s AND content_hash = %s"
).encode()
_GET = f"SELECT {_COLUMNS} FROM syncline_staged_uploads WHERE id = %s AND user_id = %s".encode()  # noqa: S608 - our own names
# The sizes are those of the parts that are there: a crash of the server takes parts away. They are read from headers, not from bodies.
_ROOM = """
SELECT u.state, coalesce((SELECT p.digest FROM syncline_staged_parts p WHERE p.upload_id = u.id AND p.part = %(part)s), ''),
       coalesce(sum(octet_length(p.body)) FILTER (WHERE p.upload_id = u.id AND p.part <> %(part)s), 0),
       coalesce(sum(octet_length(p.body)) FILTER (WHERE p.upload_id <> u.id), 0)
  FROM syncline_staged_uploads u
  JOIN syncline_staged_uploads others ON others.user_id = u.user_id
  LEFT JOIN syncline_staged_parts p ON p.upload_id = others.id
 WHERE u.id = %(id)s AND u.user_id = %(user)s
 GROUP BY u.id, u.state
"""
_PUT = """
INSERT INTO syncline_staged_parts (upload_id, part, digest, body) VALUES (%s, %s, %s, %s)
ON CONFLICT (upload_id, part) DO UPDATE SET digest = excluded.digest, body = excluded.body
"""
_LEASE = """
UPDATE syncline_staged_uploads
   SET holder = %(holder)s, leased_until = now() + make_interval(secs => %(seconds)s), touched_at = now()
 WHERE id = %(id)s AND state = 'applying' AND (holder = %(holder)s OR leased_until IS NULL OR leased_until < now())
"""
_SETTLE = """
UPDATE syncline_staged_uploads
   SET state = %(state)s, result = %(result)s, failures = failures + %(failed)s, holder = NULL, leased_until = NULL,
       touched_at = now()
 WHERE id = %(id)s AND holder = %(holder)s AND state = 'applying'
"""

Connection = psycopg.AsyncConnection[tuple[Any, ...]]


class PostgresStagedStore:
    """See `syncline.backend.staged.store.StagedStore`.

    It has connections of its own, opened when first needed: a transaction that is being applied holds one of the persister's, and waits for
    parts.
    """

    def __init__(
        self,
        dsn: str,
        *,
        connections_max: int = STAGED_CONNECTIONS_MAX,
        uploads_per_user_max: int = STAGED_UPLOADS_PER_USER_MAX,
        bytes_per_user_max: int = STAGED_BYTES_PER_USER_MAX,
        parts_max: int = STAGED_PARTS_MAX,
        kept_hours: int = STAGED_KEPT_HOURS,
        idle_minutes: int = STAGED_IDLE_MINUTES,
    ) -> None:
        self._uploads_per_user_max = uploads_per_user_max
        self._bytes_per_user_max = bytes_per_user_max
        self._parts_max = parts_max
        self._kept_hours = kept_hours
        self._idle_minutes = idle_minutes
        self._opening = asyncio.Lock()
        self._is_open = False
        self._has_tables = False
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            dsn,
            min_size=0,
            max_size=connections_max,
            open=False,
            timeout=TRANSACTION_SECONDS_MAX / 3,
            kwargs={"application_name": "syncline-backend-staged"},
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.close()

    async def begin(self, user_id: str, begin: StagedBegin) -> StagedUpload:
        """See `StagedStore`."""
        key = (user_id, begin.client_id or "", begin.first_op_id or 0, begin.last_op_id or 0, begin.content_hash)
        async with self._transaction() as connection:
            await connection.execute(_DROP_OLD, (self._kept_hours,))
            await _lock_user(connection, user_id)
            found = await (await connection.execute(_FIND, key)).fetchone()
            if found is None:
                await self._make_room(connection, user_id)
                announced = msgspec.json.encode(begin).decode()
                await connection.execute(_BEGIN, (str(uuid.uuid4()), *key, announced))
                found = await (await connection.execute(_FIND, key)).fetchone()
        assert found is not None
        return _upload(found)

    async def get(self, upload_id: str, user_id: str) -> StagedUpload | None:
        """See `StagedStore`."""
        async with self._transaction() as connection:
            found = await (await connection.execute(_GET, (upload_id, user_id))).fetchone()
        return None if found is None else _upload(found)

    async def parts(self, upload_id: str) -> dict[int, str]:
        """See `StagedStore`."""
        query = "SELECT part, digest FROM syncline_staged_parts WHERE upload_id = %s ORDER BY part"
        async with self._transaction() as connection:
            return dict(await (await connection.execute(query, (upload_id,))).fetchall())  # pyright: ignore[reportArgumentType]  # rows of two columns

    async def put_part(self, upload_id: str, user_id: str, number: int, digest: str, body: bytes) -> bool:
        """See `StagedStore`."""
        if number >= self._parts_max:
            raise StagedFull(f"An upload has at most {self._parts_max} parts.", permanent=True)
        async with self._transaction() as connection:
            await _lock_user(connection, user_id)
            asked = {"part": number, "id": upload_id, "user": user_id}
            found = await (await connection.execute(_ROOM, asked)).fetchone()
            if found is None or found[0] != StagedState.OPEN:
                return False
            if found[1] == digest:
                return True
            alone = int(found[2]) + len(body)
            if alone + int(found[3]) > self._bytes_per_user_max:
                message = f"One user stages at most {self._bytes_per_user_max} bytes."
                raise StagedFull(message, permanent=alone > self._bytes_per_user_max)
            await connection.execute(_PUT, (upload_id, number, digest, body))
            await connection.execute(
                "UPDATE syncline_staged_uploads SET touched_at = now() WHERE id = %s", (upload_id,)
            )
        return True

    async def commit(self, upload_id: str, manifest: tuple[str, ...]) -> bool:
        """See `StagedStore`."""
        query = (
            "UPDATE syncline_staged_uploads SET state = 'applying', manifest = %s, touched_at = now()"
            " WHERE id = %s AND state = 'open'"
        )
        async with self._transaction() as connection:
            return (await connection.execute(query, (list(manifest), upload_id))).rowcount == 1

    async def read_part(self, upload_id: str, number: int, digest: str) -> bytes | None:
        """See `StagedStore`."""
        query = "SELECT body FROM syncline_staged_parts WHERE upload_id = %s AND part = %s AND digest = %s"
        async with self._transaction() as connection:
            cursor = await connection.execute(query, (upload_id, number, digest), binary=True)
            found = await cursor.fetchone()
        return None if found is None else bytes(found[0])

    async def lease(self, upload_id: str, holder: str, seconds: float) -> bool:
        """See `StagedStore`."""
        async with self._transaction() as connection:
            cursor = await connection.execute(_LEASE, {"id": upload_id, "holder": holder, "seconds": seconds})
            return cursor.rowcount == 1

    async def settle(self, upload_id: str, holder: str, result: TransactionResult, *, done: bool, failed: bool) -> None:
        """See `StagedStore`."""
        values = {
            "id": upload_id,
            "holder": holder,
            "state": StagedState.DONE if done else StagedState.OPEN,
            "result": msgspec.json.encode(result).decode(),
            "failed": int(failed),
        }
        async with self._transaction() as connection:
            settled = (await connection.execute(_SETTLE, values)).rowcount == 1
            if settled and done:
                await connection.execute("DELETE FROM syncline_staged_parts WHERE upload_id = %s", (upload_id,))

    async def _make_room(self, connection: Connection, user_id: str) -> None:
        query = "SELECT count(*) FROM syncline_staged_uploads WHERE user_id = %s AND state <> 'done'"
        row = await (await connection.execute(query, (user_id,))).fetchone()
        if row is None or row[0] < self._uploads_per_user_max:
            return
        dropped = await (await connection.execute(_DROP_IDLE, (user_id, self._idle_minutes))).fetchone()
        if dropped is None or not dropped[0]:
            raise StagedFull(
                f"One user has at most {self._uploads_per_user_max} staged uploads at a time.", permanent=False
            )

    @contextlib.asynccontextmanager
    async def _transaction(self) -> AsyncGenerator[Connection]:
        """A transaction with a time limit, over tables that are there."""
        try:
            async with asyncio.timeout(TRANSACTION_SECONDS_MAX):
                await self._prepare()
                async with self._pool.connection() as connection, connection.transaction():
                    yield connection
        except (psycopg.Error, TimeoutError) as exc:
            state = exc.sqlstate if isinstance(exc, psycopg.Error) else "timeout"
            log.warning("The database ended a staged upload: %s", state, extra={"event": "backend.staged_error"})
            raise RetryLater("The database cannot keep the upload at the moment.") from exc

    async def _prepare(self) -> None:
        """Open the pool and make the tables, once. Raises StagedNotPossible where the role may not."""
        if self._has_tables:
            return
        async with self._opening:
            if not self._is_open:
                await self._pool.open()
                self._is_open = True
            if self._has_tables:
                return
            async with self._pool.connection() as connection, connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock(hashtext('syncline_staged_uploads'))")
                cursor = await connection.execute("SELECT to_regclass('syncline_staged_parts') IS NOT NULL")
                if await cursor.fetchone() != (True,):
                    await _make_tables(connection)
            self._has_tables = True


async def _make_tables(connection: Connection) -> None:
    try:
        await connection.execute(STAGED_TABLES_SQL)
    except psycopg.errors.InsufficientPrivilege as exc:
        log.error(
            "The backend's database role may not make the tables of staged uploads. Run as the owner of the database, and"
            " grant the role SELECT, INSERT, UPDATE and DELETE on both:%s",
            STAGED_TABLES_SQL,
            extra={"event": "backend.staged_not_possible"},
        )
        raise StagedNotPossible("This backend cannot keep staged uploads: its tables are missing.") from exc


async def _lock_user(connection: Connection, user_id: str) -> None:
    """A user's limits are counted by one at a time."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('staged/' || %s, 0))", (user_id,))


def _upload(row: tuple[Any, ...]) -> StagedUpload:
    upload_id, user_id, announced, state, manifest, result, failures = row
    return StagedUpload(
        upload_id,
        user_id,
        msgspec.json.decode(announced, type=StagedBegin),
        StagedState(state),
        tuple(manifest),
        None if result is None else msgspec.json.decode(result, type=TransactionResult),
        failures,
    )
