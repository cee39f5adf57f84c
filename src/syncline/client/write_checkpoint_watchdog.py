"""PURE: notices a write checkpoint that does not come (design, contract C6)."""

from __future__ import annotations

__all__ = ["WRITE_CHECKPOINT_TIMEOUT_MAX_S", "WRITE_CHECKPOINT_TIMEOUT_S", "WriteCheckpointWatchdog"]

WRITE_CHECKPOINT_TIMEOUT_S = 30.0  # seconds of a connected client without the write checkpoint that it asked for
WRITE_CHECKPOINT_TIMEOUT_MAX_S = 600.0  # seconds that this grows to


class WriteCheckpointWatchdog:
    """Measures how long a client has waited for a write checkpoint while it was connected.

    One can be lost: the service's storage was rebuilt, or the user changed between upload and stream. Nothing that is downloaded would
    ever become visible; asking for a new one repairs it. The time doubles with each new one in a row: where replication is slower than
    the timeout, every new request would put the moment that has to be reached further ahead (a service that counts write checkpoints
    keeps only the last moment), and it would never be. Times are seconds of any clock that only goes forward.
    """

    def __init__(self, *, timeout_s: float, timeout_max_s: float = WRITE_CHECKPOINT_TIMEOUT_MAX_S) -> None:
        self._first_timeout_s = timeout_s
        self._timeout_max_s = max(timeout_s, timeout_max_s)
        self._timeout_s = timeout_s
        self._awaited: int | None = None
        self._since = 0.0
        self._asking_again = False

    def observe(self, awaited: int | None, *, connected: bool, now_s: float) -> bool:
        """Note what is waited for now, None for nothing. True when it has taken too long; the next period then begins."""
        if awaited is None:
            self._timeout_s = self._first_timeout_s
            self._asking_again = False
        if awaited is None or awaited != self._awaited or not connected:
            if awaited != self._awaited and not self._asking_again:
                self._timeout_s = self._first_timeout_s  # other writes: their time begins
            self._asking_again = False
            self._awaited, self._since = awaited, now_s
            return False
        if now_s - self._since < self._timeout_s:
            self._asking_again = False  # the same number was asked for again, or none could be
            return False
        self._since = now_s
        self._timeout_s = min(2 * self._timeout_s, self._timeout_max_s)
        self._asking_again = True
        return True

    def pause_s(self, *, now_s: float) -> float | None:
        """Seconds until the next look is due, None for never."""
        return None if self._awaited is None else max(0.0, self._since + self._timeout_s - now_s)
