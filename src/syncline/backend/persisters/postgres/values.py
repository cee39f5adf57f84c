"""A client's values as Postgres' texts (write path reference, 5). Every value goes to the database as text with a cast.

Devices know text, integers and reals only: booleans arrive as 0 and 1, JSON and arrays as JSON text, binary data as base64, and a
time as text or as a number of seconds or milliseconds since 1970.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from syncline.backend.persisters.base import WriteRefused
from syncline.backend.persisters.postgres.columns import ColumnKind, TableColumn

__all__ = ["EPOCH_MS_FROM", "postgres_text"]

EPOCH_MS_FROM = 100_000_000_000  # a time this far from 1970 is in milliseconds: in seconds it would be the year 5138

_TRUE, _FALSE = frozenset({"1", "t", "true"}), frozenset({"0", "f", "false"})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def postgres_text(value: Any, column: TableColumn, *, operation_index: int) -> str | None:
    """The text that the column's type reads. Raises WriteRefused (INVALID_DATA) for what cannot be meant."""
    if value is None:
        return None
    try:
        text = _array(value, column.element) if column.kind == ColumnKind.ARRAY else _scalar(value, column.kind)
        if "\0" in text:  # no Postgres text holds it, and the driver refuses before the database is asked
            raise ValueError("a zero character")
    except (ValueError, OverflowError, RecursionError) as exc:
        raise WriteRefused(
            "INVALID_DATA", f"The value of {column.name} is no {column.cast}.", operation_index=operation_index
        ) from exc
    return text


def _scalar(value: Any, kind: str) -> str:
    if kind == ColumnKind.BOOLEAN:
        text = _plain(value).lower()
        if text in _TRUE or text in _FALSE:
            return "true" if text in _TRUE else "false"
        raise ValueError("not a boolean")
    if kind == ColumnKind.JSON:
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if kind == ColumnKind.BYTES:
        return _bytes(_plain(value))
    if kind == ColumnKind.TIMESTAMP and isinstance(value, int | float) and not isinstance(value, bool):
        return _time(value)
    return _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # an integer column that SQLite made real
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def _bytes(text: str) -> str:
    r"""Base64, or Postgres' own `\x` form, whose backslash no base64 has."""
    if text.startswith("\\x"):
        return text
    return "\\x" + base64.b64decode(text, validate=True).hex()


def _time(number: float) -> str:
    """A number since 1970, in UTC. Raises OverflowError beyond the year 9999."""
    milliseconds = number if abs(number) >= EPOCH_MS_FROM else number * 1000
    return (_EPOCH + timedelta(milliseconds=milliseconds)).isoformat()


def _array(value: Any, element: str) -> str:
    """An array literal of a JSON array, given as such or as text; a text that is an array literal goes as it is."""
    if isinstance(value, str):
        if value.startswith("{"):
            return value
        value = json.loads(value)
    if not isinstance(value, list):
        raise ValueError("not an array")
    return _array_literal(cast("list[Any]", value), element)


def _array_literal(items: list[Any], element: str) -> str:
    parts: list[str] = []
    for item in items:
        if item is None:
            parts.append("NULL")
        elif isinstance(item, list) and element != ColumnKind.JSON:
            parts.append(_array_literal(cast("list[Any]", item), element))
        else:
            parts.append('"' + _scalar(item, element).replace("\\", "\\\\").replace('"', '\\"') + '"')
    return "{" + ",".join(parts) + "}"
