"""PURE: texts of Postgres' times to sync values, in the format that a config asks for (sync config reference, 7).

The session that reads has DateStyle ISO and TimeZone UTC, so that timestamps with time zone end in `+00`; other zones are understood.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache

from syncline.sync_config.value_format import ValueFormat

__all__ = ["time_converters"]

DATE, TIME, TIMESTAMP, TIMESTAMPTZ = 1082, 1083, 1114, 1184
_MICROSECONDS = 6

Converter = Callable[[str], str | None]


@cache
def time_converters(value_format: ValueFormat) -> dict[int, Converter]:
    """Converters by the type's oid: chosen once, so that none of them asks for the format again."""
    if not value_format.iso8601:
        return {DATE: _date, TIME: _as_it_is, TIMESTAMP: _plain_timestamp, TIMESTAMPTZ: _plain_timestamptz}
    if value_format.fraction_digits >= _MICROSECONDS:
        return {DATE: _date, TIME: _time, TIMESTAMP: _timestamp, TIMESTAMPTZ: _timestamptz}
    # With fewer digits the rest is cut off, never rounded; without any, the dot goes too.
    surplus = _MICROSECONDS - value_format.fraction_digits + (value_format.fraction_digits == 0)
    return {
        DATE: _date,
        TIME: _cut(_time, surplus, ""),
        TIMESTAMP: _cut(_timestamp, surplus, ""),
        TIMESTAMPTZ: _cut(_timestamptz, surplus, "Z"),
    }


def _cut(convert: Converter, surplus: int, ending: str) -> Converter:
    end = -surplus - len(ending)

    def cut(text: str) -> str | None:
        value = convert(text)
        return None if value is None else value[:end] + ending

    return cut


def _as_it_is(text: str) -> str:
    return text


def _date(text: str) -> str:
    return {"infinity": "9999-12-31", "-infinity": "0000-01-01"}.get(text, text)


def _time(text: str) -> str:
    return f"{text[:8]}.{text[9:]:0<6}"


def _timestamp(text: str) -> str | None:
    if text[-1] in "yC":
        return _end_of_time(text, "T", ".000000")
    date, _, time = text.partition(" ")
    return f"{date}T{time[:8]}.{time[9:]:0<6}"


def _timestamptz(text: str) -> str | None:
    if text[-3:] != "+00":
        return _rare(text, _timestamptz, "T", ".000000Z")
    if text[10] != " ":
        return None  # a year above 9999
    return f"{text[:10]}T{text[11:19]}.{text[20:-3]:0<6}Z" if text[19] == "." else f"{text[:10]}T{text[11:19]}.000000Z"


def _plain_timestamp(text: str) -> str | None:
    return _end_of_time(text, " ", "") if text[-1] in "yC" else text


def _plain_timestamptz(text: str) -> str | None:
    if text[-3:] != "+00":
        return _rare(text, _plain_timestamptz, " ", "Z")
    return f"{text[:-3]}Z" if text[10] == " " else None


def _end_of_time(text: str, separator: str, ending: str) -> str | None:
    """Infinities get the ends of the calendar; years before Christ have no ISO form that clients would understand."""
    if text == "infinity":
        return f"9999-12-31{separator}23:59:59{ending}"
    return f"0000-01-01{separator}00:00:00{ending}" if text == "-infinity" else None


def _rare(text: str, convert: Converter, separator: str, ending: str) -> str | None:
    """A timestamp with time zone that is infinite, before Christ, or not in UTC; None also where UTC is beyond the calendar."""
    if text[-1] in "yC":
        return _end_of_time(text, separator, ending)
    seconds, fraction, zone = text[:19], "", text[19:]
    if zone.startswith("."):
        length = max(zone.find("+"), zone.find("-"))
        fraction, zone = zone[:length], zone[length:]
    try:
        moment = datetime.fromisoformat(seconds + zone).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return convert(f"{moment.replace(tzinfo=None).isoformat(sep=' ')}{fraction}+00")
