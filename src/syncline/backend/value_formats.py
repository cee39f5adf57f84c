"""What the values of a column mean where they do not say it themselves: `TablePolicy(formats={"created_at": "milliseconds"})`. PURE.

A number in a column of times may count seconds or milliseconds, and `deadbeef` may be hexadecimal or base64. Without a format, a number
from 10,000,000,000 on counts milliseconds, and binary data is base64 unless it begins with `\\x`. With one, nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, cast

from syncline.backend.persisters.base import WriteRefused
from syncline.errors import ConfigError

__all__ = ["FORMATS", "ValueFormat", "check_formats", "with_formats"]

ValueFormat = Literal["seconds", "milliseconds", "base64", "hex"]
FORMATS = ("seconds", "milliseconds", "base64", "hex")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER = re.compile(r"[+-]?\d{1,20}(?:\.\d{1,20})?")
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")


def check_formats(formats: Mapping[str, ValueFormat]) -> None:
    """Raise ConfigError for a format that there is not."""
    for column, name in formats.items():
        if name not in FORMATS:
            raise ConfigError(f"{name!r} is no format of {column}.", hint=f"One of {', '.join(FORMATS)}")


def with_formats(
    row: Mapping[str, Any], formats: Mapping[str, ValueFormat], *, operation_index: int
) -> Mapping[str, Any]:
    """The row with the values of these columns as every persister reads them. Raises WriteRefused (INVALID_DATA) that names the column."""
    if not formats:
        return row
    made = dict(row)
    for column in formats.keys() & row.keys():
        try:
            made[column] = _formatted(row[column], formats[column])
        except (ValueError, OverflowError) as exc:
            details = [{"field": column, "rule": formats[column]}]
            message = f"The value of {column} is not in its format, {formats[column]}."
            raise WriteRefused("INVALID_DATA", message, operation_index=operation_index, details=details) from exc
    return made


def _formatted(value: Any, name: ValueFormat) -> Any:
    if value is None:
        return None
    if name in ("seconds", "milliseconds"):
        return _time(value, name)
    if not isinstance(value, str):
        raise ValueError("not a text")
    if name == "hex":
        return "\\x" + bytes.fromhex(value.removeprefix("\\x")).hex()
    if _BASE64.fullmatch(value) is None:
        raise ValueError("not base64")
    return value


def _time(value: Any, unit: str) -> Any:
    """ISO text of a number, given as such or as text; other texts are times already."""
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = float(value) if "." in value else int(value)
    if isinstance(value, (bool, dict, list)):
        raise ValueError("not a time")
    if not isinstance(value, int | float):
        return value
    number = cast("float", value)
    since = timedelta(seconds=number) if unit == "seconds" else timedelta(milliseconds=number)
    return (_EPOCH + since).isoformat()
