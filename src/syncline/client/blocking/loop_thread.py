"""An event loop in a thread of its own: where the database lives while plain code calls it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from syncline.client.errors import DatabaseClosed
from syncline.errors import ClientError

__all__ = ["LoopThread"]

T = TypeVar("T")

_INTERRUPT_CHECK_S = 0.25  # seconds; on Windows a wait without an end does not hear Ctrl-C


class LoopThread:
    """Runs coroutines for other threads. A daemon: a script that forgets to close it ends nevertheless."""

    def __init__(self, name: str = "syncline-loop") -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._closed = False
        self._thread.start()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop; only `call_soon_threadsafe` of it belongs to other threads."""
        return self._loop

    @property
    def is_current(self) -> bool:
        """Whether the caller runs in this thread, and so must not wait for it."""
        return threading.current_thread() is self._thread

    def call(self, function: Callable[[], Coroutine[Any, Any, T]], *, timeout: float | None = None) -> T:
        """Run a coroutine function there and wait for its result; any other thread, whether it has an event loop or not.

        Raises what it raises, TimeoutError after `timeout` seconds (the coroutine is cancelled then), DatabaseClosed after `close`, and
        ClientError in the loop's own thread, which would wait for itself.
        """
        if self.is_current:
            raise ClientError(
                "The blocking database was called in the thread of its own event loop.",
                hint="Call it in a callback of `watch(callback=…)` or in a thread of yours; coroutines use `syncline.client.SyncDatabase`.",
            )
        if self._closed:
            raise DatabaseClosed("The database is closed.")
        running = asyncio.run_coroutine_threadsafe(_limited(function, timeout), self._loop)
        try:
            return self._wait(running)
        except BaseException:
            running.cancel()  # of no effect where it has ended; after Ctrl-C it ends what was asked for
            raise

    def run_soon(self, function: Callable[[], object]) -> None:
        """Call a plain function in the loop's thread, without waiting. After `close` nothing happens."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function)

    def close(self) -> None:
        """Cancel what still runs there, end the loop and its thread. Can be called again."""
        if self._closed:
            return
        self._closed = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        if not self.is_current:
            self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()

    def _wait(self, running: concurrent.futures.Future[T]) -> T:
        if sys.platform != "win32":
            return running.result()
        while True:
            with contextlib.suppress(concurrent.futures.TimeoutError):
                return running.result(_INTERRUPT_CHECK_S)
            if running.done():
                return running.result()


async def _limited(function: Callable[[], Coroutine[Any, Any, T]], timeout_s: float | None) -> T:
    async with asyncio.timeout(timeout_s):
        return await function()
