"""A client's values as Python's (write path reference, 5): the first half of their way into a database that is not Postgres. PURE.

Devices know text, integers and reals only: booleans arrive as 0 and 1, JSON as text, binary data as base64, and a time as text or as a
number of seconds or milliseconds since 1970. Each function raises ValueError or OverflowError for what cannot be meant, and RecursionError
for JSON that is nested too deeply.
"""

from __future__ import annotations

import base64
import json
import math
import re
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from syncline.backend.conflicts.values import moment

__all__ = [
    "DECIMAL_DIGITS_MAX",
    "binary",
    "day",
    "device_bytes",
    "device_time",
    "exact",
    "flag",
    "instant",
    "json_text",
    "plain",
    "real",
    "whole",
]

DECIMAL_DIGITS_MAX = 1_000  # digits of a decimal number, before and behind the point; `1e999999` would fill the memory

_TRUE, _FALSE = frozenset({"1", "t", "true"}), frozenset({"0", "f", "false"})
_WHOLE = re.compile(r"[+-]?[0-9]{1,1000}")


def plain(value: Any) -> str:
    """Text. A real without a fraction is an integer that SQLite made real; lists and objects become JSON."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else str(value)
    text.encode()  # half of a surrogate pair is no text; UnicodeEncodeError is a ValueError
    return text


def flag(value: Any) -> bool:
    """A boolean: 0, 1, t, f, true, false in any case."""
    text = plain(value).lower()
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise ValueError("not a boolean")


def whole(value: Any) -> int:
    """An integer of any size, exactly."""
    text = plain(value).strip()
    if _WHOLE.fullmatch(text) is None:
        raise ValueError("not an integer")
    return int(text)


def real(value: Any) -> float:
    """A finite floating point number."""
    number = float(plain(value))
    if not math.isfinite(number):
        raise ValueError("not a finite number")
    return number


def exact(value: Any) -> Decimal:
    """A decimal number as it was written."""
    try:
        number = Decimal(plain(value).strip())
    except InvalidOperation as exc:
        raise ValueError("not a number") from exc
    digits, exponent = len(number.as_tuple().digits), number.as_tuple().exponent
    if not isinstance(exponent, int) or digits > DECIMAL_DIGITS_MAX or abs(exponent) > DECIMAL_DIGITS_MAX:
        raise ValueError("not a finite number of a size that anything holds")
    return number


def instant(value: Any) -> datetime:
    """A time in UTC: ISO text (without a zone it is UTC), or seconds or milliseconds since 1970."""
    time = moment(value)
    if time is None:
        raise ValueError("not a time")
    return time.astimezone(UTC)


def day(value: Any) -> date:
    """A date: ISO text, or the date in a time as text."""
    if not isinstance(value, str):
        raise ValueError("not a date")
    return datetime.fromisoformat(value.strip()).date()


def json_text(value: Any) -> str:
    """JSON, as text that arrived or of a value that did."""
    if isinstance(value, str):
        json.loads(value)
        value.encode()
        return value
    return json.dumps(value, ensure_ascii=False)


def binary(value: Any) -> bytes:
    r"""Bytes: base64, or hexadecimal behind `\x`, whose backslash no base64 has."""
    text = plain(value)
    return bytes.fromhex(text[2:]) if text.startswith("\\x") else base64.b64decode(text, validate=True)


def device_bytes(value: bytes) -> str:
    """Bytes as devices know them."""
    return base64.b64encode(value).decode()


def device_time(value: datetime, *, has_zone: bool) -> str:
    """A time as devices know it: ISO text with microseconds, with `Z` where the column has a zone."""
    return value.isoformat(timespec="microseconds") + ("Z" if has_zone else "")
