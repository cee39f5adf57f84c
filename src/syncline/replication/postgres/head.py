"""The source's position, for write checkpoints: one small connection, made again when it breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import LiteralString, TypeVar

import psycopg

from syncline import __version__
from syncline.replication.postgres.connection import Row, connect, source_errors
from syncline.replication.postgres.lsn import pad_lsn

__all__ = ["PostgresHead", "emit_marker", "read_head"]

_T = TypeVar("_T")
MARKER_PREFIX = "powersync"
MARKER_CONTENT = b"ping"

# The insert position, not the written one: a commit that is not flushed yet (synchronous_commit=off) lies behind it too.
_HEAD = "SELECT pg_current_wal_insert_lsn()::text"
_MARKER_17: LiteralString = "SELECT pg_logical_emit_message(false, 'powersync', 'ping', true)"
# Before 17 only a commit is flushed at once; without it the marker would wait for the WAL writer, up to 200 ms.
_MARKER_14: LiteralString = "SELECT pg_logical_emit_message(true, 'powersync', 'ping')"


async def read_head(connection: psycopg.AsyncConnection[Row]) -> str:
    """The position of everything committed so far."""
    row = await (await connection.execute(_HEAD)).fetchone()
    assert row is not None
    return pad_lsn(row[0])


async def emit_marker(connection: psycopg.AsyncConnection[Row]) -> None:
    """Write a marker to the log and flush it."""
    await connection.execute(_MARKER_17 if connection.info.server_version >= 170000 else _MARKER_14)


class PostgresHead:
    """See `syncline.replication.source.SourceHead`."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._connection: psycopg.AsyncConnection[Row] | None = None
        self._lock = asyncio.Lock()

    async def head(self) -> str:
        """The position of everything committed so far. Raises SourceUnavailable."""
        return await self._call(read_head)

    async def emit_marker(self) -> None:
        """Write a marker to the source's log. Raises SourceUnavailable."""
        await self._call(emit_marker)

    async def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            await self._connection.close()

    async def _call(self, call: Callable[[psycopg.AsyncConnection[Row]], Awaitable[_T]]) -> _T:
        """Once more with a new connection, where the one at hand turns out to be dead: the source may have restarted."""
        async with self._lock:
            with source_errors():
                connection = await self._connected()
                try:
                    return await call(connection)
                except psycopg.OperationalError:
                    if not connection.broken:
                        raise
                    return await call(await self._connected())

    async def _connected(self) -> psycopg.AsyncConnection[Row]:
        if self._connection is not None and not self._connection.broken and not self._connection.closed:
            return self._connection
        self._connection = await connect(self._conninfo, application_name=f"syncline/{__version__} head")
        return self._connection
