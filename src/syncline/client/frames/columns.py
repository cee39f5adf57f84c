"""A result column by column, with the kind of its values: what every data frame is made of.

SQLite stores what it is given, so a column's kind is found in its values; the schema says which texts are times and which numbers are
booleans. A column whose values do not fit stays as it is stored, for a frame that loses values would be worse than one with plain text.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import apsw

from syncline.client.blocking.database import SyncDatabase as BlockingDatabase
from syncline.client.rows import Parameters, bind
from syncline.client.schema import Schema
from syncline.client.schema_columns import BOOLEAN, DATETIME, PLAIN, Column, ColumnCodec, ColumnType
from syncline.client.sql_hints import explained
from syncline.errors import ClientError

if TYPE_CHECKING:
    from syncline.client.database import SyncDatabase

__all__ = ["ROWS_READ_AT_A_TIME", "FrameColumn", "Kind", "read_frame"]

F = TypeVar("F")

ROWS_READ_AT_A_TIME = 8192  # rows that are turned into columns together


class Kind(enum.Enum):
    """What the values of a column are, None beside."""

    TEXT = "text"
    INTEGER = "integer"
    REAL = "real"
    BOOLEAN = "boolean"
    UTC_TIME = "time in UTC"
    LOCAL_TIME = "time without a zone"


@dataclass(frozen=True, slots=True)
class FrameColumn:
    """One column: its name, the kind of its values, and the values in the order of the rows."""

    name: str
    kind: Kind
    values: list[Any]


def read_frame(
    database: SyncDatabase | BlockingDatabase,
    sql: str,
    parameters: Parameters | None,
    make: Callable[[list[FrameColumn]], F],
) -> F | Coroutine[Any, Any, F]:
    """Run a query on a reader, and make a frame of its columns in the reader's thread; a coroutine for an asynchronous database.

    Raises ClientError for columns of one name, and apsw.Error.
    """
    bound = bind(parameters)
    if isinstance(database, BlockingDatabase):
        schema = database.asynchronous.schema
        with database.read_transaction() as transaction:
            return transaction.run(lambda connection: make(_read(connection, sql, bound, schema)))
    return _read_frame(database, lambda connection: make(_read(connection, sql, bound, database.schema)))


async def _read_frame(database: SyncDatabase, function: Callable[[apsw.Connection], F]) -> F:
    async with database.read_transaction() as transaction:
        return await transaction.run(function)


def _read(connection: apsw.Connection, sql: str, bound: Any, schema: Schema) -> list[FrameColumn]:
    names: list[str] = []
    columns: list[list[Any]] = []

    def note_columns(cursor: apsw.Cursor, _sql: str, _bindings: object) -> bool:
        names[:] = [str(entry[0]) for entry in cursor.get_description()]
        columns[:] = [[] for _ in names]
        return True

    cursor = connection.cursor()
    cursor.exec_trace = note_columns
    with explained(connection):
        rows = cursor.execute(sql, bound)
        while batch := list(itertools.islice(rows, ROWS_READ_AT_A_TIME)):
            for column, values in zip(columns, zip(*batch, strict=True), strict=True):
                column.extend(values)
    _refuse_repeated(names)
    declared = _declared(schema)
    return [_column(name, values, declared.get(name)) for name, values in zip(names, columns, strict=True)]


def _refuse_repeated(names: list[str]) -> None:
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise ClientError(
            f'The query has two columns "{repeated}".', hint=f'Give one of them another name: `… AS "{repeated}_2"`.'
        )


def _declared(schema: Schema) -> dict[str, Column]:
    """Columns by name, those that have one meaning in all tables."""
    found: dict[str, Column | None] = {}
    for column in (column for table in schema.tables for column in table.columns):
        known = found.setdefault(column.name, column)
        if known != column:
            found[column.name] = None
    return {name: column for name, column in found.items() if column is not None}


def _column(name: str, values: list[Any], declared: Column | None) -> FrameColumn:
    codec = PLAIN if declared is None else declared.codec
    if codec in (BOOLEAN, DATETIME):
        decoded = _decoded(values, codec)
        if decoded is not None:
            return FrameColumn(name, *decoded)
    kind = _kind(values, declared)
    if kind is Kind.REAL:
        values = [None if value is None else float(value) for value in values]
    elif kind is Kind.TEXT:
        values = [value if value is None or isinstance(value, str) else str(value) for value in values]
    return FrameColumn(name, kind, values)


def _decoded(values: list[Any], codec: ColumnCodec) -> tuple[Kind, list[Any]] | None:
    try:
        decoded = [None if value is None else codec.decode(value) for value in values]
    except (ValueError, TypeError):
        return None
    if codec is BOOLEAN:
        return Kind.BOOLEAN, decoded
    with_zone = {value.tzinfo is not None for value in decoded if isinstance(value, datetime)}
    if len(with_zone) > 1:
        return None
    return (Kind.LOCAL_TIME if with_zone == {False} else Kind.UTC_TIME), decoded


def _kind(values: list[Any], declared: Column | None) -> Kind:
    types = set(map(type, values)) - {type(None)}
    if types == {int}:
        return Kind.INTEGER
    if types and types <= {int, float}:
        return Kind.REAL
    if types or declared is None:
        return Kind.TEXT
    return {ColumnType.INTEGER: Kind.INTEGER, ColumnType.REAL: Kind.REAL, ColumnType.TEXT: Kind.TEXT}[declared.type]
