"""The contract with one kind of database, and what any database with SQL can do: the way of those that have no module of their own.

Without a module: MSSQL and Oracle, untested.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import (
    DBAPIError,
    IntegrityError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
    StatementError,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from syncline.backend.persisters import device_values
from syncline.backend.persisters.base import RetryLater, UnknownFailure, WriteRefused
from syncline.backend.persisters.sqlalchemy.tables import Column, ColumnKind, Table

__all__ = ["UNCLASSIFIED", "USER_ID_CHARACTERS_MAX", "Database", "Expression", "Expressions", "refused"]

Expression = sa.ColumnElement[Any]
Expressions = Mapping[str, Expression]
"""What to write, by the names of columns."""

USER_ID_CHARACTERS_MAX = (
    255  # characters of a user id in a key column, where the database must know a length; OIDC allows no more
)

UNCLASSIFIED = "UNCLASSIFIED_ERROR"  # code of an error that no table knows

_PASSING = "The database cannot take the write at the moment."


class Database:
    """One kind of database. The methods that touch it raise SQLAlchemyError."""

    isolation_level: str | None = None
    """What each transaction asks for, where the engine's own would not do."""

    async def prepare(self, connection: AsyncConnection) -> None:
        """Look at the server once, at the start. Raises ConfigError for settings with which values would be lost."""

    def alone(self) -> AbstractAsyncContextManager[None]:
        """What a transaction of this process waits for before it begins."""
        return contextlib.nullcontext()

    async def begin(self, connection: AsyncConnection) -> None:
        """The first statement of a transaction."""

    def key_type(self) -> sa.types.TypeEngine[str]:
        """The type of user and device ids in our own tables: compared exactly."""
        return sa.String(USER_ID_CHARACTERS_MAX)

    def text_type(self) -> sa.types.TypeEngine[str]:
        """The type of long texts in our own tables."""
        return sa.Text()

    def time_type(self) -> sa.types.TypeEngine[datetime]:
        """The type of times in our own tables: with microseconds, in UTC where it has no zone."""
        return sa.DateTime(timezone=True)

    def letter_id_type(self) -> sa.types.TypeEngine[str]:
        """The type of a dead letter's id: they sort by their bytes."""
        return sa.String(36)

    def check_key(self, value: str) -> None:
        """Raise WriteRefused for a user id that `key_type` has no room for."""
        if len(value) > USER_ID_CHARACTERS_MAX:
            raise WriteRefused("INVALID_DATA", f"The user id is longer than {USER_ID_CHARACTERS_MAX} characters.")

    async def lock_device(self, connection: AsyncConnection, devices: sa.Table, user_id: str, client_id: str) -> None:
        """Wait until no other transaction holds this device, and hold it until ours ends. `devices` has a row for each."""
        mine = sa.and_(devices.c.user_id == user_id, devices.c.client_id == client_id)
        held = sa.select(sa.literal(1)).select_from(devices).where(mine).with_for_update()
        if (await connection.execute(held)).first() is not None:
            return
        with contextlib.suppress(IntegrityError):  # another transaction was faster
            async with connection.begin_nested():
                await connection.execute(devices.insert().values(user_id=user_id, client_id=client_id))
                return
        await connection.execute(held)

    async def read_table(self, connection: AsyncConnection, name: str) -> Table | None:
        """A table of the connection's own schema; None where there is none of this name."""

        def read(sync: sa.Connection) -> list[Column]:
            inspector = sa.inspect(sync)
            return [_reflected(found) for found in inspector.get_columns(name)] if inspector.has_table(name) else []

        columns = await connection.run_sync(read)
        return Table(name, columns) if columns else None

    def value(self, column: Column, value: Any) -> Any:
        """A client's value as the driver takes it for a column. Raises ValueError, OverflowError, RecursionError."""
        return _READERS[column.kind](value)

    def expression(self, column: Column, value: Any) -> Expression:
        """The same, for a statement; raises as `value`."""
        if value is None:
            return sa.null()
        return sa.literal(self.value(column, value))

    def equal(self, element: Expression, column: Column, value: Any) -> Expression:
        """That a column has exactly this value, whatever the column's collation takes for equal; raises as `value`."""
        return element == self.expression(column, value)

    def default(self, column: Column) -> Expression:
        """The column's default, for an UPDATE."""
        del column
        return sa.literal_column("DEFAULT")

    def undone_alone(self, connection: AsyncConnection) -> AbstractAsyncContextManager[object]:
        """Around a statement that may fail and leave the transaction as it was: a savepoint."""
        return connection.begin_nested()

    async def insert_new(
        self, connection: AsyncConnection, table: Table, values: Expressions, by_id: Expression
    ) -> bool:
        """Make a row unless there is one with the same id (`by_id` finds it); whether it was made.

        Look, then insert: what updates instead (ON DUPLICATE KEY) may do so for any unique key, and change another row than the one
        that is meant.
        """
        found = sa.select(sa.literal(1)).select_from(table.clause).where(by_id).with_for_update()
        if (await connection.execute(found)).first() is not None:
            return False
        try:
            async with self.undone_alone(connection):
                await connection.execute(table.clause.insert().values(values))
        except DBAPIError as exc:
            if self.refusal_code(exc) == "UNIQUE_VIOLATION" and (await connection.execute(found)).first() is not None:
                return False  # another transaction has made it meanwhile
            raise
        return True

    def selected(self, element: Expression, column: Column) -> Expression:
        """What to select in order to read a column."""
        del column
        return element

    def device_value(self, value: Any, column: Column) -> Any:
        """A value that was read, as devices know it: text, integers, reals, None."""
        if value is None:
            return None
        if isinstance(value, bool):
            return int(value)
        if isinstance(value, bytes):
            return device_values.device_bytes(value)
        if isinstance(value, Decimal):
            return int(value) if column.kind is ColumnKind.INTEGER else format(value, "f")
        if isinstance(value, datetime):
            return device_values.device_time(value, has_zone=column.has_zone)
        if isinstance(value, (date, time)):
            return value.isoformat()
        return value if isinstance(value, (int, float, str)) else device_values.plain(value)

    def is_conflict(self, exc: DBAPIError) -> bool:
        """Whether another transaction was in the way: try again at once."""
        return getattr(exc.orig, "sqlstate", None) in ("40001", "40P01")

    def refusal_code(self, exc: DBAPIError) -> str | None:
        """The code of a refusal; None for what may pass."""
        if exc.connection_invalidated or isinstance(exc, OperationalError):
            return None
        if isinstance(exc, IntegrityError):
            return "UNIQUE_VIOLATION" if "unique" in str(exc.orig).lower() else "CONSTRAINT_VIOLATION"
        return "SCHEMA_MISMATCH" if isinstance(exc, ProgrammingError) else "INVALID_DATA"

    def is_deliberate(self, exc: DBAPIError) -> bool:
        """Whether the app's own trigger or function has raised it: refused at once, while an unknown error is counted first."""
        del exc
        return False

    def detail(self, exc: DBAPIError) -> str:
        """What a message may say of an error: its number, a constraint's name; never values."""
        del exc
        return ""

    def verdict_over(self, exc: SQLAlchemyError, *, operation_index: int | None) -> WriteRefused | RetryLater:
        """What to tell the client. The database's own text goes nowhere: it may quote values."""
        if isinstance(exc, DBAPIError):
            code = self.refusal_code(exc)
            if code is None:
                return RetryLater(_PASSING)
            detail = self.detail(exc)
            message = f"The database refused the write{' (' + detail + ')' if detail else ''}."
            if code == UNCLASSIFIED and not self.is_deliberate(exc):
                return UnknownFailure(message, error_code=code, operation_index=operation_index)
            return WriteRefused(code, message, operation_index=operation_index)
        if isinstance(exc, StatementError):  # the driver or SQLAlchemy cannot send it, and never will
            message = "The write cannot be sent to the database."
            return WriteRefused("INVALID_DATA", message, operation_index=operation_index)
        return RetryLater(_PASSING)  # no free connection, and the like


def refused(column: Column, *, operation_index: int) -> WriteRefused:
    """The refusal of a value that the column's kind cannot mean. It does not repeat the value."""
    message = f"The value of {column.name} is no {column.type_name}."
    details = [{"field": column.name, "rule": "type"}]
    return WriteRefused("INVALID_DATA", message, operation_index=operation_index, details=details)


def _as_sent(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    return value if isinstance(value, (int, float)) else device_values.plain(value)


_READERS = {
    ColumnKind.BOOLEAN: device_values.flag,
    ColumnKind.INTEGER: device_values.whole,
    ColumnKind.REAL: device_values.real,
    ColumnKind.DECIMAL: device_values.exact,
    ColumnKind.TIMESTAMP: device_values.instant,
    ColumnKind.DATE: device_values.day,
    ColumnKind.TIME: device_values.plain,
    ColumnKind.JSON: device_values.json_text,
    ColumnKind.BYTES: device_values.binary,
    ColumnKind.TEXT: device_values.plain,
    ColumnKind.OTHER: _as_sent,
}

_KINDS: tuple[tuple[type[sa.types.TypeEngine[Any]], ColumnKind], ...] = (
    (sa.Boolean, ColumnKind.BOOLEAN),
    (sa.Integer, ColumnKind.INTEGER),
    (sa.Float, ColumnKind.REAL),
    (sa.Numeric, ColumnKind.DECIMAL),
    (sa.DateTime, ColumnKind.TIMESTAMP),
    (sa.Date, ColumnKind.DATE),
    (sa.Time, ColumnKind.TIME),
    (sa.JSON, ColumnKind.JSON),
    (sa.LargeBinary, ColumnKind.BYTES),
    (sa.String, ColumnKind.TEXT),
)


def _reflected(found: Any) -> Column:
    kind = next((kind for known, kind in _KINDS if isinstance(found["type"], known)), ColumnKind.OTHER)
    return Column(
        found["name"],
        kind,
        str(found["type"]).lower(),
        generated="computed" in found,
        has_zone=bool(getattr(found["type"], "timezone", False)),
    )
