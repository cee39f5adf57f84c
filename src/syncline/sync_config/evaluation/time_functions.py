"""`datetime` and `unixepoch` (sync config reference, 5). Moments are milliseconds since 1970, and nothing here reads a clock."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from syncline.protocol.bucket_names import SyncValue
from syncline.sync_config.evaluation.calendar import date_of_days, days_of_date

__all__ = ["datetime", "unixepoch"]

_DAY_MS = 86_400_000
_JULIAN_1970 = 2_440_587.5
_MOMENT_MAX_MS = 8_640_000_000_000_000  # 100 million days around 1970, the range of moments in JavaScript
_SUBSECOND = frozenset({"subsec", "subsecond"})
_FROM_EPOCH = "unixepoch"

_MOMENT = re.compile(
    r"(\d{4,6})-(\d{1,2})-(\d{1,2})"
    r"(?:(T| +)(\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d+))?)?)?"
    r" *(Z|[+-]\d{4}|([+-])(\d{2}):(\d{2}))?",
    re.ASCII,
)
_JULIAN_DAY = re.compile(r"[+-]?\d{1,15}(?:\.\d*)?", re.ASCII)


def unixepoch(value: SyncValue, *modifiers: SyncValue) -> SyncValue:
    """`unixepoch(t[, modifier…])`: seconds since 1970, rounded down; a real with milliseconds under `subsec`."""
    moment = _moment(value, modifiers)
    if moment is None:
        return None
    return moment / 1000 if _SUBSECOND.intersection(modifiers) else moment // 1000


def datetime(value: SyncValue, *modifiers: SyncValue) -> SyncValue:
    """`datetime(t[, modifier…])`: `YYYY-MM-DD HH:MM:SS` in UTC, with `.sss` under `subsec`."""
    moment = _moment(value, modifiers)
    if moment is None:
        return None
    days, milliseconds = divmod(moment, _DAY_MS)
    year, month, day = date_of_days(days)
    seconds, fraction = divmod(milliseconds, 1000)
    years = f"+{year:06}" if year > 9999 else f"{year:04}" if year >= 0 else f"-{-year:04}"
    text = f"{years}-{month:02}-{day:02} {seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{text}.{fraction:03}" if _SUBSECOND.intersection(modifiers) else text


def _moment(value: SyncValue, modifiers: tuple[SyncValue, ...]) -> int | None:
    """The moment that is meant; None for NULL, for what is no time, and for a modifier that is not known."""
    names = [modifier for modifier in modifiers if modifier is not None]
    if any(name != _FROM_EPOCH and name not in _SUBSECOND for name in names):
        return None
    if isinstance(value, str):
        moment = _of_text(value.strip(" "))
    elif isinstance(value, (int, float)):
        moment = _of_number(value, names)
    else:
        moment = None
    return moment if moment is not None and abs(moment) <= _MOMENT_MAX_MS else None


def _of_number(value: int | float, modifiers: Sequence[SyncValue]) -> int | None:
    """A Julian day; seconds since 1970 where the first modifier says so."""
    if not abs(value) <= _MOMENT_MAX_MS:  # also for a number that is none
        return None
    if _FROM_EPOCH not in modifiers:
        return math.floor((value - _JULIAN_1970) * _DAY_MS + 0.5)
    return math.trunc(value * 1000) if modifiers[0] == _FROM_EPOCH else None


def _of_text(text: str) -> int | None:
    if _JULIAN_DAY.fullmatch(text):
        return _of_number(float(text), [])
    match = _MOMENT.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(match[number] or 0) for number in (1, 2, 3, 5, 6, 7))
    if not (1 <= month <= 12 and 1 <= day <= 31 and hour <= 23 and minute <= 59 and second <= 59):
        return None
    if match[4] == "T":  # the strict form, in which a year is what it says
        if len(match[1]) > 4:
            return None
    elif year < 100:  # a year of two digits, however many zeros stand before it
        year += 2000 if year < 50 else 1900
    milliseconds = int((match[8] or "")[:3].ljust(3, "0"))
    moment = ((days_of_date(year, month, day) * 24 + hour) * 60 + minute) * 60_000 + second * 1000 + milliseconds
    return moment - _offset_ms(match[10], match[11], match[12])


def _offset_ms(sign: str | None, hours: str, minutes: str) -> int:
    """How far a zone `±hh:mm` is ahead of UTC. Other forms of a zone have no meaning (reference, 5)."""
    if sign is None:
        return 0
    offset = (int(hours) * 60 + int(minutes)) * 60_000
    return -offset if sign == "-" else offset
