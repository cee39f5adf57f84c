"""The functions and operators of the language: name, number of arguments, implementation (sync config reference, 2.5 and 5).

Add a function by adding a line to `FUNCTIONS`. Names in `OPERATORS` cannot be called by name.
"""

from __future__ import annotations

import base64 as base64_codec
import re
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from syncline.protocol.bucket_names import SyncValue
from syncline.sync_config.evaluation import values
from syncline.sync_config.evaluation.json_values import elements, extract, follow, json_text, parse_json
from syncline.sync_config.evaluation.values import EvaluationError, as_integer, as_text, truthy

__all__ = ["FUNCTIONS", "OPERATORS", "Function"]


class Function(NamedTuple):
    """A scalar function; `arguments_max` None means any number."""

    evaluate: Callable[..., SyncValue]
    arguments_min: int
    arguments_max: int | None


def _upper(value: SyncValue) -> SyncValue:
    text = as_text(value)
    return None if text is None else text.upper()


def _lower(value: SyncValue) -> SyncValue:
    text = as_text(value)
    return None if text is None else text.lower()


def _bytes_of(value: SyncValue) -> bytes:
    return value if isinstance(value, bytes) else (as_text(value) or "").encode("utf-8", errors="replace")


def _hex(value: SyncValue) -> SyncValue:
    return _bytes_of(value).hex().upper()


def _base64(value: SyncValue) -> SyncValue:
    return base64_codec.b64encode(_bytes_of(value)).decode()


def _utf16(text: str) -> bytes:
    return text.encode("utf-16-le", errors="surrogatepass")


def _length(value: SyncValue) -> SyncValue:
    if value is None or isinstance(value, bytes):
        return None if value is None else len(value)
    return len(_utf16(as_text(value) or "")) // 2


def _instr(haystack: SyncValue, needle: SyncValue) -> SyncValue:
    if haystack is None or needle is None:
        return None
    if isinstance(haystack, bytes) and isinstance(needle, bytes):
        return haystack.find(needle) + 1
    text, part = as_text(haystack) or "", as_text(needle) or ""
    found = text.find(part)
    return 0 if found < 0 else len(_utf16(text[:found])) // 2 + 1


def _substring(value: SyncValue, start: SyncValue, length: SyncValue = -1, *rest: SyncValue) -> SyncValue:
    """SQLite's substr in UTF-16 units; a start before the text is clamped before the length counts (reference, 5)."""
    text, first = as_text(value), as_integer(start)
    count = as_integer(length)
    if text is None or first is None or count is None:
        return None
    units = _utf16(text)
    total = len(units) // 2
    unlimited = length == -1 and not rest
    begin, end = _slice_of(first, None if unlimited else count, total)
    return units[begin * 2 : end * 2].decode("utf-16-le", errors="replace")


def _slice_of(first: int, count: int | None, total: int) -> tuple[int, int]:
    if first > 0:
        begin = first - 1
    elif first == 0:
        begin = 0
        if count is not None and count > 0:
            count -= 1
    else:
        begin = max(total + first, 0)
    if count is None:
        return min(begin, total), total
    if count < 0:
        return max(begin + count, 0), min(begin, total)
    return min(begin, total), min(begin + count, total)


def _substring_call(value: SyncValue, start: SyncValue, *length: SyncValue) -> SyncValue:
    return _substring(value, start, length[0], None) if length else _substring(value, start)


def _typeof(value: SyncValue) -> SyncValue:
    if value is None:
        return "null"
    if isinstance(value, str):
        return "text"
    return "blob" if isinstance(value, bytes) else "real" if isinstance(value, float) else "integer"


def _ifnull(first: SyncValue, second: SyncValue, *_more: SyncValue) -> SyncValue:
    return second if first is None else first


def _iif(condition: SyncValue, then: SyncValue, otherwise: SyncValue) -> SyncValue:
    return then if truthy(condition) else otherwise


_UUID = re.compile(r"([0-9a-f]{8})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{12})", re.IGNORECASE)


def _uuid_blob(value: SyncValue) -> SyncValue:
    text = as_text(value)
    if text is None:
        return None
    match = _UUID.fullmatch(text)
    if match is None:
        raise EvaluationError("uuid_blob: the text is not a UUID")
    return bytes.fromhex("".join(match.groups()))


def _json_extract(document: SyncValue, path: SyncValue, *_more: SyncValue) -> SyncValue:
    if document is None or path is None:
        return None
    if not isinstance(path, str) or not path.startswith("$"):
        raise EvaluationError("json_extract: the path must begin with $")
    return extract(document, path, as_json=False)


def _json_array_length(document: SyncValue, path: SyncValue = "$") -> SyncValue:
    if document is None or path is None:
        return None
    if not isinstance(path, str) or not path.startswith("$"):
        raise EvaluationError("json_array_length: the path must begin with $")
    found = follow(parse_json(document), path.split(".")[1:]) if isinstance(document, str) else None
    return len(cast("list[Any]", found)) if isinstance(found, list) else 0


def _json_keys(document: SyncValue) -> SyncValue:
    if document is None:
        return None
    found = parse_json(document)
    if not isinstance(found, dict):
        raise EvaluationError("json_keys: the JSON is not an object")
    return json_text(list(cast("dict[str, Any]", found)))


def _arrow(document: SyncValue, key: SyncValue) -> SyncValue:
    return extract(document, key, as_json=True)


def _double_arrow(document: SyncValue, key: SyncValue) -> SyncValue:
    return extract(document, key, as_json=False)


def _in_list(value: SyncValue, *items: SyncValue) -> SyncValue:
    if value is None:
        return None
    if any(item is not None and value == item for item in items):
        return 1
    return None if None in items else 0


def _in_json(value: SyncValue, array: SyncValue) -> SyncValue:
    if value is None or array is None:
        return None
    document = parse_json(array)
    if not isinstance(document, list):
        raise EvaluationError("IN: the JSON on the right is not an array")
    items: list[Any] = cast("list[Any]", document)
    return _in_list(value, *(item if isinstance(item, (str, float)) else _scalar(item) for item in items))


def _in_elements(value: SyncValue, array: SyncValue) -> SyncValue:
    if value is None or array is None:
        return None
    return _in_list(value, *(element for _, element in elements(array)))


def _scalar(item: Any) -> SyncValue:
    if item is None:
        return None
    return int(item) if isinstance(item, int) else json_text(item)


def _not(value: SyncValue) -> SyncValue:
    return 0 if truthy(value) else 1


def _plus(value: SyncValue) -> SyncValue:
    return values.as_number(value)


def _is_true(value: SyncValue) -> SyncValue:
    return 1 if value is not None and value == 1 else 0


def _is_false(value: SyncValue) -> SyncValue:
    return 1 if value is not None and value == 0 else 0


def _is_null(value: SyncValue) -> SyncValue:
    return 1 if value is None else 0


def _between(value: SyncValue, low: SyncValue, high: SyncValue) -> SyncValue:
    if value is None or low is None or high is None:
        return None
    return 1 if values.compare(low, value) <= 0 and values.compare(value, high) <= 0 else 0


def _bits(operation: Callable[[int, int], int]) -> Callable[[SyncValue, SyncValue], SyncValue]:
    def evaluate(left: SyncValue, right: SyncValue) -> SyncValue:
        a, b = as_integer(left), as_integer(right)
        return None if a is None or b is None else operation(a, b)

    return evaluate


def _shift(value: int, distance: int) -> int:
    """64-bit shift, to the left for a positive distance."""
    if distance <= 0:
        return value >> min(-distance, 64)
    shifted = (value << min(distance, 64)) & 0xFFFF_FFFF_FFFF_FFFF
    return shifted - (1 << 64) if shifted >> 63 else shifted


FUNCTIONS: dict[str, Function] = {
    "base64": Function(_base64, 1, 1),
    "hex": Function(_hex, 1, 1),
    "ifnull": Function(_ifnull, 2, None),
    "iif": Function(_iif, 3, 3),
    "instr": Function(_instr, 2, 2),
    "json_array_length": Function(_json_array_length, 1, 2),
    "json_extract": Function(_json_extract, 2, None),
    "json_keys": Function(_json_keys, 1, 1),
    "length": Function(_length, 1, 1),
    "lower": Function(_lower, 1, 1),
    "substring": Function(_substring_call, 2, 3),
    "typeof": Function(_typeof, 1, 1),
    "upper": Function(_upper, 1, 1),
    "uuid_blob": Function(_uuid_blob, 1, 1),
}
"""Functions that a query may call. The time and geometry functions of the allow-list are still missing."""


OPERATORS: dict[str, Function] = {
    "=": Function(values.equal, 2, 2),
    "<": Function(values.less, 2, 2),
    "<=": Function(values.less_or_equal, 2, 2),
    "+": Function(values.add, 2, 2),
    "-": Function(values.subtract, 2, 2),
    "*": Function(values.multiply, 2, 2),
    "/": Function(values.divide, 2, 2),
    "%": Function(values.remainder, 2, 2),
    "||": Function(values.concatenate, 2, 2),
    "&": Function(_bits(lambda a, b: a & b), 2, 2),
    "|": Function(_bits(lambda a, b: a | b), 2, 2),
    "<<": Function(_bits(_shift), 2, 2),
    ">>": Function(_bits(lambda a, b: _shift(a, -b)), 2, 2),
    "->": Function(_arrow, 2, 2),
    "->>": Function(_double_arrow, 2, 2),
    "between": Function(_between, 3, 3),
    "cast": Function(values.cast, 2, 2),
    "in elements": Function(_in_elements, 2, 2),
    "in json": Function(_in_json, 2, 2),
    "in list": Function(_in_list, 1, None),
    "is false": Function(_is_false, 1, 1),
    "is null": Function(_is_null, 1, 1),
    "is true": Function(_is_true, 1, 1),
    "not": Function(_not, 1, 1),
    "sign": Function(_plus, 1, 1),
}
"""Operators by the name that the compiler gives them. `and` and `or` are evaluated in place, because they stop early."""
