"""Threads that own a SQLite connection: the event loop never waits for the disk."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any, TypeVar

import apsw

from syncline.client.errors import DatabaseClosed, NestedTransaction

__all__ = ["ConnectionThread", "ReaderPool", "WriteLease", "Writer"]

T = TypeVar("T")


class ConnectionThread:
    """One thread and the one connection that only it touches. Calls run in the order in which they were made."""

    def __init__(self, opener: Callable[[], apsw.Connection], *, name: str) -> None:
        self._opener = opener
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._connection: apsw.Connection | None = None
        self._thread: int | None = None
        self._newest: Future[Any] | None = None
        self._closed = False

    async def run(self, function: Callable[[apsw.Connection], T], *, interruptible: bool = False) -> T:
        """Run `function` in the thread; opens the connection at the first call. Raises DatabaseClosed, and what it raises.

        When the caller is cancelled the function still runs to its end, in which `interruptible` helps: the statement that it is at ends
        with apsw.InterruptError. Only for callers that hold the connection for themselves.
        """
        if self._closed:
            raise DatabaseClosed("The database is closed.")
        running = self._newest = self._executor.submit(self._call, function)
        try:
            return await asyncio.wrap_future(running)
        except asyncio.CancelledError:
            if interruptible and self._connection is not None and not self._closed:
                self._connection.interrupt()
            raise

    def when_idle(self, callback: Callable[[], None]) -> None:
        """Call `callback` in the event loop once nothing runs here; at once where nothing does."""
        if self._newest is None or self._newest.done():
            callback()
            return
        loop = asyncio.get_running_loop()

        def tell(_: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(callback)

        self._newest.add_done_callback(tell)

    @property
    def is_current(self) -> bool:
        """Whether the caller runs in this thread, and so must not wait for it."""
        return self._thread == threading.get_ident()

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
            self._thread = threading.get_ident()
        return function(self._connection)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class WriteLease:
    """One holder's turn at the write connection. It can be given back by anybody, and more than once."""

    def __init__(self, lock: asyncio.Lock, task: asyncio.Task[object] | None) -> None:
        self._lock = lock
        self.task = task
        self.open = True

    def release(self) -> None:
        """Let the next one write. Nothing of the holder may run in the thread any more."""
        if self.open:
            self.open = False
            self._lock.release()


_held: ContextVar[tuple[Writer, WriteLease] | None] = ContextVar("syncline_write_lease", default=None)


class Writer:
    """The write connection: whoever writes holds the lease, one at a time, in the order of asking."""

    def __init__(self, opener: Callable[[], apsw.Connection], *, after_call: Callable[[], None]) -> None:
        """`after_call` runs in the thread after each call: what was committed is told from there."""
        self._thread = ConnectionThread(opener, name="syncline-writer")
        self._lock = asyncio.Lock()
        self._after_call = after_call
        self._asking = 0

    @contextlib.asynccontextmanager
    async def lease(self, *, timeout_s: float | None = None) -> AsyncGenerator[WriteLease]:
        """Hold the write connection. Raises NestedTransaction where the caller, or the task that started it, holds it already, and
        TimeoutError where it is not free within `timeout_s`.
        """
        held = _held.get()
        if held is not None and held[0] is self and held[1].open:
            raise _nested()
        self._asking += 1
        try:
            async with asyncio.timeout(timeout_s):
                await self._lock.acquire()
        finally:
            self._asking -= 1
        lease = WriteLease(self._lock, asyncio.current_task())
        _held.set((self, lease))
        try:
            yield lease
        finally:
            lease.release()
            _held.set(held)

    def refuse_holder(self) -> None:
        """Raise NestedTransaction where the calling task holds the lease: a reader would not see what it has written."""
        held = _held.get()
        if held is not None and held[0] is self and held[1].open and held[1].task is asyncio.current_task():
            raise _nested()

    async def run(self, function: Callable[[apsw.Connection], T], *, interruptible: bool = False) -> T:
        """Run in the writer thread; the caller holds the lease."""

        def call(connection: apsw.Connection) -> T:
            try:
                return function(connection)
            finally:
                self._after_call()

        return await self._thread.run(call, interruptible=interruptible)

    async def call(self, function: Callable[[apsw.Connection], T], *, interruptible: bool = False) -> T:
        """Take the lease, run one function that leaves no transaction open, give it back."""
        async with self.lease():
            return await self.run(function, interruptible=interruptible)

    @property
    def is_wanted(self) -> bool:
        """Whether somebody waits for the lease. Can be asked in any thread, by a holder that has not much longer to hold it."""
        return self._asking > 0

    @property
    def is_current_thread(self) -> bool:
        """Whether the caller runs in the writer thread."""
        return self._thread.is_current

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
    async def lease(self, *, timeout_s: float | None = None) -> AsyncGenerator[ConnectionThread]:
        """Hold one reader; waits while all are in use. Raises TimeoutError where none is free within `timeout_s`."""
        async with asyncio.timeout(timeout_s):
            thread = await self._idle.get()
        try:
            yield thread
        finally:
            # After a cancelled call its query may still run for a moment: nobody else should wait behind it.
            thread.when_idle(lambda: self._idle.put_nowait(thread))

    async def call(self, function: Callable[[apsw.Connection], T]) -> T:
        """Run one function on any reader. When the caller is cancelled its query ends, and the reader is free."""
        async with self.lease() as thread:
            return await thread.run(function, interruptible=True)

    async def close(self) -> None:
        """Close all connections."""
        for thread in self._threads:
            await thread.close()


def _nested() -> NestedTransaction:
    return NestedTransaction(
        "The database was called inside a write transaction of the same task.",
        hint="Use the transaction object (`tx.execute(...)`) inside `async with db.write_transaction() as tx`.",
    )
