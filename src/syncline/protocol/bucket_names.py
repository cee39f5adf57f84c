"""Names of buckets: `<version>#<bucket source>[<partition values as a JSON array>]`.

The version is a number that never recurs (design decision 13), the source is `stream|n`, and the values are canonical JSON: no
blanks, an integral real printed as an integer, so that 1 and 1.0 name the same bucket (sync config reference, 3.1 and 3.4).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

__all__ = ["SyncValue", "bucket_name", "canonical_json", "normalise_value", "version_of"]

SyncValue = str | int | float | bytes | None
"""A value of the SQLite type system, as rows and parameters hold it."""

_encode = msgspec.json.Encoder().encode
_EXPONENT_FROM = 1e21  # the reference prints integral reals without an exponent below this; no 64-bit integer is above


def normalise_value(value: str | int | float) -> str | int | float:
    """The one form of equal values: an integral real becomes an integer."""
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXPONENT_FROM:
        return int(value)
    return value


def _number_text(value: float) -> str:
    if math.isnan(value) or math.isinf(value):
        return "null"
    text = repr(value)
    if "e" not in text:
        return text.removesuffix(".0")
    mantissa, exponent = text.split("e")
    sign = "-" if exponent.startswith("-") else "+"
    return f"{mantissa.removesuffix('.0')}e{sign}{exponent.lstrip('+-').lstrip('0')}"


def canonical_json(values: Sequence[SyncValue]) -> str:
    """Partition values or lookup keys as JSON array text, equal for equal values. Raises TypeError for blobs."""
    if len(values) == 1 and type(values[0]) is str:  # by far the most common
        return f"[{_encode(values[0]).decode()}]"
    parts: list[str] = []
    for value in values:
        if isinstance(value, str):
            parts.append(_encode(value).decode())
        elif value is None:
            parts.append("null")
        elif isinstance(value, float):
            normalised = normalise_value(value)
            parts.append(_number_text(normalised) if isinstance(normalised, float) else str(normalised))
        elif isinstance(value, int):
            parts.append(str(int(value)))
        else:
            raise TypeError("a blob cannot be a bucket parameter")
    return f"[{','.join(parts)}]"


def bucket_name(prefix: str, source: str, values: Sequence[SyncValue]) -> str:
    """Name of a bucket. `prefix` is `<version>#` or empty, `source` is like `stream|0`."""
    return f"{prefix}{source}{canonical_json(values)}"


def version_of(name: str) -> int | None:
    """The version number that a bucket name begins with, or None where there is none."""
    head, separator, _ = name.partition("#")
    return int(head) if separator and head.isascii() and head.isdigit() else None
