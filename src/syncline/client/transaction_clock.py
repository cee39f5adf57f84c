"""How long a write transaction has kept everybody else waiting without doing anything (Python client reference, 11)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["EXPIRE_AFTER_S", "WARN_AFTER_S", "TransactionClock"]

WARN_AFTER_S = (
    5.0  # seconds that a write transaction may be open between its statements before the status and the log say so
)
EXPIRE_AFTER_S = (
    30.0  # seconds after which it is rolled back: whoever waits for a network inside would block every other writer
)


class TransactionClock:
    """Adds up the time that an open transaction spends between its statements; lives in the event loop.

    The time inside of statements does not count: a long import is work, a wait for the network is not. `warn` and `expire` are called
    once each, when the sum reaches their limit.
    """

    def __init__(
        self,
        *,
        warn: Callable[[], None],
        expire: Callable[[], None],
        warn_after_s: float = WARN_AFTER_S,
        expire_after_s: float = EXPIRE_AFTER_S,
    ) -> None:
        assert 0 < warn_after_s <= expire_after_s
        self._loop = asyncio.get_running_loop()
        self._alarms = [(warn_after_s, warn), (expire_after_s, expire)]
        self._spent_s = 0.0
        self._resumed_at: float | None = None
        self._statements = 0
        self._timer: asyncio.TimerHandle | None = None
        self._resume()

    def statement_begins(self) -> None:
        """Stand still; statements may overlap."""
        self._statements += 1
        if self._statements == 1:
            self._pause()

    def statement_ends(self) -> None:
        """Go on, once no statement runs."""
        self._statements -= 1
        if self._statements == 0 and self._alarms:
            self._resume()

    def stop(self) -> None:
        """No alarm any more. Can be called again."""
        self._pause()
        self._alarms = []

    def _resume(self) -> None:
        self._resumed_at = self._loop.time()
        limit_s, _ = self._alarms[0]
        self._timer = self._loop.call_later(max(0.0, limit_s - self._spent_s), self._ring)

    def _pause(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._resumed_at is not None:
            self._spent_s += self._loop.time() - self._resumed_at
            self._resumed_at = None

    def _ring(self) -> None:
        self._pause()
        _, alarm = self._alarms.pop(0)
        if self._alarms:
            self._resume()
        alarm()
