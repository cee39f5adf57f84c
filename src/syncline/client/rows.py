"""Rows that queries answer with, and the Python values that parameters may be (Python client reference, 4)."""

from __future__ import annotations

import enum
import operator
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, overload
from uuid import UUID

import apsw
import orjson

from syncline.client.schema_columns import DATETIME
from syncline.client.sql_hints import explained
from syncline.errors import ClientError

__all__ = ["Columns", "Parameters", "Row", "bind", "fetch", "fetch_columns"]

Parameters = Sequence[Any] | Mapping[str, Any]

_PLAIN = frozenset({str, int, float, type(None)})  # types that SQLite takes as they are


class Row(Sequence[Any]):
    """One row: values by position (`row[0]`) or by column name (`row["name"]`).

    Where two columns of a query have one name, the name means the first of them.
    """

    __slots__ = ("_columns", "_values")

    def __init__(self, columns: Columns, values: tuple[Any, ...]) -> None:
        self._columns = columns
        self._values = values

    @overload
    def __getitem__(self, key: str | int) -> Any: ...
    @overload
    def __getitem__(self, key: slice) -> tuple[Any, ...]: ...
    def __getitem__(self, key: str | int | slice) -> Any:
        if isinstance(key, str):
            try:
                return self._values[self._columns.index[key]]
            except KeyError:
                raise KeyError(f"{key!r}; the row has the columns {', '.join(self._columns.names)}") from None
        return self._values[key]

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Row):
            return self._values == other._values and self._columns.names == other._columns.names
        return self._values == other

    def __hash__(self) -> int:
        return hash(self._values)

    def __repr__(self) -> str:
        return f"Row({self.as_dict()!r})"

    def keys(self) -> list[str]:
        """Column names, in the query's order."""
        return list(self._columns.names)

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a column, `default` where the row has no such column."""
        position = self._columns.index.get(name)
        return default if position is None else self._values[position]

    def as_dict(self) -> dict[str, Any]:
        """The row as a dictionary."""
        return {name: self._values[position] for name, position in self._columns.index.items()}

    def as_tuple(self) -> tuple[Any, ...]:
        """The values alone."""
        return self._values


class Columns:
    """The columns of one result: all names in order, and where each name is found first."""

    __slots__ = ("index", "names")

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.index: dict[str, int] = {}
        for position, name in enumerate(self.names):
            self.index.setdefault(name, position)


def bind(parameters: Parameters | None) -> Any:
    """Parameters as SQLite takes them.

    Times become ISO 8601 text (with a zone: UTC, six digits and Z, as the service sends them, so that texts sort like times), booleans
    0 and 1, Decimal and UUID text, enum members their value, dictionaries and lists JSON, numbers of numpy plain ones.

    Raises ClientError for bytes (row data are JSON, which has none) and for types without a meaning here.
    """
    if parameters is None:
        return None
    if type(parameters) in (tuple, list) and _PLAIN.issuperset(map(type, parameters)):
        return tuple(parameters)  # the usual case, and rows come by the hundred thousand
    if isinstance(parameters, Mapping):
        return {
            name.removeprefix(":"): value if type(value) in _PLAIN else _value(value)
            for name, value in parameters.items()
        }
    if isinstance(parameters, str | bytes):
        raise ClientError("Parameters are a list or a mapping, not a string.", hint="Write `[value]`.")
    return tuple([value if type(value) in _PLAIN else _value(value) for value in parameters])


def fetch(connection: apsw.Connection, sql: str, parameters: Any) -> list[Row]:
    """Run a statement and read all rows; in a thread that owns the connection. Raises apsw.Error, with a note where a hint is known."""
    names, rows = fetch_columns(connection, sql, parameters)
    columns = Columns(names)
    return [Row(columns, values) for values in rows]


def fetch_columns(
    connection: apsw.Connection, sql: str, parameters: Any
) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """Column names and plain tuples of a statement; where there are no rows there are no names. Raises apsw.Error, as `fetch`."""
    with explained(connection):
        cursor = connection.execute(sql, parameters)
        # The description is there between the first row and the last one only.
        for first in cursor:
            names = tuple(str(entry[0]) for entry in cursor.get_description())
            return names, [first, *cursor.fetchall()]
        return (), []


def _value(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return _value(value.value)
    if value is None or isinstance(value, str | float):
        return value
    if isinstance(value, datetime):
        return DATETIME.encode(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, UUID | Decimal):
        return str(value)
    if isinstance(value, dict | list):
        return _json(value)
    if hasattr(value, "dtype") and hasattr(
        value, "item"
    ):  # a number of numpy or pandas, which need not be installed here
        return _value(value.item())
    if hasattr(value, "__index__"):  # int and bool, and what counts as one
        return operator.index(value)
    raise ClientError(f"A parameter of type {type(value).__name__} cannot be stored.", hint=_hint(value))


def _json(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError as exc:
        raise ClientError(
            f"A parameter of type {type(value).__name__} cannot be written as JSON.",
            hint="JSON has text, numbers, booleans, null, lists, and dictionaries with text keys.",
        ) from exc


def _hint(value: Any) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        return "Store binary data as text (base64 or hex), or as an attachment: synced rows are JSON."
    if isinstance(value, timedelta):
        return "Store a duration as a number of seconds: `value.total_seconds()`."
    if isinstance(value, tuple | set | frozenset):
        return "Write `list(value)` to store it as JSON; for `IN (…)` use `IN (SELECT value FROM json_each(?))` with a list."
    return "Text, numbers, booleans, dates, UUID, Decimal, enum members, and dict or list (as JSON) can be parameters."
