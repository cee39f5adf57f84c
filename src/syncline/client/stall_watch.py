"""Tells the status what a connection has waited for too long (contract C6)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator

from syncline.client.core.stalls import STALL_REPORT_S, Stalled, Wait, Waits
from syncline.client.core.status import SyncStatus
from syncline.client.status_board import StatusSink

__all__ = ["StallWatch"]

_log = logging.getLogger(__name__)


class StallWatch:
    """The waits of one connection, in its event loop. `run` publishes what is overdue; whatever moves on clears it at once."""

    def __init__(self, status: StatusSink, *, report_after_s: float = STALL_REPORT_S) -> None:
        self._status = status
        self._report_after_s = report_after_s
        self._waits = Waits(report_after_s=report_after_s)
        self._shown: Wait | None = None

    def begin(self, wait: Wait) -> None:
        """It begins now, or has just moved on."""
        self._waits.begin(wait, now_s=_now_s())
        self._look_again()

    def end(self, *waits: Wait) -> None:
        """They are over."""
        self._waits.end(*waits)
        self._look_again()

    @contextlib.asynccontextmanager
    async def during(self, wait: Wait) -> AsyncGenerator[None]:
        """The block is what is waited for."""
        self.begin(wait)
        try:
            yield
        finally:
            self.end(wait)

    def waited_s(self, wait: Wait) -> float:
        """Seconds of a wait until now; 0.0 where it is not on."""
        return self._waits.waited_s(wait, now_s=_now_s())

    def observe(self, status: SyncStatus) -> None:
        """Take a new status."""
        self._waits.observe(status, now_s=_now_s())
        self._look_again()

    async def run(self) -> None:
        """Look when the next wait becomes overdue, until cancelled."""
        while True:
            # What begins during this pause cannot be overdue at its end.
            left_s = self._waits.pause_s(now_s=_now_s())
            await asyncio.sleep(self._report_after_s if left_s is None else min(left_s, self._report_after_s))
            self._look()

    def _look_again(self) -> None:
        if self._shown is not None:
            # Not now: this may be called by a listener of the status.
            asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        overdue = self._waits.overdue(now_s=_now_s())
        if overdue == self._shown:
            return
        self._shown = overdue
        if overdue is None:
            _log.info("It goes on.", extra={"event": "sync_goes_on"})
            self._status.publish_stalled(None)
            return
        stalled = Stalled(overdue, self._report_after_s)
        _log.warning("%s", stalled, extra={"event": "sync_stalled", "reason": overdue.value})
        self._status.publish_stalled(stalled)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
