"""Values as SQLite has them: truth, comparison, conversion and calculation (sync config reference, section 6).

Comparisons with NULL give NULL; AND, OR and NOT are two-valued, with NULL as false (6.2). Classes order null < number < text < blob
and are never equal to one another.
"""

from __future__ import annotations

import math
import re

from syncline.protocol.bucket_names import SyncValue

__all__ = [
    "EvaluationError",
    "add",
    "as_int64",
    "as_integer",
    "as_number",
    "as_text",
    "cast",
    "compare",
    "concatenate",
    "divide",
    "equal",
    "legacy_literal",
    "less",
    "less_or_equal",
    "multiply",
    "real_text",
    "remainder",
    "subtract",
    "truthy",
]

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
_EXACT_REALS = 2**53

_INTEGER_PREFIX = re.compile(r"\s*([+-]?)(0[xX][0-9a-fA-F]+|[0-9]+)")
_NUMBER_PREFIX = re.compile(r"\s*([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)")


PRODUCT_BITS_MAX = 8_192  # bits of an integer product; Python prints integers of up to 14,000 bits


class EvaluationError(Exception):
    """An expression has no value for this row or connection. The text names functions and types, never values."""


def truthy(value: SyncValue) -> bool:
    """Whether a filter passes: numbers but 0; texts that begin with an integer but 0; never NULL or a blob."""
    if value is None or isinstance(value, bytes):
        return False
    if isinstance(value, str):
        return _leading_integer(value) != 0
    return value != 0 and not (isinstance(value, float) and math.isnan(value))


def _leading_integer(text: str) -> int:
    match = _INTEGER_PREFIX.match(text)
    if match is None:
        return 0
    digits = match[2]
    number = int(digits, 16) if digits[:2] in ("0x", "0X") else _decimal(digits)
    return -number if match[1] == "-" else number


def _decimal(digits: str) -> int:
    if len(digits) > 4000:  # Python refuses longer ones; no number of a database has them
        raise EvaluationError("A number has more than 4,000 digits")
    return int(digits)


def compare(left: str | int | float | bytes, right: str | int | float | bytes) -> int:
    """Below, equal or above 0 as `left` sorts before, with or after `right`. Raises EvaluationError for two blobs (6.2)."""
    left_class, right_class = _class_of(left), _class_of(right)
    if left_class != right_class:
        return left_class - right_class
    if left_class == _BLOB:
        raise EvaluationError("Two blobs cannot be compared")
    return (left > right) - (left < right)  # type: ignore[operator]  # the classes are the same


_BLOB = 2


def _class_of(value: str | int | float | bytes) -> int:
    return 1 if isinstance(value, str) else _BLOB if isinstance(value, bytes) else 0


def equal(left: SyncValue, right: SyncValue) -> int | None:
    """Equality: `=`. Raises EvaluationError for two blobs (6.2)."""
    if left is None or right is None:
        return None
    if isinstance(left, bytes) and isinstance(right, bytes):
        raise EvaluationError("Two blobs cannot be compared")
    return 1 if left == right else 0


def less(left: SyncValue, right: SyncValue) -> int | None:
    """Order: `<`."""
    if left is None or right is None:
        return None
    return 1 if compare(left, right) < 0 else 0


def less_or_equal(left: SyncValue, right: SyncValue) -> int | None:
    """Order: `<=`."""
    if left is None or right is None:
        return None
    return 1 if compare(left, right) <= 0 else 0


def real_text(value: float) -> str:
    """A finite real as JavaScript prints it: `1`, `0.1`, `1e+21`, `1e-7`."""
    if value == 0:
        return "0"
    text = repr(value)
    mantissa, separator, exponent = text.partition("e")
    if not separator:
        return text.removesuffix(".0")
    power = int(exponent)
    if power >= 21:
        return f"{mantissa.removesuffix('.0')}e+{power}"
    if power >= 0:
        return str(int(value))
    if power < -6:
        return f"{mantissa.removesuffix('.0')}e{power}"
    sign = "-" if value < 0 else ""
    return f"{sign}0.{'0' * (-power - 1)}{mantissa.lstrip('-').replace('.', '').removesuffix('0') or '0'}"


def as_text(value: SyncValue) -> str | None:
    """Text of a value; a blob is read as UTF-8. NULL stays NULL."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if isinstance(value, float):
        if math.isnan(value):
            return None
        if math.isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
        return real_text(value)
    return str(value)


def as_number(value: SyncValue) -> int | float | None:
    """Number of a value: texts and blobs by the number that they begin with, else 0. NULL stays NULL."""
    if value is None or isinstance(value, (int, float)):
        return value
    text = value if isinstance(value, str) else value.decode("utf-8", errors="replace")
    match = _NUMBER_PREFIX.match(text)
    if match is None:
        return 0
    number = match[1]
    return _decimal_signed(number) if number.lstrip("+-").isdecimal() else float(number)


def _decimal_signed(text: str) -> int:
    digits = text.lstrip("+-")
    return -_decimal(digits) if text.startswith("-") else _decimal(digits)


def as_integer(value: SyncValue) -> int | None:
    """Integer of a value: reals are rounded down, texts give the integer that they begin with (6.5)."""
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, float):
        return math.floor(value) if math.isfinite(value) else None
    text = value if isinstance(value, str) else value.decode("utf-8", errors="replace")
    match = re.match(r"\s*[+-]?[0-9]+", text)
    return _decimal_signed(match[0].strip()) if match else 0


def as_int64(value: SyncValue) -> int | None:
    """Integer of a value as SQLite's bit operators and `%` take it: cut off at the point, and kept within 64 bits."""
    if value is None:
        return None
    if isinstance(value, float):
        if not math.isfinite(value):
            return 0 if math.isnan(value) else INT64_MAX if value > 0 else INT64_MIN
        number = math.trunc(value)
    else:
        number = as_integer(value) or 0
    return max(INT64_MIN, min(INT64_MAX, number))


def legacy_literal(value: SyncValue) -> SyncValue:
    """A number as legacy sync rules read it: an integer beyond 53 bits is rounded to the next real (6.3)."""
    if isinstance(value, int) and abs(value) > _EXACT_REALS:
        return int(_real(value)) if value.bit_length() <= 1023 else _real(value)
    return value


def cast(value: SyncValue, type_name: str) -> SyncValue:
    """CAST to text, numeric, integer, real or blob."""
    if value is None:
        return None
    if type_name == "text":
        return as_text(value)
    if type_name == "integer":
        return as_integer(value)
    if type_name == "numeric":
        return as_number(value)
    if type_name == "real":
        return _as_real(as_number(value))
    return value if isinstance(value, bytes) else (as_text(value) or "").encode("utf-8", errors="replace")


def _as_real(value: int | float | None) -> float | None:
    if value is None:
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def add(left: SyncValue, right: SyncValue) -> SyncValue:
    """`+`; integers are not limited to 64 bits (6.3)."""
    a, b = as_number(left), as_number(right)
    if a is None or b is None:
        return None
    if isinstance(a, int) and isinstance(b, int):
        return a + b
    return _real(a) + _real(b)


def subtract(left: SyncValue, right: SyncValue) -> SyncValue:
    """Difference: `-`."""
    a, b = as_number(left), as_number(right)
    if a is None or b is None:
        return None
    if isinstance(a, int) and isinstance(b, int):
        return a - b
    return _real(a) - _real(b)


def multiply(left: SyncValue, right: SyncValue) -> SyncValue:
    """Product: `*`."""
    a, b = as_number(left), as_number(right)
    if a is None or b is None:
        return None
    if isinstance(a, int) and isinstance(b, int):
        if a.bit_length() + b.bit_length() > PRODUCT_BITS_MAX:
            raise EvaluationError(f"A product has more than {PRODUCT_BITS_MAX} bits")
        return a * b
    return _real(a) * _real(b)


def divide(left: SyncValue, right: SyncValue) -> SyncValue:
    """`/`: integers truncate, division by zero is NULL."""
    a, b = as_number(left), as_number(right)
    if a is None or b is None or b == 0:
        return None
    if isinstance(a, int) and isinstance(b, int):
        quotient = abs(a) // abs(b)
        return quotient if (a < 0) == (b < 0) else -quotient
    return _real(a) / _real(b)


def remainder(left: SyncValue, right: SyncValue) -> SyncValue:
    """`%`: both sides as 64-bit integers, the sign of the left one, NULL for a zero divisor; a real where one side is real."""
    x, y = as_int64(left), as_int64(right)
    if x is None or y is None or y == 0:
        return None
    rest = abs(x) % abs(y)
    result = -rest if x < 0 else rest
    return result if isinstance(as_number(left), int) and isinstance(as_number(right), int) else float(result)


def _real(value: int | float) -> float:
    real = _as_real(value)
    assert real is not None
    return real


def concatenate(left: SyncValue, right: SyncValue) -> SyncValue:
    """`||`: NULL when either side is NULL."""
    a, b = as_text(left), as_text(right)
    return None if a is None or b is None else a + b
