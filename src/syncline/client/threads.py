"""Threads that own a SQLite connection: the event loop never waits for the disk."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import TypeVar

import apsw

from syncline.client.errors import DatabaseClosed, NestedTransaction

__all__ = ["ConnectionThread", "ReaderPool", "Writer"]

T = TypeVar("T")


class ConnectionThread:
    """One thread and the one connection that only it touches. Calls run in the order in which they were made."""

    def __init__(self, opener: Callable[[], apsw.Connection], *, name: str) -> None:
        self._opener = opener
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._connection: apsw.Connection | None = None
        self._closed = False

    async def run(self, function: Callable[[apsw.Connection], T]) -> T:
        """Run `function` in the thread; opens the connection at the first call. Raises DatabaseClosed, and what it raises.

        When the caller is cancelled the function still runs to its end.
        """
        if self._closed:
            raise DatabaseClosed("The database is closed.")
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._call, function)

    async def close(self) -> None:
        """Close the connection after what was asked for before. Can be called again."""
        if self._closed:
            return
        self._closed = True
        await asyncio.get_running_loop().run_in_executor(self._executor, self._close)
        self._executor.shutdown(wait=False)

    def _call(self, function: Callable[[apsw.Connection], T]) -> T:
        if self._connection is None:
            self._connection = self._opener()
        return function(self._connection)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _Lease:
    """One holder's turn at the write connection."""

    def __init__(self) -> None:
        self.open = True


_held: ContextVar[tuple[Writer, _Lease] | None] = ContextVar("syncline_write_lease", default=None)


class Writer:
    """The write connection: whoever writes holds the lease, one at a time, in the order of asking."""

    def __init__(self, opener: Callable[[], apsw.Connection], *, after_call: Callable[[], None]) -> None:
        """`after_call` runs in the thread after each call: what was committed is told from there."""
        self._thread = ConnectionThread(opener, name="syncline-writer")
        self._lock = asyncio.Lock()
        self._after_call = after_call

    @contextlib.asynccontextmanager
    async def lease(self) -> AsyncGenerator[None]:
        """Hold the write connection. Raises NestedTransaction where the caller holds it already."""
        held = _held.get()
        if held is not None and held[0] is self and held[1].open:
            raise NestedTransaction(
                "The database was called inside a write transaction of the same task.",
                hint="Use the transaction object (`tx.execute(...)`) inside `async with db.write_transaction() as tx`.",
            )
        async with self._lock:
            lease = _Lease()
            _held.set((self, lease))
            try:
                yield
            finally:
                lease.open = False
                _held.set(held)

    async def run(self, function: Callable[[apsw.Connection], T]) -> T:
        """Run in the writer thread; the caller holds the lease."""

        def call(connection: apsw.Connection) -> T:
            try:
                return function(connection)
            finally:
                self._after_call()

        return await self._thread.run(call)

    async def call(self, function: Callable[[apsw.Connection], T]) -> T:
        """Take the lease, run one function that leaves no transaction open, give it back."""
        async with self.lease():
            return await self.run(function)

    async def close(self) -> None:
        """Close the connection."""
        await self._thread.close()


class ReaderPool:
    """Read-only connections, opened when first needed."""

    def __init__(self, opener: Callable[[], apsw.Connection], *, size: int) -> None:
        self._threads = [ConnectionThread(opener, name=f"syncline-reader-{i}") for i in range(size)]
        self._idle: asyncio.LifoQueue[ConnectionThread] = asyncio.LifoQueue()
        for thread in reversed(self._threads):
            self._idle.put_nowait(thread)

    @contextlib.asynccontextmanager
    async def lease(self) -> AsyncGenerator[ConnectionThread]:
        """Hold one reader; waits while all are in use."""
        thread = await self._idle.get()
        try:
            yield thread
        finally:
            self._idle.put_nowait(thread)

    async def call(self, function: Callable[[apsw.Connection], T]) -> T:
        """Run one function on any reader."""
        async with self.lease() as thread:
            return await thread.run(function)

    async def close(self) -> None:
        """Close all connections."""
        for thread in self._threads:
            await thread.close()
