"""Values as a person reads them: as SQL, together with their type, because 7 and '7' are different values."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from decimal import Decimal

from syncline.protocol.bucket_names import SyncValue

__all__ = ["ShownValue", "ValueType", "name_sql", "short", "shown", "value_sql"]

SHORT_CHARS = 80  # characters of a value or row in a line of text; the fields of results are whole

_RESERVED = frozenset(
    {"select", "from", "where", "and", "or", "not", "in", "is", "between", "case", "when", "then", "else", "end", "as"}
    | {"on", "join", "inner", "union", "group", "order", "having", "limit", "only", "using", "null", "true", "false"}
    | {"array", "row", "cast", "exists", "at", "collate", "like"}
)


class ValueType(enum.StrEnum):
    """The storage class of a value. Values of different classes are never equal, but integers and reals are both numbers."""

    NULL = "null"
    INTEGER = "integer"
    REAL = "real"
    TEXT = "text"
    BLOB = "blob"


@dataclass(frozen=True, slots=True)
class ShownValue:
    """A value: its type, and its text as SQL (`'L1'`, `7`, `NULL`). It can be written as JSON whatever the value is."""

    type: ValueType
    text: str

    def __str__(self) -> str:
        return short(self.text)


def shown(value: SyncValue) -> ShownValue:
    """A value of the SQLite type system, to be shown."""
    return ShownValue(_type_of(value), value_sql(value))


def _type_of(value: SyncValue) -> ValueType:
    if value is None:
        return ValueType.NULL
    if isinstance(value, str):
        return ValueType.TEXT
    if isinstance(value, bytes):
        return ValueType.BLOB
    return ValueType.REAL if isinstance(value, float) else ValueType.INTEGER


def value_sql(value: SyncValue) -> str:
    """A value as SQL constant; reals always have a dot, and never an exponent, which the language does not read."""
    if value is None:
        return "NULL"
    if isinstance(value, str):
        encodable = value.encode("utf-8", errors="replace").decode()
        return "'" + encodable.replace("'", "''") + "'"
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    if not isinstance(value, float):
        return str(int(value))
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    text = format(Decimal(repr(value)), "f")
    return text if "." in text else f"{text}.0"


def name_sql(name: str) -> str:
    """A name as SQL, quoted where it has to be."""
    plain = name.isascii() and name.replace("_", "a").isalnum() and not name[:1].isdigit() and name == name.lower()
    if plain and name not in _RESERVED:
        return name
    return '"' + name.replace('"', '""') + '"'


def short(text: str, chars: int = SHORT_CHARS) -> str:
    """A text that fits into a line."""
    flat = " ".join(text.split())
    return flat if len(flat) <= chars else f"{flat[: chars - 1]}…"
