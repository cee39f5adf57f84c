"""One per process: small changes go before large downloads.

A change of one row passes several turns of the event loop and two readings until it is sent. Were a download's piece of work of a
millisecond or two before each of them, one busy tenant would make everybody's changes several times slower (contract C7). So a
download waits before each of its pieces while a change is on its way; never long, for changes may come without end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager, suppress

from syncline.sync.limits import GIVE_WAY_MAX_S

__all__ = ["Precedence"]


class Precedence:
    """Counts the changes that are on their way. For one event loop; a replicator in another thread tells of what it is at."""

    __slots__ = ("_clear", "_elsewhere", "_under_way")

    def __init__(self) -> None:
        self._under_way = 0
        self._elsewhere = False
        self._clear: asyncio.Event | None = None  # made by the first that waits

    def begin(self) -> None:
        """A change is on its way. `end` must follow, whatever happens."""
        self._under_way += 1

    def end(self) -> None:
        """It was sent, or there is nothing to send, or it turned out to be a large download."""
        self._under_way -= 1
        self._let_go()

    @contextmanager
    def begun_elsewhere(self, loop: asyncio.AbstractEventLoop) -> Generator[None]:
        """Another thread brings a change, inside; `loop` is this object's event loop.

        That thread wants the interpreter after each statement of SQL: were a download going on meanwhile, each time would cost it a piece.
        """
        self._elsewhere = True
        try:
            yield
        finally:
            self._elsewhere = False
            if self._clear is not None:  # who is about to wait looks once more after it has said so
                with suppress(RuntimeError):  # the loop has ended
                    loop.call_soon_threadsafe(self._let_go)

    async def give_way(self) -> None:
        """Before a piece of a large download: let others go first, and wait while a change is on its way, for GIVE_WAY_MAX_S at most."""
        await asyncio.sleep(0)
        if not self._is_busy:
            return
        try:
            async with asyncio.timeout(GIVE_WAY_MAX_S):
                while self._is_busy:
                    if self._clear is None:
                        self._clear = asyncio.Event()
                        continue  # look once more: the other thread may have ended without seeing that somebody waits
                    await self._clear.wait()
        except TimeoutError:
            pass

    @property
    def _is_busy(self) -> bool:
        return self._under_way > 0 or self._elsewhere

    def _let_go(self) -> None:
        if not self._is_busy and self._clear is not None:
            self._clear.set()
            self._clear = None
