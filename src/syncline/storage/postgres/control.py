"""What administrators keep in the storage schema, and how versions stand. Contract: `syncline.storage.base.StorageControl`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from hashlib import blake2b
from typing import Any, TypeVar

import psycopg

from syncline.storage.bucket_sizes import BUCKETS_LOOKED_AT_MAX, SAMPLED_OPS, BucketSizes, largest_of, sizes_of
from syncline.storage.control_model import (
    CONNECTION_REPORTS_MAX,
    DEPLOYMENTS_KEPT,
    MS_PER_DAY,
    ConnectionReport,
    Deployment,
    VersionReport,
)
from syncline.storage.model import draw_version_number
from syncline.storage.postgres.connection import Row
from syncline.storage.postgres.pool import ConnectionPool
from syncline.storage.postgres.statements import SchemaSql, user_key_bytes
from syncline.storage.postgres.versions import TABLE_COLUMNS, VERSION_COLUMNS, table_from_row, version_from_row

__all__ = ["PostgresControl"]

POOL_SIZE = 1  # connections of a process: administrators are few
_T = TypeVar("_T")

_DURABLE = "SET LOCAL synchronous_commit = on"  # an administrator was told that it is done
# Who deploys waits for who deploys; readers and the replicator's inserts do not.
_LOCK = "LOCK TABLE {schema}.deployment IN SHARE ROW EXCLUSIVE MODE"
_HIGHEST = """
SELECT greatest(s.highest_version, (SELECT coalesce(max(number), 0) FROM {schema}.deployment)) FROM {schema}.storage_state s
"""
_DEPLOY = "INSERT INTO {schema}.deployment (number, sync_config, deployed_ms) VALUES (%s, %s, %s)"
_FORGET = """
DELETE FROM {schema}.deployment WHERE number NOT IN (SELECT number FROM {schema}.deployment ORDER BY number DESC LIMIT %s)
"""
_DEPLOYMENTS = "SELECT number, sync_config, deployed_ms FROM {schema}.deployment ORDER BY number"
_VERSIONS = (
    f"SELECT {VERSION_COLUMNS}, position, coalesce(checkpoint_position, '') FROM {{schema}}.version ORDER BY number"  # noqa: S608 - our own names
)
_TABLES = f"SELECT version, {TABLE_COLUMNS} FROM {{schema}}.source_table ORDER BY id"  # noqa: S608 - our own names
_BUCKETS = "SELECT id, name, op_count FROM {schema}.bucket WHERE version = %s LIMIT %s"
_SAMPLE = """
SELECT count(*), coalesce(sum(octet_length(data)), 0)::bigint
  FROM (SELECT data FROM {schema}.op WHERE bucket_id = %s ORDER BY op_id DESC LIMIT %s) s
"""
_REVOKE = """
INSERT INTO {schema}.revocation (user_id_hash, user_id, until_ms) VALUES (%s, %s, %s)
    ON CONFLICT (user_id_hash) DO UPDATE SET until_ms = excluded.until_ms
"""
_REPORT = """
INSERT INTO {schema}.connection_report AS c (day, user_id_hash, client_id_hash, user_id, client_id, user_agent, connected_ms,
                                             disconnected_ms, token_expires_s, connections, operations_sent, bytes_sent)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (day, user_id_hash, client_id_hash) DO UPDATE SET
       user_agent = excluded.user_agent, connected_ms = least(c.connected_ms, excluded.connected_ms),
       disconnected_ms = excluded.disconnected_ms, token_expires_s = greatest(c.token_expires_s, excluded.token_expires_s),
       connections = c.connections + excluded.connections, operations_sent = c.operations_sent + excluded.operations_sent,
       bytes_sent = c.bytes_sent + excluded.bytes_sent
"""
_REPORTS = """
SELECT user_id, client_id, user_agent, connected_ms, disconnected_ms, token_expires_s, connections, operations_sent, bytes_sent
  FROM {schema}.connection_report WHERE %(user)s::bytea IS NULL OR user_id_hash = %(user)s
 ORDER BY day DESC, connected_ms DESC LIMIT %(limit)s
"""


class PostgresControl:
    """Reads and writes through one connection, made when it is needed."""

    def __init__(self, conninfo: str, sql: SchemaSql) -> None:
        self._sql = sql
        self._pool = ConnectionPool(conninfo, size=POOL_SIZE, application_name="syncline control", read_only=False)

    async def deploy(self, sync_config: str | None, *, now_ms: int, random_bits: int) -> Deployment:
        """Remember a deployment under a number above every other."""

        async def deploy(connection: psycopg.AsyncConnection[Row]) -> Deployment:
            await connection.execute(self._sql(_LOCK))
            row = await (await connection.execute(self._sql(_HIGHEST))).fetchone()
            assert row is not None
            number = draw_version_number(now_ms=now_ms, random_bits=random_bits, above=row[0])
            await connection.execute(self._sql(_DEPLOY), (number, sync_config, now_ms))
            await connection.execute(self._sql(_FORGET), (DEPLOYMENTS_KEPT,))
            return Deployment(number, sync_config, now_ms)

        return await self._store(deploy)

    async def deployments(self) -> list[Deployment]:
        """Remembered deployments, oldest first."""
        return [Deployment(*row) for row in await self._rows(_DEPLOYMENTS)]

    async def versions(self) -> list[VersionReport]:
        """All versions as they stand, oldest first."""

        async def read(connection: psycopg.AsyncConnection[Row]) -> tuple[list[Row], list[Row]]:
            async with connection.transaction():
                await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                rows = await (await connection.execute(self._sql(_VERSIONS))).fetchall()
                return rows, await (await connection.execute(self._sql(_TABLES))).fetchall()

        rows, tables = await self._pool.call(read)
        return [
            VersionReport(
                version_from_row(row[:-2]),
                tuple(table_from_row(entry[1:]) for entry in tables if entry[0] == row[0]),
                row[-2],
                row[-1],
            )
            for row in rows
        ]

    async def bucket_sizes(self, version: int) -> BucketSizes:
        """How large the buckets of a version are."""
        buckets = await self._rows(_BUCKETS, (version, BUCKETS_LOOKED_AT_MAX + 1))
        largest: list[tuple[str, int, int, int]] = []
        for bucket_id, name, op_count in largest_of(buckets):
            [(sampled, size)] = await self._rows(_SAMPLE, (bucket_id, SAMPLED_OPS))
            largest.append((name, op_count, sampled, size))
        return sizes_of(buckets, largest)

    async def revoke(self, user_id: str, *, until_ms: int) -> None:
        """Remember until when a user's tokens are refused."""
        user = user_key_bytes(user_id)
        await self._execute(_REVOKE, (_hash(user), user, until_ms))

    async def revocations(self, *, now_ms: int) -> dict[str, int]:
        """Revoked users with the time until which they are."""
        rows = await self._rows("SELECT user_id, until_ms FROM {schema}.revocation")
        if any(row[1] <= now_ms for row in rows):
            await self._execute("DELETE FROM {schema}.revocation WHERE until_ms <= %s", (now_ms,))
        return {_text(row[0]): row[1] for row in rows if row[1] > now_ms}

    async def report_connections(self, reports: Sequence[ConnectionReport]) -> None:
        """Add to the reports of the same user, client and day."""

        async def report(connection: psycopg.AsyncConnection[Row]) -> None:
            # In the order of their keys: two processes that report the same users must not wait for each other in a circle.
            rows = sorted((_report_row(entry) for entry in reports), key=lambda row: row[:3])
            await connection.cursor().executemany(self._sql(_REPORT), rows)

        if reports:
            await self._store(report)

    async def connection_reports(self, *, user_id: str | None = None) -> list[ConnectionReport]:
        """The newest reports, of one user or of all."""
        wanted = None if user_id is None else _hash(user_key_bytes(user_id))
        rows = await self._rows(_REPORTS, {"user": wanted, "limit": CONNECTION_REPORTS_MAX})
        return [ConnectionReport(_text(row[0]), _text(row[1]), *row[2:]) for row in rows]

    async def expire_connection_reports(self, *, before_ms: int) -> int:
        """Delete reports of earlier days."""
        sql = "DELETE FROM {schema}.connection_report WHERE day < %s"
        return await self._execute(sql, (before_ms // MS_PER_DAY,))

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.close()

    async def _rows(self, sql: str, values: Any = None) -> list[Row]:
        async def read(connection: psycopg.AsyncConnection[Row]) -> list[Row]:
            return await (await connection.execute(self._sql(sql), values)).fetchall()

        return await self._pool.call(read)

    async def _execute(self, sql: str, values: tuple[Any, ...]) -> int:
        async def execute(connection: psycopg.AsyncConnection[Row]) -> int:
            return (await connection.execute(self._sql(sql), values)).rowcount

        return await self._store(execute)

    async def _store(self, work: Callable[[psycopg.AsyncConnection[Row]], Awaitable[_T]]) -> _T:
        """Run `work` in a transaction that is on disk when this returns."""

        async def store(connection: psycopg.AsyncConnection[Row]) -> _T:
            async with connection.transaction():
                await connection.execute(_DURABLE)
                return await work(connection)

        return await self._pool.call(store)


def _report_row(report: ConnectionReport) -> tuple[Any, ...]:
    user, client = user_key_bytes(report.user_id), user_key_bytes(report.client_id)
    return (
        report.day,
        _hash(user),
        _hash(client),
        user,
        client,
        report.user_agent.replace("\0", ""),
        report.connected_ms,
        report.disconnected_ms,
        report.token_expires_s,
        report.connections,
        report.operations_sent,
        report.bytes_sent,
    )


def _hash(content: bytes) -> bytes:
    return blake2b(content, digest_size=16).digest()


def _text(stored: bytes) -> str:
    return bytes(stored).decode("utf-8", "surrogatepass")
