"""The tables as the database has them: what a column takes, and the names to build statements with."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.elements import quoted_name

from syncline.backend.limits import NAME_CHARACTERS_SHOWN_MAX
from syncline.backend.persisters.base import Write, WriteRefused

__all__ = ["Column", "ColumnKind", "Table", "known_column"]


class ColumnKind(enum.Enum):
    """How a client's value has to be written for a column."""

    BOOLEAN = "boolean"
    INTEGER = "integer"
    REAL = "real"
    DECIMAL = "decimal"
    TIMESTAMP = "timestamp"
    DATE = "date"
    TIME = "time"
    JSON = "json"
    BYTES = "bytes"
    TEXT = "text"
    OTHER = "other"  # as it was sent; the database decides


@dataclass(frozen=True, slots=True)
class Column:
    """A column. `type_name` is for messages; `native` is what the database's own module wants to remember of it."""

    name: str
    kind: ColumnKind
    type_name: str
    generated: bool = False
    has_zone: bool = False  # its times are instants
    native: Any = None


class Table:
    """A table with its columns by name; `clause` has them for statements, always quoted."""

    def __init__(self, name: str, columns: Iterable[Column]) -> None:
        self.name = name
        self.columns = {column.name: column for column in columns}
        self.clause = _clause(name, self.columns)

    def named(self, alias: str) -> sa.FromClause:
        """The table under another name, for a place where it may stand twice."""
        return self.clause.alias(quoted_name(alias, quote=True))


def known_column(write: Write, table: Table, name: str) -> Column:
    """A column of the write's table. Raises WriteRefused (SCHEMA_MISMATCH)."""
    column = table.columns.get(name)
    if column is None:
        message = f"{write.table} has no column {name[:NAME_CHARACTERS_SHOWN_MAX]!r}."
        raise WriteRefused("SCHEMA_MISMATCH", message, operation_index=write.index)
    return column


def _clause(name: str, columns: Iterable[str]) -> sa.TableClause:
    elements: list[sa.ColumnClause[Any]] = [sa.column(quoted_name(column, quote=True)) for column in columns]
    return sa.table(quoted_name(name, quote=True), *elements)
