"""What a device gets of a sync config: tables with typed columns, and streams with typed parameters. Every output is written from it."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

__all__ = [
    "ANY_SCALAR",
    "ClientColumn",
    "ClientStream",
    "ClientTable",
    "ClientTables",
    "ColumnKind",
    "StreamParameter",
    "ValueTypes",
    "column_kind",
]


class ValueTypes(enum.IntFlag):
    """Which types values can have; the numbers are those of `sqlite_type` in the admin API (command line reference, 3)."""

    BLOB = 1
    TEXT = 2
    INTEGER = 4
    REAL = 8


ANY_SCALAR = ValueTypes.TEXT | ValueTypes.INTEGER | ValueTypes.REAL


class ColumnKind(enum.StrEnum):
    """How the device's schema declares a column."""

    TEXT = "text"
    INTEGER = "integer"
    REAL = "real"


def column_kind(types: ValueTypes) -> ColumnKind:
    """The kind that keeps every value of these types: text before real before integer; text where nothing is known."""
    if not types & ValueTypes.TEXT:
        if types & ValueTypes.REAL:
            return ColumnKind.REAL
        if types & ValueTypes.INTEGER:
            return ColumnKind.INTEGER
    return ColumnKind.TEXT


@dataclass(frozen=True, slots=True)
class ClientColumn:
    """A column of a device's table; `id` is never one.

    `declared` is the source's name for the type (`timestamptz`, `int4[]`, `bool`) where all rows have the same one, else empty.
    """

    name: str
    types: ValueTypes
    declared: str = ""

    @property
    def kind(self) -> ColumnKind:
        """How the device's schema declares it."""
        return column_kind(self.types)


@dataclass(frozen=True, slots=True)
class ClientTable:
    """A table as devices have it: under the name that its queries give it."""

    name: str
    columns: tuple[ClientColumn, ...]


@dataclass(frozen=True, slots=True)
class StreamParameter:
    """What `subscription.parameter(name)` is compared with; `is_list` where a query takes its elements."""

    name: str
    types: ValueTypes
    is_list: bool = False


@dataclass(frozen=True, slots=True)
class ClientStream:
    """A stream that apps subscribe to."""

    name: str
    parameters: tuple[StreamParameter, ...]


@dataclass(frozen=True, slots=True)
class ClientTables:
    """Everything that a schema is written from.

    `config_hash` is `sha256:…` of the sync config. `typed` is whether the columns of the source were known. `notes` are for the person
    who runs the command.
    """

    tables: tuple[ClientTable, ...]
    streams: tuple[ClientStream, ...]
    config_hash: str
    typed: bool = True
    notes: tuple[str, ...] = field(default=())
