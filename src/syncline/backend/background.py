"""A backend in an event loop of its own, in one thread of the process: for frameworks that bring none, or another one for each request.

A pool of database connections belongs to the loop that opened it. WSGI servers have no loop, and Django under WSGI runs each asynchronous
view in a new one; so all requests of the process go to the one loop of this thread, whichever thread they come from.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import os
import threading
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from syncline.backend.core import SyncBackend
from syncline.backend.http.messages import BackendRequest, BackendResponse, message_response
from syncline.backend.limits import CLOSE_SECONDS_MAX, RETRY_AFTER_MS
from syncline.backend.rule_failures import log_failure
from syncline.errors import ConfigError

__all__ = ["BackgroundBackend"]

_T = TypeVar("_T")


class BackgroundBackend:
    """Opens the backend at the first request, so after a server has forked its workers; closes it when the process ends.

    Where it cannot be opened, requests are answered 503, and the next one tries again. May be used from any thread.
    """

    def __init__(self, backend: SyncBackend) -> None:
        self.backend = backend
        self._lock = threading.Lock()
        self._thread: _LoopThread | None = None
        self._opened = False
        self._closed = False

    def handle(self, request: BackendRequest) -> BackendResponse:
        """The answer to a whole request; blocks this thread, which must have no event loop that others wait for."""
        return self.submit(self.answer(self.backend.handle(request))).result()

    async def answer(self, serving: Coroutine[Any, Any, BackendResponse]) -> BackendResponse:
        """The answer of `serving`, once the backend is open. To be run by `submit`."""
        try:
            async with self._loop_thread().opening:
                if not self._opened:
                    await self.backend.open()
                    self._opened = True
        except Exception as exc:
            serving.close()
            log_failure(exc, "The backend could not be opened", event="backend.not_opened")
            headers = {"retry-after": str(max(1, round(RETRY_AFTER_MS / 1000)))}
            return message_response(503, "The backend cannot reach its database.", headers=headers)
        return await serving

    def submit(self, coroutine: Coroutine[Any, Any, _T]) -> concurrent.futures.Future[_T]:
        """Run a coroutine in the background loop. Raises ConfigError after `close`, and in a process forked after the first use."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop_thread().loop)

    def close(self) -> None:
        """Close the backend and end the thread; harmless twice. The backend can be used no more."""
        with self._lock:
            thread, self._thread, self._closed = self._thread, None, True
        if thread is None or thread.process_id != os.getpid():
            return
        if self._opened:
            with contextlib.suppress(TimeoutError):
                asyncio.run_coroutine_threadsafe(self.backend.close(), thread.loop).result(CLOSE_SECONDS_MAX)
        thread.stop()
        atexit.unregister(self.close)

    def _loop_thread(self) -> _LoopThread:
        with self._lock:
            if self._closed:
                raise ConfigError("The backend has been closed.")
            if self._thread is None:
                self._thread = _LoopThread()
                atexit.register(self.close)
            elif self._thread.process_id != os.getpid():
                raise ConfigError(
                    "The process was forked after its backend had answered a request.",
                    hint="Let the server fork first: the first request must come to the worker.",
                )
            return self._thread


class _LoopThread:
    """An event loop that runs in a thread."""

    def __init__(self) -> None:
        self.process_id = os.getpid()
        self.loop = asyncio.new_event_loop()
        self.opening = asyncio.Lock()
        self._thread = threading.Thread(target=self._run, name="syncline-backend", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
            self.loop.run_until_complete(_cancel(asyncio.all_tasks(self.loop)))
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
        finally:
            self.loop.close()

    def stop(self) -> None:
        """End the loop and wait for its thread."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(CLOSE_SECONDS_MAX)


async def _cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """End what is still running: nobody waits for it any more."""
    waiting = list(tasks)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
