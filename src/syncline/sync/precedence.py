"""One per process: small changes go before large downloads.

A change of one row passes several turns of the event loop and two readings until it is sent. Were a download's piece of work of a
millisecond or two before each of them, one busy tenant would make everybody's changes several times slower (contract C7). So a
download waits before each of its pieces while a change is on its way; never long, for changes may come without end.
"""

from __future__ import annotations

import asyncio

from syncline.sync.limits import GIVE_WAY_MAX_S

__all__ = ["Precedence"]


class Precedence:
    """Counts the changes that are on their way. For one event loop."""

    __slots__ = ("_clear", "_under_way")

    def __init__(self) -> None:
        self._under_way = 0
        self._clear: asyncio.Event | None = None  # made by the first that waits

    def begin(self) -> None:
        """A change is on its way. `end` must follow, whatever happens."""
        self._under_way += 1

    def end(self) -> None:
        """It was sent, or there is nothing to send, or it turned out to be a large download."""
        self._under_way -= 1
        if not self._under_way and self._clear is not None:
            self._clear.set()
            self._clear = None

    async def give_way(self) -> None:
        """Before a piece of a large download: let others go first, and wait while a change is on its way, for GIVE_WAY_MAX_S at most."""
        await asyncio.sleep(0)
        if not self._under_way:
            return
        try:
            async with asyncio.timeout(GIVE_WAY_MAX_S):
                while self._under_way:
                    if self._clear is None:
                        self._clear = asyncio.Event()
                    await self._clear.wait()
        except TimeoutError:
            pass
