"""Clocks: a token's times are compared with the service's clock, so it has to agree with that of whoever issues tokens."""

from __future__ import annotations

import time
from datetime import UTC
from email.utils import parsedate_to_datetime

from syncline.auth.claims import CLOCK_TOLERANCE_S
from syncline.cli.doctor.case import Case
from syncline.cli.doctor.http import Answer
from syncline.cli.doctor.verdicts import Verdict, fault, healthy, unjudged
from syncline.cli.token_report import duration

__all__ = ["ahead_of_us_s", "service_clock", "source_clock"]

FIX = "Which of the two is wrong? Compare both with a third: date -u. Then switch on time synchronisation (NTP) there."


def ahead_of_us_s(answer: Answer) -> float | None:
    """How many seconds the clock of the `Date` header is ahead of ours; None without a header that can be read."""
    try:
        written = parsedate_to_datetime(answer.headers.get("date", ""))
    except ValueError:
        return None
    aware = written if written.tzinfo else written.replace(tzinfo=UTC)
    return aware.timestamp() - time.time()


def service_clock(case: Case) -> Verdict:
    """The clock of the service's machine against this one's."""
    if case.service_clock_s is None:
        return unjudged("the service's answer has no Date header")
    return _judged("service", case.service_clock_s)


def source_clock(case: Case) -> Verdict:
    """The clock of the source's machine against this one's."""
    assert case.source is not None
    return _judged("source", case.source.ahead_s)


def _judged(name: str, ahead_s: float) -> Verdict:
    if abs(ahead_s) <= CLOCK_TOLERANCE_S:
        return healthy()
    direction = "ahead of" if ahead_s > 0 else "behind"
    return fault(f"The clock of the {name} is {duration(ahead_s)} {direction} this machine's.", FIX)
