"""PURE: how long a client waits before it tries again. Whoever waits adds jitter; randomness is an argument."""

from __future__ import annotations

from dataclasses import dataclass

from syncline.client.errors import ChecksumMismatch, ServiceError
from syncline.client.retry import RETRY_AFTER_MAX_S, Exponential

__all__ = [
    "BUSY_RETRY_MAX_S",
    "CHECKSUM_RETRY_MAX_S",
    "JITTER",
    "RETRY_DELAY_MAX_S",
    "RETRY_DELAY_S",
    "RetryDelays",
    "with_jitter",
]

RETRY_DELAY_S = 1.0  # seconds before the first new try
RETRY_DELAY_MAX_S = 4.0  # seconds that it grows to: what was broken is in use again within 5 s of being whole
BUSY_RETRY_MAX_S = 30.0  # the same for a service that has too many connections (429), which wants fewer tries
CHECKSUM_RETRY_MAX_S = 60.0  # the same for wrong checksums: every try downloads whole buckets again
JITTER = 0.25  # part of a delay by which it may be shorter, so that clients do not come back all at once

_TOO_MANY_REQUESTS = 429


@dataclass(frozen=True, slots=True)
class RetryDelays:
    """Delays in seconds that double from `first_s` up to `max_s`, without jitter."""

    first_s: float = RETRY_DELAY_S
    max_s: float = RETRY_DELAY_MAX_S

    def delay_s(self, failures: int, error: Exception | None = None) -> float:
        """The wait after this many failures in a row (0: the service has ended a stream that went well) with `error` the last.

        A wish of the service (`retry_after_s` of the error) is followed, up to RETRY_AFTER_MAX_S.
        """
        wish_s = getattr(error, "retry_after_s", None)
        if isinstance(wish_s, int | float):
            return min(max(0.0, float(wish_s)), RETRY_AFTER_MAX_S)
        return Exponential(self.first_s, self._cap_s(error), jitter=0).delay_s(max(1, failures), unit=0)

    def _cap_s(self, error: Exception | None) -> float:
        cap_s = self.max_s
        if isinstance(error, ChecksumMismatch):
            cap_s = CHECKSUM_RETRY_MAX_S
        elif isinstance(error, ServiceError) and error.status_code == _TOO_MANY_REQUESTS:
            cap_s = BUSY_RETRY_MAX_S
        return max(cap_s, self.first_s)


def with_jitter(delay_s: float, *, unit: float) -> float:
    """A delay in seconds, shorter by up to JITTER of itself; `unit` is random in [0, 1)."""
    return delay_s * (1 - JITTER * unit)
