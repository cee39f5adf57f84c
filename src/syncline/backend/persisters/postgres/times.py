"""Times of devices as Postgres' texts. PURE.

Postgres reads many more forms, by settings of the server: `1/2/2026` is January or February, `now` is the time of the write, and a zone is
ignored where the column has none. None of that can be meant by a device, so times are ISO 8601, or numbers since 1970 where that has a
meaning. A time without a zone is UTC, as SQLite's own functions have it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from syncline.backend.conflicts.values import EPOCH_MS_FROM

__all__ = ["date_text", "interval_text", "time_text", "timestamp_text"]

_DAY = r"\d{4,6}-\d\d-\d\d"
_CLOCK = r"\d\d:\d\d(?::\d\d(?:\.\d+)?)?"
_ZONE = r"Z|[+-]\d\d(?::?\d\d)?"
_TIMESTAMP = re.compile(rf"({_DAY})(?:[T ]({_CLOCK}) ?({_ZONE})?)?( BC)?", re.IGNORECASE)
_COMPACT = re.compile(rf"(\d{{4}})(\d\d)(\d\d)(?:T(\d\d)(\d\d)(\d\d(?:\.\d+)?)({_ZONE})?)?", re.IGNORECASE)
_TIME = re.compile(rf"({_CLOCK}) ?({_ZONE})?", re.IGNORECASE)
_EPOCH_TEXT = re.compile(r"-?\d{9,13}(?:\.\d+)?")  # 8 digits are a day, 14 a day and a time
_INFINITE = ("infinity", "-infinity")
_NUMBER = re.compile(r"\s*[+-]?[0-9.]+\s*")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def timestamp_text(value: Any, *, zoned: bool) -> str:
    """A timestamp. Numbers are seconds, from EPOCH_MS_FROM on (and down, before 1970) milliseconds. Raises ValueError, OverflowError."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _of_epoch(value)
    text = _text(value)
    if text.lower() in _INFINITE:
        return text.lower()
    if _EPOCH_TEXT.fullmatch(text):
        return _of_epoch(float(text) if "." in text else int(text))
    if compact := _COMPACT.fullmatch(text):
        year, month, day, hour, minute, second, zone = compact.groups()
        text = f"{year}-{month}-{day}" + (f"T{hour}:{minute}:{second}{zone or ''}" if hour else "")
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        raise ValueError("not a timestamp")
    day, clock, zone, era = match.groups()
    clock = clock or "00:00:00"
    if zoned or zone is None or zone.upper() == "Z":
        return f"{day} {clock}{'+00' if zoned and zone is None else zone or ''}{era or ''}"
    if era is not None:
        raise ValueError("not a timestamp that can be moved to UTC")
    return datetime.fromisoformat(f"{day}T{clock}{zone}").astimezone(UTC).replace(tzinfo=None).isoformat(" ")


def date_text(value: Any) -> str:
    """A day: ISO, or the day in an ISO timestamp, in the zone that it names. Raises ValueError."""
    text = _text(value)
    if text.lower() in _INFINITE:
        return text.lower()
    if compact := _COMPACT.fullmatch(text):
        return "-".join(compact.groups()[:3])
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        raise ValueError("not a date")
    return match[1] + (match[4] or "")


def time_text(value: Any, *, zoned: bool) -> str:
    """A time of day. A zone but UTC has no place in a column without zones. Raises ValueError."""
    match = _TIME.fullmatch(_text(value))
    if match is None:
        raise ValueError("not a time of day")
    clock, zone = match.groups()
    if zoned:
        return clock + (zone or "+00")
    if zone is not None and zone.upper() not in ("Z", "+00", "+00:00", "+0000"):
        raise ValueError("a zone that would be lost")
    return clock


def interval_text(value: Any) -> str:
    """A length of time as Postgres or ISO 8601 write it. A bare number has no unit. Raises ValueError."""
    text = _text(value)
    if _NUMBER.fullmatch(text):
        raise ValueError("a number without a unit")
    return text


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("not a text")
    return value.strip()


def _of_epoch(number: float) -> str:
    """A number since 1970, in UTC. Raises OverflowError beyond the years 1 to 9999."""
    milliseconds = number if abs(number) >= EPOCH_MS_FROM else number * 1000
    return (_EPOCH + timedelta(milliseconds=milliseconds)).isoformat()
