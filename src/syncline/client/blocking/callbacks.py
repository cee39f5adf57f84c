"""Results handed to functions of the app: in a thread for callbacks, or wherever a dispatcher takes them (a window's thread)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any, Generic, TypeVar

from syncline.client.blocking.loop_thread import LoopThread

__all__ = ["CallbackThread", "Dispatcher", "Subscription"]

T = TypeVar("T")
Dispatcher = Callable[[Callable[[], None]], object]
"""Takes a function and calls it soon, in the thread of its choice: `root.after_idle` of Tk, a signal of Qt, `loop.call_soon_threadsafe`."""

_log = logging.getLogger(__name__)


class CallbackThread:
    """The default dispatcher: one thread per database, in which callbacks may call the blocking database."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def __call__(self, function: Callable[[], None]) -> None:
        """Take a function; the thread starts with the first one."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="syncline-callbacks", daemon=True)
            self._thread.start()
        self._waiting.put(function)

    def close(self) -> None:
        """End after what was taken before. Waits, unless called by a callback. Can be called again."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._waiting.put(None)
            if thread is not threading.current_thread():
                thread.join()

    def _run(self) -> None:
        while (function := self._waiting.get()) is not None:
            function()


class Subscription(Generic[T]):
    """Callbacks for each item of an asynchronous iterator, one at a time: the next is asked for when the last call has returned.

    Call it, or `close()`, to end it; more than once does no harm. After that no callback begins, also none that was dispatched before.
    """

    def __init__(
        self,
        thread: LoopThread,
        source: Callable[[], AsyncIterator[T]],
        *,
        callback: Callable[[T], object],
        dispatcher: Dispatcher,
        on_error: Callable[[Exception], object] | None = None,
    ) -> None:
        self._thread = thread
        self._callback = callback
        self._dispatcher = dispatcher
        self._on_error = on_error
        self._open = True
        self._task: asyncio.Task[None] | None = None
        thread.call(lambda: self._start(source))

    @property
    def is_open(self) -> bool:
        """Whether callbacks can still come."""
        return self._open

    def __call__(self) -> None:
        """End it, as `close`."""
        self.close()

    def close(self) -> None:
        """No callback from now on. Can be called again, in any thread."""
        if self._open:
            self._open = False
            self._thread.run_soon(self._cancel)

    def __enter__(self) -> Subscription[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def _start(self, source: Callable[[], AsyncIterator[T]]) -> None:
        self._task = asyncio.create_task(self._run(source()))

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self, items: AsyncIterator[T]) -> None:
        try:
            async for item in items:
                await self._deliver(lambda item=item: self._callback(item))
        except Exception as exc:
            error = exc
            if self._on_error is None:
                _log.exception("A subscription has ended with an error.", extra={"event": "subscription_failed"})
            else:
                on_error = self._on_error
                await self._deliver(lambda: on_error(error))
        finally:
            self._open = False
            close: Any = getattr(items, "aclose", None)
            if close is not None:
                with contextlib.suppress(Exception):
                    await close()

    async def _deliver(self, call: Callable[[], object]) -> None:
        loop = asyncio.get_running_loop()
        done = asyncio.Event()

        def run() -> None:
            try:
                if self._open:
                    call()
            except Exception:
                _log.exception("A callback failed.", extra={"event": "callback_failed"})
            finally:
                with contextlib.suppress(RuntimeError):  # the database was closed meanwhile
                    loop.call_soon_threadsafe(done.set)

        self._dispatcher(run)
        await done.wait()
