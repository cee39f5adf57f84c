"""What operators and the value functions compute beyond `values`: tests, lists, bits and choices (sync config reference, 2.5 and 6)."""

from __future__ import annotations

from collections.abc import Callable

from syncline.protocol.bucket_names import SyncValue
from syncline.sync_config.evaluation import values
from syncline.sync_config.evaluation.values import as_int64, truthy

__all__ = [
    "and_bits",
    "between",
    "if_null",
    "if_then_else",
    "in_list",
    "is_false",
    "is_null",
    "is_true",
    "not_equal",
    "not_true",
    "or_bits",
    "shift_left",
    "shift_right",
    "type_of",
]


def type_of(value: SyncValue) -> SyncValue:
    """`typeof(x)`: the storage class."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return "text"
    return "blob" if isinstance(value, bytes) else "real" if isinstance(value, float) else "integer"


def if_null(first: SyncValue, second: SyncValue, *_more: SyncValue) -> SyncValue:
    """`ifnull(x, y)`; further arguments are accepted and mean nothing."""
    return second if first is None else first


def if_then_else(condition: SyncValue, then: SyncValue, otherwise: SyncValue) -> SyncValue:
    """`iif(condition, then, otherwise)`."""
    return then if truthy(condition) else otherwise


def in_list(value: SyncValue, *items: SyncValue) -> SyncValue:
    """`x IN ARRAY[…]`: NULL where x is NULL, or where it is not found and the list has a NULL."""
    if value is None:
        return None
    found = any(values.equal(value, item) for item in items) if isinstance(value, bytes) else value in items
    return 1 if found else None if None in items else 0


def not_true(value: SyncValue) -> SyncValue:
    """`NOT x`, two-valued: NOT NULL is 1 (6.2)."""
    return 0 if truthy(value) else 1


def not_equal(left: SyncValue, right: SyncValue) -> SyncValue:
    """`!=` of legacy sync rules: NULL where a side is NULL (6.2). Sync streams write NOT (a = b) instead."""
    same = values.equal(left, right)
    return None if same is None else 1 - same


def is_true(value: SyncValue) -> SyncValue:
    """`x IS TRUE`: whether it is the number 1; nothing is converted (2.5)."""
    return 1 if value is not None and value == 1 else 0


def is_false(value: SyncValue) -> SyncValue:
    """`x IS FALSE`: whether it is the number 0."""
    return 1 if value is not None and value == 0 else 0


def is_null(value: SyncValue) -> SyncValue:
    """`x IS NULL`."""
    return 1 if value is None else 0


def between(value: SyncValue, low: SyncValue, high: SyncValue) -> SyncValue:
    """`x BETWEEN low AND high`."""
    if value is None or low is None or high is None:
        return None
    return 1 if values.compare(low, value) <= 0 and values.compare(value, high) <= 0 else 0


def _bits(operation: Callable[[int, int], int]) -> Callable[[SyncValue, SyncValue], SyncValue]:
    def evaluate(left: SyncValue, right: SyncValue) -> SyncValue:
        a, b = as_int64(left), as_int64(right)
        return None if a is None or b is None else operation(a, b)

    return evaluate


def _shift(value: int, distance: int) -> int:
    """64-bit shift, to the left for a positive distance."""
    if distance <= 0:
        return value >> min(-distance, 64)
    shifted = (value << min(distance, 64)) & 0xFFFF_FFFF_FFFF_FFFF
    return shifted - (1 << 64) if shifted >> 63 else shifted


and_bits = _bits(lambda a, b: a & b)
or_bits = _bits(lambda a, b: a | b)
shift_left = _bits(_shift)
shift_right = _bits(lambda a, b: _shift(a, -b))
