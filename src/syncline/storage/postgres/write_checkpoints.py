"""Write checkpoints in the storage schema. Contract: `syncline.storage.base.WriteCheckpoints`.

Several API processes store at the same time: the counter's row is locked until the commit, so that the order of storing is the order in
which readers come to see it. The replicator's rows are others: nobody waits for a flush here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from hashlib import blake2b
from typing import TypeVar

import psycopg

from syncline.storage.model import WriteCheckpointCursor
from syncline.storage.postgres.connection import Row
from syncline.storage.postgres.pool import ConnectionPool
from syncline.storage.postgres.statements import SchemaSql, user_key_bytes

__all__ = ["PostgresWriteCheckpoints"]

EPOCH_MS = 1_767_225_600_000  # 2026-01-01: counters begin at the milliseconds since then
POOL_SIZE = 2  # connections: one stores, one reads
_T = TypeVar("_T")

_DURABLE = "SET LOCAL synchronous_commit = on"  # the client was told the number
_COUNT_UP = "UPDATE {schema}.write_checkpoint_state SET sequence = sequence + %s RETURNING sequence"
_CREATE = """
INSERT INTO {schema}.write_checkpoint AS w (user_key_hash, user_key, value, position, sequence)
SELECT u.hash, u.user_key, %s, %s, u.sequence FROM unnest(%s::bytea[], %s::bytea[], %s::bigint[]) AS u (hash, user_key, sequence)
    ON CONFLICT (user_key_hash) DO UPDATE SET
       value = greatest(w.value + 1, excluded.value), position = excluded.position, sequence = excluded.sequence, requested_at = NULL
RETURNING w.user_key_hash, w.value
"""
# A row that has counted stays a counter: deleted, it might count again from below.
_REQUEST = """
INSERT INTO {schema}.write_checkpoint AS w (user_key_hash, user_key, value, position, sequence, requested_at)
VALUES (%s, %s, %s, %s, %s, clock_timestamp())
    ON CONFLICT (user_key_hash) DO UPDATE SET
       value = greatest(w.value, excluded.value),
       position = CASE WHEN excluded.value > w.value THEN excluded.position ELSE w.position END,
       sequence = CASE WHEN excluded.value > w.value THEN excluded.sequence ELSE w.sequence END,
       requested_at = CASE WHEN excluded.value >= w.value AND w.requested_at IS NOT NULL THEN excluded.requested_at ELSE w.requested_at END
RETURNING w.value
"""
_EXPIRE = """
DELETE FROM {schema}.write_checkpoint WHERE requested_at < clock_timestamp() - make_interval(secs => %s)
"""
_REACHED = (
    "SELECT user_key_hash, value FROM {schema}.write_checkpoint WHERE user_key_hash = ANY (%s) AND position <= %s"
)
# One statement: what is stored after it has begun comes with the next reading. The first row holds the sequence alone.
_NEWLY_REACHED = """
WITH known AS (SELECT sequence FROM {schema}.write_checkpoint_state)
SELECT NULL::bytea, sequence FROM known
 UNION ALL
SELECT w.user_key, w.value FROM {schema}.write_checkpoint w WHERE w.position <= %(position)s AND w.position > %(known_position)s
 UNION ALL
SELECT w.user_key, w.value FROM {schema}.write_checkpoint w
 WHERE w.position <= %(known_position)s AND w.position <= %(position)s AND w.sequence > %(known_sequence)s
   AND w.sequence <= (SELECT sequence FROM known)
"""


class PostgresWriteCheckpoints:
    """Counts write checkpoints per user key. `now_ms` gives the time since 1970 in milliseconds."""

    def __init__(self, conninfo: str, sql: SchemaSql, *, now_ms: Callable[[], int]) -> None:
        self._sql = sql
        self._now_ms = now_ms
        self._pool = ConnectionPool(
            conninfo, size=POOL_SIZE, application_name="syncline write checkpoints", read_only=False
        )

    async def create(self, user_keys: Sequence[str], position: str) -> list[int]:
        """Count one up per user key and remember that it is reached when replication has passed `position`."""
        users = [user_key_bytes(user_key) for user_key in user_keys]

        async def create(connection: psycopg.AsyncConnection[Row]) -> list[int]:
            values: dict[bytes, int] = {}
            once = dict.fromkeys(users)  # one statement cannot count the same user up twice
            last = await self._count_up(connection, len(once))
            cursor = await connection.execute(
                self._sql(_CREATE),
                (
                    self._now_ms() - EPOCH_MS,
                    position,
                    [_hash(user) for user in once],
                    list(once),
                    list(range(last - len(once) + 1, last + 1)),
                ),
            )
            values = {bytes(key): value for key, value in await cursor.fetchall()}
            return [values[_hash(user)] for user in users]

        return await self._store(create) if users else []

    async def request(self, user_key: str, request_id: int, position: str) -> int:
        """Store a checkpoint request, unless a greater one is stored. Returns the stored id."""
        user = user_key_bytes(user_key)

        async def request(connection: psycopg.AsyncConnection[Row]) -> int:
            sequence = await self._count_up(connection, 1)
            values = (_hash(user), user, request_id, position, sequence)
            row = await (await connection.execute(self._sql(_REQUEST), values)).fetchone()
            assert row is not None
            return row[0]

        return await self._store(request)

    async def expire_requests(self, *, older_than_s: float) -> int:
        """Delete requests that were not stored or repeated for so long; how many they were."""

        async def expire(connection: psycopg.AsyncConnection[Row]) -> int:
            return (await connection.execute(self._sql(_EXPIRE), (older_than_s,))).rowcount

        return await self._pool.call(expire)

    async def reached(self, user_key: str, position: str) -> int | None:
        """The user's write checkpoint if replication at `position` has reached it."""
        return (await self.reached_all([user_key], position)).get(user_key)

    async def reached_all(self, user_keys: Collection[str], position: str) -> dict[str, int]:
        """The write checkpoints of these users that replication at `position` has reached."""
        user_of = {_hash(user_key_bytes(user_key)): user_key for user_key in user_keys}

        async def read(connection: psycopg.AsyncConnection[Row]) -> dict[str, int]:
            cursor = await connection.execute(self._sql(_REACHED), (list(user_of), position))
            return {user_of[bytes(key)]: value for key, value in await cursor.fetchall()}

        return await self._pool.call(read)

    async def newly_reached(
        self, position: str, cursor: WriteCheckpointCursor
    ) -> tuple[dict[str, int], WriteCheckpointCursor]:
        """What was reached, or stored as reached already, since the reading that gave `cursor`."""

        async def read(
            connection: psycopg.AsyncConnection[Row],
        ) -> tuple[dict[str, int], WriteCheckpointCursor]:
            known = {
                "position": position,
                "known_position": cursor.position,
                "known_sequence": cursor.sequence,
            }
            found = connection.cursor(binary=True)
            await found.execute(self._sql(_NEWLY_REACHED), known, prepare=True)
            (_, sequence), *rows = await found.fetchall()
            reached = {bytes(key).decode("utf-8", "surrogatepass"): value for key, value in rows}
            return reached, WriteCheckpointCursor(position, sequence)

        return await self._pool.call(read)

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.close()

    async def _store(self, work: Callable[[psycopg.AsyncConnection[Row]], Awaitable[_T]]) -> _T:
        """Run `work` in a transaction that is on disk when this returns."""

        async def store(connection: psycopg.AsyncConnection[Row]) -> _T:
            async with connection.transaction():
                await connection.execute(_DURABLE)
                return await work(connection)

        return await self._pool.call(store)

    async def _count_up(self, connection: psycopg.AsyncConnection[Row], count: int) -> int:
        """The last of `count` new places in the order of storing; nobody else stores until the transaction ends."""
        row = await (await connection.execute(self._sql(_COUNT_UP), (count,))).fetchone()
        assert row is not None
        return row[0]


def _hash(user: bytes) -> bytes:
    return blake2b(user, digest_size=16).digest()
