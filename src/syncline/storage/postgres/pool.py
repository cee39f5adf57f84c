"""A few asynchronous connections, made when they are needed and thrown away when they break.

Our own, of one screen: a pool that waits for a lost server in the background would hide the error that the API has to answer with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import psycopg

from syncline.storage.postgres.connection import Row, connect_async
from syncline.storage.postgres.errors import storage_errors

__all__ = ["ConnectionPool"]

_T = TypeVar("_T")
# What a page of operations costs must not depend on the age of the planner's statistics: without these it sorts the whole bucket for
# each page of a table that was just copied.
_READER_SETTINGS = "SET enable_bitmapscan = off; SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan"


class ConnectionPool:
    """At most `size` connections; who asks for one more waits. Raises StorageUnavailable."""

    def __init__(self, conninfo: str, *, size: int, application_name: str, read_only: bool) -> None:
        self._conninfo = conninfo
        self._application_name = application_name
        self._read_only = read_only
        self._places = asyncio.Semaphore(size)
        self._idle: list[psycopg.AsyncConnection[Row]] = []
        self._closed = False

    async def call(self, work: Callable[[psycopg.AsyncConnection[Row]], Awaitable[_T]]) -> _T:
        """Run `work` with a connection.

        Once more with another, where an idle one turns out to be dead: the server may have restarted. So `work` must be safe to repeat.
        """
        async with self._places:
            with storage_errors():
                while self._idle:
                    connection = self._idle.pop()
                    try:
                        return await self._use(connection, work)
                    except psycopg.OperationalError:
                        if not connection.broken:
                            raise
                return await self._use(await self._connect(), work)

    async def close(self) -> None:
        """Close the idle connections; those in use are closed when they come back."""
        self._closed = True
        while self._idle:
            await self._idle.pop().close()

    async def _use(
        self, connection: psycopg.AsyncConnection[Row], work: Callable[[psycopg.AsyncConnection[Row]], Awaitable[_T]]
    ) -> _T:
        try:
            result = await work(connection)
        except (
            BaseException
        ):  # a cancelled statement, too: what the connection is in the middle of is not worth finding out
            if not connection.broken:
                await connection.close()
            raise
        if self._closed:
            await connection.close()
        else:
            self._idle.append(connection)
        return result

    async def _connect(self) -> psycopg.AsyncConnection[Row]:
        connection = await connect_async(self._conninfo, application_name=self._application_name)
        if self._read_only:
            await connection.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
            await connection.set_read_only(True)
            await connection.execute(_READER_SETTINGS)
        return connection
