"""What a sync stream has brought and nobody has taken yet: filled by the event loop, emptied by the loop or by the writer thread."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar, cast

__all__ = ["TRANSACTION_MAX_S", "Portions", "lines_for_one_transaction"]

# Each commit writes many pages anew, so few are better; but the app wants to see how far the download is.
TRANSACTION_MAX_S = 0.5  # seconds that lines are stored in one transaction while more come

S = TypeVar("S")


class _Wanted(Protocol):
    @property
    def is_wanted(self) -> bool:
        """Whether somebody else waits to write."""
        ...


class Portions(Generic[S]):
    """A bounded queue of portions of lines, and of other news (`S`) between them.

    One task puts, one takes. While the taker's lines are stored in the writer thread, that thread takes what follows by itself, so
    that many portions become one transaction. Made in the event loop that it belongs to.
    """

    def __init__(self, portions_max: int) -> None:
        """`portions_max`: how many wait at most; then `put` waits, and with it the socket."""
        self._portions_max = portions_max
        self._waiting: deque[list[bytes] | S] = deque()
        self._loop = asyncio.get_running_loop()
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()

    async def put(self, portion: list[bytes] | S) -> None:
        """Add one; waits while there is no room."""
        while len(self._waiting) >= self._portions_max:
            # The thread asks the loop to set it, so that it is set after this, whenever the thread has taken one.
            self._room.clear()
            await self._room.wait()
        self._waiting.append(portion)
        self._arrived.set()

    async def get(self) -> list[bytes] | S:
        """Take the oldest; waits for one."""
        while not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
        self._room.set()
        return self._waiting.popleft()

    def lines_that_wait(self) -> list[bytes] | None:
        """Take the oldest portion from any thread, while nobody is in `get`; None where none waits, or where it is other news."""
        if not self._waiting:
            return None
        if not isinstance(self._waiting[0], list):
            return None
        oldest = self._waiting.popleft()
        self._loop.call_soon_threadsafe(self._room.set)
        return cast("list[bytes]", oldest)


def lines_for_one_transaction(
    portions: Portions[S], writer: _Wanted, *, now_s: Callable[[], float] = time.monotonic
) -> Callable[[], list[bytes] | None]:
    """What gives the transaction that begins now its further lines, and None when it has to end.

    That is: when nothing waits, when somebody else wants to write, and `TRANSACTION_MAX_S` after this call.
    """
    ends_s = now_s() + TRANSACTION_MAX_S

    def following() -> list[bytes] | None:
        return None if writer.is_wanted or now_s() >= ends_s else portions.lines_that_wait()

    return following
