"""A client's values as Postgres' texts (write path reference, 5). Every value goes to the database as text with a cast. PURE.

Devices know text, integers and reals only: booleans arrive as 0 and 1, JSON, arrays, composites and ranges as JSON text, binary data as
base64, and a time as text or as a number since 1970. What sync sends to devices comes back as it was. Postgres' own literals are taken too,
where they cannot be mistaken for JSON.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any, cast

from syncline.backend.persisters.base import WriteRefused
from syncline.backend.persisters.postgres.columns import ColumnKind, TableColumn, ValueType
from syncline.backend.persisters.postgres.times import date_text, interval_text, time_text, timestamp_text

__all__ = ["invalid_value", "postgres_text"]

_TRUE, _FALSE = frozenset({"1", "t", "true"}), frozenset({"0", "f", "false"})
_BOUNDS = {"lower", "upper", "lower_exclusive", "upper_exclusive"}


def postgres_text(value: Any, column: TableColumn, *, operation_index: int) -> str | None:
    """The text that the column's type reads. Raises WriteRefused (INVALID_DATA) for what cannot be meant."""
    if value is None:
        return None
    try:
        text = _CONVERSIONS[column.type.kind](value, column.type)
        if "\0" in text:  # no Postgres text holds it, and the driver refuses before the database is asked
            raise ValueError("a zero character")
        return text
    except (ValueError, OverflowError, RecursionError) as exc:
        raise invalid_value(column, operation_index=operation_index) from exc


def invalid_value(column: TableColumn, *, operation_index: int | None) -> WriteRefused:
    """The refusal of a value that its column cannot hold. It names the column, never the value."""
    message = f"The value of {column.name} is no {column.declared or column.cast}."
    details = [{"field": column.name, "rule": "type"}]
    return WriteRefused("INVALID_DATA", message, operation_index=operation_index, details=details)


def _plain(value: Any, _type: ValueType | None = None) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # an integer column that SQLite made real
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def _number(value: Any, _type: ValueType) -> str:
    if isinstance(value, (dict, list)):
        raise ValueError("not a number")
    return _plain(value)


def _boolean(value: Any, _type: ValueType) -> str:
    text = _plain(value).lower()
    if text in _TRUE or text in _FALSE:
        return "true" if text in _TRUE else "false"
    raise ValueError("not a boolean")


def _json(value: Any, _type: ValueType) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _bytes(value: Any, _type: ValueType) -> str:
    r"""Base64, or Postgres' own `\x` form, whose backslash no base64 has."""
    if not isinstance(value, str):
        raise ValueError("not a text")
    if value.startswith("\\x"):
        return value
    return "\\x" + base64.b64decode(value, validate=True).hex()


def _array(value: Any, array: ValueType) -> str:
    """An array literal of a JSON array, given as such or as text; a text that is an array literal goes as it is."""
    if isinstance(value, str) and value.startswith("{"):
        return value
    return _array_literal(_parsed(value, list), _inner(array))


def _array_literal(items: list[Any], element: ValueType) -> str:
    parts: list[str] = []
    for item in items:
        if item is None:
            parts.append("NULL")
        elif isinstance(item, list) and element.kind not in (ColumnKind.JSON, ColumnKind.MULTIRANGE):
            parts.append(_array_literal(cast("list[Any]", item), element))
        else:
            parts.append(_quoted(_CONVERSIONS[element.kind](item, element)))
    return "{" + ",".join(parts) + "}"


def _composite(value: Any, composite: ValueType) -> str:
    """A row literal of a JSON object, given as such or as text; fields that it does not have are NULL."""
    if isinstance(value, str) and value.startswith("("):
        return value
    named: dict[str, Any] = dict(_parsed(value, dict))
    parts: list[str] = []
    for name, inner in composite.fields:
        item = named.pop(name, None)
        parts.append("" if item is None else _quoted(_CONVERSIONS[inner.kind](item, inner)))
    if named:
        raise ValueError("fields that the type does not have")
    return "(" + ",".join(parts) + ")"


def _range(value: Any, ranged: ValueType) -> str:
    """A range literal of a JSON object with `lower`, `upper`, `lower_exclusive` and `upper_exclusive`."""
    if isinstance(value, str) and (value[:1] in ("[", "(") or value.lower() == "empty"):
        return value
    bounds: dict[str, Any] = _parsed(value, dict)
    if not bounds.keys() <= _BOUNDS:
        raise ValueError("not a range")
    inner = _inner(ranged)
    lower, upper = (
        "" if bounds.get(name) is None else _quoted(_CONVERSIONS[inner.kind](bounds[name], inner))
        for name in ("lower", "upper")
    )
    opening, closing = (
        _boolean(bounds.get(name) or 0, inner) == "true" for name in ("lower_exclusive", "upper_exclusive")
    )
    return f"{'(' if opening else '['}{lower},{upper}{')' if closing else ']'}"


def _multirange(value: Any, multirange: ValueType) -> str:
    """A multirange literal of a JSON array of ranges."""
    if isinstance(value, str) and value.startswith("{"):
        return value
    inner = _inner(multirange)
    return "{" + ",".join(_range(item, inner) for item in _parsed(value, list)) + "}"


def _parsed(value: Any, wanted: type[Any]) -> Any:
    parsed = json.loads(value) if isinstance(value, str) else value
    if not isinstance(parsed, wanted):
        raise ValueError("not of the type's form")
    return parsed


def _inner(outer: ValueType) -> ValueType:
    return outer.element or ValueType()


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


_CONVERSIONS: dict[str, Callable[[Any, ValueType], str]] = {
    ColumnKind.BOOLEAN: _boolean,
    ColumnKind.INTEGER: _number,
    ColumnKind.NUMBER: _number,
    ColumnKind.TIMESTAMP: lambda value, one: timestamp_text(value, zoned=one.zoned),
    ColumnKind.DATE: lambda value, _: date_text(value),
    ColumnKind.TIME: lambda value, one: time_text(value, zoned=one.zoned),
    ColumnKind.INTERVAL: lambda value, _: interval_text(value),
    ColumnKind.JSON: _json,
    ColumnKind.ARRAY: _array,
    ColumnKind.COMPOSITE: _composite,
    ColumnKind.RANGE: _range,
    ColumnKind.MULTIRANGE: _multirange,
    ColumnKind.BYTES: _bytes,
    ColumnKind.OTHER: _plain,
}
