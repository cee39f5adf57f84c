"""Rows that queries answer with, and the Python values that parameters may be."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import apsw
import orjson

from syncline.errors import ClientError

__all__ = ["Parameters", "Row", "bind", "fetch"]

Parameters = Sequence[Any] | Mapping[str, Any]


class Row(Sequence[Any]):
    """One row: values by position (`row[0]`) or by column name (`row["name"]`)."""

    __slots__ = ("_columns", "_values")

    def __init__(self, columns: dict[str, int], values: tuple[Any, ...]) -> None:
        self._columns = columns
        self._values = values

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return self._values[self._columns[key]]
        return self._values[key]

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Row):
            return self._values == other._values and self._columns == other._columns
        return self._values == other

    def __hash__(self) -> int:
        return hash(self._values)

    def __repr__(self) -> str:
        return f"Row({self.as_dict()!r})"

    def keys(self) -> list[str]:
        """Column names, in the query's order."""
        return list(self._columns)

    def as_dict(self) -> dict[str, Any]:
        """The row as a dictionary."""
        return {name: self._values[index] for name, index in self._columns.items()}


def bind(parameters: Parameters | None) -> Any:
    """Parameters as SQLite takes them: times as ISO text, booleans as 0 and 1, dictionaries and lists as JSON.

    Raises ClientError for bytes (row data are JSON, which has none) and for types without a meaning here.
    """
    if parameters is None:
        return None
    if isinstance(parameters, Mapping):
        return {name: _value(value) for name, value in parameters.items()}
    if isinstance(parameters, str):
        raise ClientError("Parameters are a list or a mapping, not a string.", hint="Write `[value]`.")
    return tuple(_value(value) for value in parameters)


def fetch(connection: apsw.Connection, sql: str, parameters: Any) -> list[Row]:
    """Run a statement (or several) and read all rows; in a thread that owns the connection."""
    cursor = connection.execute(sql, parameters)
    rows: list[Row] = []
    columns: dict[str, int] | None = None
    for values in cursor:
        if columns is None:
            columns = {str(entry[0]): index for index, entry in enumerate(cursor.get_description())}
        rows.append(Row(columns, values))
    return rows


def _value(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return _value(value.value)
    if value is None or isinstance(value, str | float) or type(value) is int:
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, UUID | Decimal):
        return str(value)
    if isinstance(value, dict | list):
        return orjson.dumps(value).decode()
    hint = "Store binary data as text (base64 or hex): synced rows are JSON." if isinstance(value, bytes) else ""
    raise ClientError(f"A parameter of type {type(value).__name__} cannot be stored.", hint=hint)
