"""A client's values as Postgres' texts (write path reference, 5). Every value goes to the database as text with a cast.

Devices know text, integers and reals only: booleans arrive as 0 and 1, JSON and arrays as JSON text, binary data as base64.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any, cast

from syncline.backend.persisters.base import WriteRefused
from syncline.backend.persisters.postgres.columns import ColumnKind, TableColumn

__all__ = ["postgres_text"]

_TRUE, _FALSE = frozenset({"1", "t", "true"}), frozenset({"0", "f", "false"})


def postgres_text(value: Any, column: TableColumn, *, operation_index: int) -> str | None:
    """The text that the column's type reads. Raises WriteRefused (INVALID_DATA) for what cannot be meant."""
    if value is None:
        return None
    try:
        return _text(value, column)
    except (ValueError, binascii.Error) as exc:
        raise WriteRefused(
            "INVALID_DATA", f"The value of {column.name} is no {column.cast}.", operation_index=operation_index
        ) from exc


def _text(value: Any, column: TableColumn) -> str:
    if column.kind == ColumnKind.BOOLEAN:
        text = _plain(value).lower()
        if text in _TRUE or text in _FALSE:
            return "true" if text in _TRUE else "false"
        raise ValueError("not a boolean")
    if column.kind == ColumnKind.JSON:
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if column.kind == ColumnKind.ARRAY:
        return _array(value)
    if column.kind == ColumnKind.BYTES:
        return "\\x" + base64.b64decode(_plain(value), validate=True).hex()
    return _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # an integer column that SQLite made real
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def _array(value: Any) -> str:
    """JSON array, or its text, as an array literal; what is no JSON goes as it is."""
    if isinstance(value, str):
        if value.startswith("{"):
            return value
        value = json.loads(value)
    if not isinstance(value, list):
        raise ValueError("not an array")
    return _array_literal(cast("list[Any]", value))


def _array_literal(items: list[Any]) -> str:
    parts: list[str] = []
    for item in items:
        if item is None:
            parts.append("NULL")
        elif isinstance(item, list):
            parts.append(_array_literal(cast("list[Any]", item)))
        else:
            parts.append('"' + _plain(item).replace("\\", "\\\\").replace('"', '\\"') + '"')
    return "{" + ",".join(parts) + "}"
