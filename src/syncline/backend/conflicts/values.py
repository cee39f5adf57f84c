"""Comparing values that devices send with values of the current row. PURE."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

__all__ = ["EPOCH_MS_FROM", "holds", "moment", "number", "same_value", "whole_number"]

# A number this far from 1970 is in milliseconds. As seconds these would be the years 2286 and on, as milliseconds the spring of 1970 and
# on: birthdays of living people. A column whose numbers are none of that says so (`TablePolicy(formats={"…": "seconds"})`).
EPOCH_MS_FROM = 10_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def same_value(left: Any, right: Any) -> bool:
    """Whether two values mean the same, in whatever form each came: 1, 1.0, true and "1" do, and so do two forms of a time or of JSON."""
    if left is None or right is None:
        return left is right
    if left == right or _text(left) == _text(right):
        return True
    if isinstance(left, str) and isinstance(right, str):
        return _same_text(left, right)
    exact = number(left)
    if exact is not None and exact == number(right):
        return True
    time = moment(left)
    return time is not None and time == moment(right)


def holds(current: Mapping[str, Any], data: Mapping[str, Any]) -> bool:
    """Whether a row has all these values already: the write has arrived before."""
    return all(name in current and same_value(current[name], value) for name, value in data.items())


def whole_number(value: Any) -> int | None:
    """An integer, also where it came as a real or as text; None for anything else."""
    exact = number(value)
    return int(exact) if exact is not None and exact == exact.to_integral_value() else None


def number(value: Any) -> Decimal | None:
    """A number, exactly as it was written; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        exact = Decimal(str(value))
    except InvalidOperation:
        return None
    return exact if exact.is_finite() else None


def moment(value: Any) -> datetime | None:
    """A time as text (ISO; without a zone in UTC) or as seconds or milliseconds since 1970; None for anything else."""
    if isinstance(value, bool):
        return None
    try:
        if isinstance(value, int | float):
            return _EPOCH + timedelta(milliseconds=value if abs(value) >= EPOCH_MS_FROM else value * 1000)
        if isinstance(value, str):
            time = datetime.fromisoformat(value.strip())
            return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return None


def _same_text(left: str, right: str) -> bool:
    """Whether two texts are one time, or one JSON object or array. Numbers as text are not compared: they may be names."""
    if left[:1] in ("{", "[") and right[:1] == left[:1]:
        try:
            return json.dumps(json.loads(left), sort_keys=True) == json.dumps(json.loads(right), sort_keys=True)
        except (ValueError, RecursionError):
            return False
    time = moment(left) if ":" in left and ":" in right else None
    return time is not None and time == moment(right)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return str(int(value))
    return str(value)
