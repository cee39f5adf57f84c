"""PURE: how long to wait before something that failed is tried again (write path reference, 3, "Poison transactions").

The clock and randomness are arguments: `unit` is random in [0, 1), so that clients which failed together do not come back together.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Protocol

__all__ = [
    "ASKED_JITTER",
    "RETRY_AFTER_MAX_S",
    "RETRY_CAP_S",
    "RETRY_FIRST_S",
    "RETRY_JITTER",
    "Exponential",
    "Fixed",
    "RetryPolicy",
    "retry_after_s",
    "wait_s",
]

RETRY_FIRST_S = 1.0  # seconds after the first failure
RETRY_CAP_S = 60.0  # seconds: no longer pause between two attempts, however many have failed
RETRY_JITTER = 0.1  # part of a pause by which it varies, both ways
RETRY_AFTER_MAX_S = 300.0  # seconds: the longest wait that a peer can ask for
ASKED_JITTER = 0.1  # part of a wait that was asked for by which it may grow; never is it shorter than asked


class RetryPolicy(Protocol):
    """Seconds until the next attempt, by the number of failures in a row (1 for the first)."""

    def delay_s(self, failures: int, *, unit: float) -> float:
        """Seconds to wait after this many failures; `unit` is random in [0, 1)."""
        ...


@dataclass(frozen=True, slots=True)
class Exponential:
    """Pauses that grow: `first_s`, then `factor` times the one before, up to `cap_s`.

    >>> [Exponential(jitter=0).delay_s(n, unit=0) for n in (1, 2, 3, 9)]
    [1.0, 2.0, 4.0, 60.0]
    """

    first_s: float = RETRY_FIRST_S
    cap_s: float = RETRY_CAP_S
    factor: float = 2.0
    jitter: float = RETRY_JITTER

    def delay_s(self, failures: int, *, unit: float) -> float:
        """Seconds to wait after this many failures in a row."""
        assert failures >= 1
        # The power is bounded before it is taken: a client that is offline for days counts many failures.
        grown = self.first_s * self.factor ** min(failures - 1, 64)
        return _varied(min(self.cap_s, grown), self.jitter, unit)


@dataclass(frozen=True, slots=True)
class Fixed:
    """The same pause after every failure, as the official SDKs have it."""

    pause_s: float = 5.0
    jitter: float = RETRY_JITTER

    def delay_s(self, failures: int, *, unit: float) -> float:
        """Seconds to wait after this many failures in a row."""
        assert failures >= 1
        return _varied(self.pause_s, self.jitter, unit)


def wait_s(policy: RetryPolicy, failures: int, *, asked_s: float | None, unit: float) -> float:
    """Seconds to wait: what the peer asked for (a little more, never less, RETRY_AFTER_MAX_S at most), else what the policy says."""
    if asked_s is None:
        return policy.delay_s(failures, unit=unit)
    return min(max(0.0, asked_s), RETRY_AFTER_MAX_S) * (1 + ASKED_JITTER * unit)


def retry_after_s(header: str | None, *, date_header: str | None = None) -> float | None:
    """Seconds of a Retry-After header, RETRY_AFTER_MAX_S at most; None where there is none, or none that can be read.

    Its form as a point in time is measured by the answer's own Date header: the device's clock may be wrong by hours.
    """
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdecimal():
        return min(float(text), RETRY_AFTER_MAX_S)
    until, now = _point_in_time(text), _point_in_time(date_header)
    if until is None or now is None:
        return None
    return min(max(0.0, (until - now).total_seconds()), RETRY_AFTER_MAX_S)


def _point_in_time(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        found = parsedate_to_datetime(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def _varied(pause_s: float, jitter: float, unit: float) -> float:
    return pause_s * (1 + jitter * (2 * unit - 1))
