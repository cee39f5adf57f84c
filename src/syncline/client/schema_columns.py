"""Columns of the device's tables: three stored types, and what Python values they stand for (client SQLite reference, 4).

A row is JSON, and JSON has no dates and no booleans of SQL: those columns are stored as text or integer, and their codec says
how typed reads (`db.fetch`) give them back. Queries that return plain rows see the stored value. Pure, no I/O.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from syncline.errors import ClientError

__all__ = ["BOOLEAN", "DATETIME", "JSON", "PLAIN", "Column", "ColumnCodec", "ColumnType", "ColumnValueInvalid"]


class ColumnValueInvalid(ClientError):
    """A value does not fit the codec of its column. The message names the column and the type, never the value."""


class ColumnType(enum.StrEnum):
    """How a view reads a column; rows are stored as JSON and keep the type of the value that was written."""

    TEXT = "TEXT"
    INTEGER = "INTEGER"
    REAL = "REAL"


@dataclass(frozen=True, slots=True)
class ColumnCodec:
    """Turns Python values into stored ones and back. None is always None and never reaches the functions.

    The functions raise ValueError or TypeError for what they cannot turn; `name` says what the column holds in messages.
    """

    name: str
    encode: Callable[[Any], str | int | float] = field(compare=False)
    decode: Callable[[Any], Any] = field(compare=False)


def _same(value: Any) -> Any:
    return value


def _encode_boolean(value: Any) -> int:
    if value in (0, 1):  # True and False are among them
        return int(value)
    raise ValueError("neither true nor false")


def _decode_boolean(value: Any) -> bool:
    # Old rows may have the texts that Postgres writes for boolean.
    if isinstance(value, str):
        value = {"true": 1, "t": 1, "1": 1, "false": 0, "f": 0, "0": 0}.get(value.lower(), value)
    return bool(_encode_boolean(value))


def _encode_datetime(value: Any) -> str:
    if isinstance(value, str):
        value = _decode_datetime(value)
    if not isinstance(value, datetime):
        raise TypeError("not a datetime")
    if value.tzinfo is None:
        return value.isoformat()
    # UTC with a Z and always six digits, as the service sends it: so that texts sort like times.
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _decode_datetime(value: Any) -> datetime:
    parsed = datetime.fromisoformat(value)
    return parsed if parsed.tzinfo is None else parsed.astimezone(UTC)


def _encode_json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


PLAIN = ColumnCodec("value", _same, _same)
"""The stored value as it is."""

BOOLEAN = ColumnCodec("boolean", _encode_boolean, _decode_boolean)
"""0 and 1 as bool."""

DATETIME = ColumnCodec("datetime", _encode_datetime, _decode_datetime)
"""ISO 8601 text. A time with a zone is stored and given back in UTC; one without stays without."""

JSON = ColumnCodec("JSON", _encode_json, msgspec.json.decode)
"""JSON text as dict, list, str, number, bool or None."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, how it is stored, and what Python value it stands for."""

    name: str
    type: ColumnType
    codec: ColumnCodec = PLAIN

    @classmethod
    def text(cls, name: str) -> Column:
        """A column that reads as TEXT; UUIDs and decimals are text too."""
        return cls(name, ColumnType.TEXT)

    @classmethod
    def integer(cls, name: str) -> Column:
        """A column that reads as INTEGER (64 bits, signed)."""
        return cls(name, ColumnType.INTEGER)

    @classmethod
    def real(cls, name: str) -> Column:
        """A column that reads as REAL (double precision)."""
        return cls(name, ColumnType.REAL)

    @classmethod
    def boolean(cls, name: str) -> Column:
        """0 or 1 in an INTEGER column; typed reads give bool."""
        return cls(name, ColumnType.INTEGER, BOOLEAN)

    @classmethod
    def datetime(cls, name: str) -> Column:
        """ISO 8601 text; typed reads give datetime, in UTC where the text has a zone."""
        return cls(name, ColumnType.TEXT, DATETIME)

    @classmethod
    def json(cls, name: str) -> Column:
        """JSON in a TEXT column; typed reads give what it says."""
        return cls(name, ColumnType.TEXT, JSON)

    def encode(self, value: Any) -> str | int | float | None:
        """The value to store. Raises ColumnValueInvalid."""
        return None if value is None else self._convert(self.codec.encode, value, "stored")

    def decode(self, value: Any) -> Any:
        """The Python value of a stored one. Raises ColumnValueInvalid."""
        return None if value is None else self._convert(self.codec.decode, value, "read")

    def _convert(self, function: Callable[[Any], Any], value: Any, verb: str) -> Any:
        try:
            return function(value)
        except (ValueError, TypeError, msgspec.MsgspecError):
            raise ColumnValueInvalid(
                f'A value of type {type(value).__name__} cannot be {verb} as {self.codec.name} in column "{self.name}".',
                hint="Give the column the helper that fits its values, or read it with a plain query.",
                column=self.name,
            ) from None  # the message of the cause has the value in it
