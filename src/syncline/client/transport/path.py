"""Whether the way to a peer is open: connections whose bytes are dropped in silence look healthy to both ends.

TCP tells nobody when a router has forgotten a connection, or when a phone has left the network. A stream that is silent may be idle or
dead. So an answer that is overdue makes us ask the peer something small: whoever answers, with whatever, is there. Without an answer the
way counts as closed: all that waits is given up at once, the app is told, and new requests wait until a probe was answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator

from syncline.client.errors import ConnectionFailed

__all__ = ["DOUBLINGS_MAX", "WAIT_S_MAX", "Heard", "Path"]

DOUBLINGS_MAX = (
    4  # times that the patience with a peer doubles: one that is busy with our request may answer no probe meanwhile
)
WAIT_S_MAX = 25.0  # seconds that a request waits for a closed way before it fails, so that the status stays fresh

_log = logging.getLogger(__name__)


class Path:
    """The way to one peer, in one event loop.

    `probe` asks the peer something and returns when any answer came; it raises OSError (ConnectionFailed included), or takes longer than
    `probe_timeout_s`. `on_closed` is called when the way is found closed, to drop pooled connections that are as dead.
    """

    def __init__(
        self,
        probe: Callable[[], Awaitable[object]],
        *,
        peer: str,
        probe_timeout_s: float,
        probe_pause_s: float,
        on_closed: Callable[[], None] = lambda: None,
    ) -> None:
        self._probe = probe
        self._peer = peer
        self._probe_timeout_s = probe_timeout_s
        self._probe_pause_s = probe_pause_s
        self._on_closed = on_closed
        self._waiting: set[asyncio.Timeout] = set()
        self._given_up: set[asyncio.Timeout] = set()
        self._checking: asyncio.Task[bool] | None = None
        self._recovered: list[Callable[[], None]] = []
        self._closed_in_a_row = 0  # without anything heard in between
        self.is_open = True

    def on_recovered(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever the way is open again."""
        self._recovered.append(listener)

    async def ready(self) -> None:
        """Return at once while the way is open; else probe until it is. Raises ConnectionFailed after WAIT_S_MAX."""
        if self.is_open:
            return
        try:
            async with asyncio.timeout(WAIT_S_MAX):
                while True:
                    if await self.check():
                        return
                    await asyncio.sleep(self._probe_pause_s)
        except TimeoutError as exc:
            raise self._closed() from exc

    async def check(self) -> bool:
        """Probe now, once for all who ask, and note what came of it."""
        if self._checking is None:
            self._checking = asyncio.create_task(self._check())
        return await asyncio.shield(self._checking)

    @contextlib.asynccontextmanager
    async def watch(self, overdue_s: float | None) -> AsyncGenerator[Heard]:
        """Run the body while the way is open. The body calls what it gets whenever something arrives.

        After `overdue_s` without that, the way is examined; after longer, where that was in vain the last times. Raises ConnectionFailed
        where it is found closed, by whomever.
        """
        heard = Heard(self._heard)
        if overdue_s is not None:
            overdue_s *= 2.0 ** min(self._closed_in_a_row, DOUBLINGS_MAX)
        scope = asyncio.timeout(None)
        try:
            async with scope:
                self._waiting.add(scope)
                examiner = None if overdue_s is None else asyncio.create_task(self._examine(heard, overdue_s))
                try:
                    yield heard
                finally:
                    self._waiting.discard(scope)
                    if examiner is not None:
                        examiner.cancel()
        except TimeoutError as exc:
            if scope not in self._given_up:
                raise
            raise self._closed() from exc
        finally:
            self._given_up.discard(scope)

    def close(self) -> None:
        """End a probe that is under way."""
        if self._checking is not None:
            self._checking.cancel()

    def _heard(self) -> None:
        self._closed_in_a_row = 0

    async def _examine(self, heard: Heard, overdue_s: float) -> None:
        """Probe whenever nothing was heard for `overdue_s`; ends when the way is closed."""
        loop = asyncio.get_running_loop()
        while True:
            due_s = heard.at_s + overdue_s
            if (left_s := due_s - loop.time()) > 0:
                await asyncio.sleep(left_s)
            elif heard.is_busy or await self.check():
                heard.at_s = loop.time()
            else:
                return

    async def _check(self) -> bool:
        answered = True
        try:
            async with asyncio.timeout(self._probe_timeout_s):
                await self._probe()
        except (OSError, ConnectionFailed):  # TimeoutError is one
            answered = False
        finally:
            self._checking = None
        if answered and not self.is_open:
            self._open()
        elif not answered and self.is_open:
            self._give_up()
        return answered

    def _open(self) -> None:
        self.is_open = True
        _log.info("%s answers again.", self._peer, extra={"event": "path_open"})
        for listener in list(self._recovered):
            listener()

    def _give_up(self) -> None:
        self.is_open = False
        self._closed_in_a_row += 1
        _log.warning("%s does not answer.", self._peer, extra={"event": "path_closed"})
        now_s = asyncio.get_running_loop().time()
        waiting, self._waiting = self._waiting, set()  # each is given up once
        for scope in waiting:
            self._given_up.add(scope)
            scope.reschedule(now_s)
        self._on_closed()

    def _closed(self) -> ConnectionFailed:
        return ConnectionFailed(
            f"{self._peer} does not answer: the connection is open, but nothing comes through.",
            hint="It is tried again as soon as something comes through.",
            retry_after_s=self._probe_pause_s,
        )


class Heard:
    """When something last arrived, on the event loop's clock. Call it when something does."""

    def __init__(self, told: Callable[[], None]) -> None:
        self._told = told
        self._loop = asyncio.get_running_loop()
        self.at_s = self._loop.time()
        self.is_busy = False

    def __call__(self) -> None:
        """Something arrived."""
        self.at_s = self._loop.time()
        self._told()

    @contextlib.contextmanager
    def busy(self) -> Generator[None]:
        """Inside of this block nothing is read, because what was read before has not been taken: silence means nothing."""
        self.is_busy = True
        try:
            yield
        finally:
            self.is_busy = False
            self.at_s = self._loop.time()
