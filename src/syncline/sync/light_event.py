"""An event for one task that waits, of which there may be many thousands."""

from __future__ import annotations

import asyncio

__all__ = ["LightEvent"]


class LightEvent:
    """`asyncio.Event` for one waiting task at a time, for one event loop.

    The library's takes a queue of 760 bytes for tasks that may wait, and a coroutine of 224 bytes for the one that does. An idle stream
    would have both twice.
    """

    __slots__ = ("_is_set", "_waiting")

    def __init__(self) -> None:
        self._is_set = False
        self._waiting: asyncio.Future[None] | None = None

    def is_set(self) -> bool:
        """Whether `wait` would return at once."""
        return self._is_set

    def set(self) -> None:
        """Wake the task that waits, and let later ones not wait, until `clear`."""
        self._is_set = True
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():  # the task may have been cancelled
            waiting.set_result(None)

    def clear(self) -> None:
        """Let `wait` wait again."""
        self._is_set = False

    def wait(self) -> asyncio.Future[None]:
        """Await what it returns, at once: that is done when the event is set. Only one task may wait at a time."""
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._is_set:
            waiting.set_result(None)
        else:
            assert self._waiting is None or self._waiting.done(), "one task waits at a time"
            self._waiting = waiting
        return waiting
