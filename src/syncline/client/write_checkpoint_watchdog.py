"""PURE: notices a write checkpoint that does not come (design, contract C6)."""

from __future__ import annotations

__all__ = ["WRITE_CHECKPOINT_TIMEOUT_S", "WriteCheckpointWatchdog"]

WRITE_CHECKPOINT_TIMEOUT_S = 30.0  # seconds of a connected client without the write checkpoint that it asked for


class WriteCheckpointWatchdog:
    """Measures how long a client has waited for a write checkpoint while it was connected.

    One can be lost: the service's storage was rebuilt, or the user changed between upload and stream. Nothing that is downloaded would
    ever become visible; asking for a new one repairs it. Times are seconds of any clock that only goes forward.
    """

    def __init__(self, *, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._awaited: int | None = None
        self._since = 0.0

    def observe(self, awaited: int | None, *, connected: bool, now_s: float) -> bool:
        """Note what is waited for now, None for nothing. True when it has taken too long; the next period then begins."""
        if awaited is None or awaited != self._awaited or not connected:
            self._awaited, self._since = awaited, now_s
            return False
        if now_s - self._since < self._timeout_s:
            return False
        self._since = now_s
        return True

    def pause_s(self, *, now_s: float) -> float | None:
        """Seconds until the next look is due, None for never."""
        return None if self._awaited is None else max(0.0, self._since + self._timeout_s - now_s)
