"""SQLite: one writer at a time, types that are only declared, errors by their extended codes."""

from __future__ import annotations

import asyncio
import re
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from syncline.backend.persisters import device_values
from syncline.backend.persisters.sqlalchemy.databases.base import UNCLASSIFIED, Database, Expression, Expressions
from syncline.backend.persisters.sqlalchemy.tables import Column, ColumnKind, Table

__all__ = ["SQLiteDatabase"]

_COLUMNS = sa.text("SELECT name, type, hidden, dflt_value FROM pragma_table_xinfo(:name) WHERE hidden <> 1")
_INTEGERS = range(-(2**63), 2**63)

# By the declared type, as far as SQLite's own rules for affinities can tell; the first that fits.
_KINDS = (
    (re.compile("BOOL"), ColumnKind.BOOLEAN),
    (re.compile("DATETIME|TIMESTAMP"), ColumnKind.TIMESTAMP),
    (re.compile("^DATE$"), ColumnKind.DATE),
    (re.compile("JSON"), ColumnKind.JSON),
    (re.compile("INT"), ColumnKind.INTEGER),
    (re.compile("CHAR|CLOB|TEXT"), ColumnKind.TEXT),
    (re.compile("BLOB|BINARY"), ColumnKind.BYTES),
    (re.compile("REAL|FLOA|DOUB"), ColumnKind.REAL),
    (re.compile("NUMERIC|DECIMAL"), ColumnKind.DECIMAL),
)
_CODES = {
    "SQLITE_CONSTRAINT_NOTNULL": "NOT_NULL_VIOLATION",
    "SQLITE_CONSTRAINT_UNIQUE": "UNIQUE_VIOLATION",
    "SQLITE_CONSTRAINT_PRIMARYKEY": "UNIQUE_VIOLATION",
    "SQLITE_CONSTRAINT_ROWID": "UNIQUE_VIOLATION",
    "SQLITE_CONSTRAINT_FOREIGNKEY": "FOREIGN_KEY_VIOLATION",
    "SQLITE_CONSTRAINT_CHECK": "CHECK_VIOLATION",
    "SQLITE_CONSTRAINT_DATATYPE": "INVALID_DATA",
    "SQLITE_MISMATCH": "INVALID_DATA",
    "SQLITE_TOOBIG": "INVALID_DATA",
    "SQLITE_RANGE": "INVALID_DATA",
    "SQLITE_AUTH": "UNAUTHORIZED",
}
# Another writer, the disk, a file that somebody has to look at.
_PASSING = re.compile(
    "SQLITE_(BUSY|LOCKED|IOERR|FULL|CANTOPEN|NOMEM|PROTOCOL|INTERRUPT|READONLY|CORRUPT|NOTADB|SCHEMA|PERM|NOLFS)"
)
_LATER = {3091: "SQLITE_CONSTRAINT_DATATYPE"}
_PRIMARY = {5: "SQLITE_BUSY", 8: "SQLITE_READONLY", 10: "SQLITE_IOERR", 14: "SQLITE_CANTOPEN", 19: "SQLITE_CONSTRAINT"}
_MISSING = re.compile("no such (table|column)|has no column named|ON CONFLICT clause does not match")


class SQLiteDatabase(Database):
    """See `Database`. Transactions take the write lock with their first statement: a later one could not always get it."""

    isolation_level = "AUTOCOMMIT"  # the driver begins no transaction of its own: `begin` does

    def __init__(self) -> None:
        self._writer = asyncio.Lock()

    def alone(self) -> AbstractAsyncContextManager[None]:
        """Uploads of this process stand in a queue; without it they would poll the file for their turn."""
        return self._writer

    async def begin(self, connection: AsyncConnection) -> None:
        """Take the write lock, or fail when the busy timeout has passed."""
        await connection.exec_driver_sql("BEGIN IMMEDIATE")

    def key_type(self) -> sa.types.TypeEngine[str]:
        """Text has no length."""
        return sa.Text()

    def check_key(self, value: str) -> None:
        """Text has no length."""

    async def lock_device(self, connection: AsyncConnection, devices: sa.Table, user_id: str, client_id: str) -> None:
        """There is one writer."""

    async def read_table(self, connection: AsyncConnection, name: str) -> Table | None:
        """A table of the file."""
        rows = (await connection.execute(_COLUMNS, {"name": name})).all()
        columns = [
            Column(row[0], _kind(row[1]), row[1].lower() or "value", generated=row[2] in (2, 3), native=row[3])
            for row in rows
        ]
        return Table(name, columns) if columns else None

    def value(self, column: Column, value: Any) -> Any:
        """Checked here, for SQLite stores anything in any column."""
        found = super().value(column, value)
        if column.kind is ColumnKind.BOOLEAN:
            return int(found)
        if column.kind is ColumnKind.TIMESTAMP:
            return found.strftime("%Y-%m-%d %H:%M:%S.%f")  # as SQLAlchemy and Django read it
        if column.kind is ColumnKind.DATE:
            return found.isoformat()
        if column.kind is ColumnKind.DECIMAL:
            return format(found, "f")
        if isinstance(found, int) and found not in _INTEGERS:
            raise OverflowError("more than 64 bits")
        return found

    def equal(self, element: Expression, column: Column, value: Any) -> Expression:
        """Plainly, for the index, and by code points where the column says NOCASE."""
        expression = self.expression(column, value)
        if column.kind is not ColumnKind.TEXT:
            return element == expression
        return sa.and_(element == expression, sa.collate(element, "BINARY") == expression)

    def default(self, column: Column) -> Expression:
        """The expression in the table's definition: an UPDATE knows no DEFAULT here."""
        return sa.null() if column.native is None else sa.literal_column(f"({column.native})")

    async def insert_new(
        self, connection: AsyncConnection, table: Table, values: Expressions, by_id: Expression
    ) -> bool:
        """In one statement."""
        del by_id
        insert = sqlite.insert(table.clause).values(values).on_conflict_do_nothing(index_elements=["id"])
        return (await connection.execute(insert, execution_options={"preserve_rowcount": True})).rowcount == 1

    def device_value(self, value: Any, column: Column) -> Any:
        """Times as other databases show them; what is none stays as it is."""
        if column.kind is ColumnKind.TIMESTAMP and isinstance(value, str):
            try:
                time = datetime.fromisoformat(value)
            except ValueError:
                return value
            return device_values.device_time(time.replace(tzinfo=None), has_zone=False)
        if column.kind is ColumnKind.DECIMAL and isinstance(value, (int, float)):
            return device_values.plain(value)
        return super().device_value(value, column)

    def is_conflict(self, exc: DBAPIError) -> bool:
        """Only where a transaction of the app's engine began as a reader."""
        return _name(exc) == "SQLITE_BUSY_SNAPSHOT"

    def refusal_code(self, exc: DBAPIError) -> str | None:
        """By extended code."""
        name = _name(exc)
        if name in _CODES:
            return _CODES[name]
        if name.startswith("SQLITE_CONSTRAINT"):
            return "CONSTRAINT_VIOLATION"
        if not name:  # the driver itself: a closed connection passes, a value that it cannot send does not
            return None if exc.connection_invalidated or isinstance(exc, OperationalError) else "INVALID_DATA"
        if _PASSING.match(name):
            return None
        return "SCHEMA_MISMATCH" if _MISSING.search(str(exc.orig)) else UNCLASSIFIED

    def detail(self, exc: DBAPIError) -> str:
        """The code, and the columns or the constraint that the text names; it quotes no values."""
        name = _name(exc)
        named = re.search(r"constraint failed: (.*)$", str(exc.orig))
        shown = named.group(1) if named and name != "SQLITE_CONSTRAINT_TRIGGER" else ""
        return ", ".join(part for part in (name, shown) if part)


def _kind(declared: str) -> ColumnKind:
    plain = declared.upper().partition("(")[0].strip()
    return next((kind for pattern, kind in _KINDS if pattern.search(plain)), ColumnKind.OTHER)


def _name(exc: DBAPIError) -> str:
    """The extended code's name; Python does not know those of later SQLites."""
    name = str(getattr(exc.orig, "sqlite_errorname", None) or "")
    if name != "unknown":
        return name
    number = int(getattr(exc.orig, "sqlite_errorcode", 0))
    return _LATER.get(number) or _PRIMARY.get(number & 0xFF, name)
