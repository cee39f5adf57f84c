"""Postgres through SQLAlchemy, with psycopg: values go as text with a cast, as the Postgres persister sends them."""

from __future__ import annotations

from typing import Any, cast

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from syncline.backend.persisters.base import RetryLater, WriteRefused
from syncline.backend.persisters.postgres import errors
from syncline.backend.persisters.postgres.columns import ColumnKind as PostgresKind
from syncline.backend.persisters.postgres.columns import TableColumn, read_columns
from syncline.backend.persisters.postgres.values import postgres_text
from syncline.backend.persisters.sqlalchemy.databases.base import Database, Expression, Expressions
from syncline.backend.persisters.sqlalchemy.tables import Column, ColumnKind, Table
from syncline.errors import ConfigError

__all__ = ["PostgresDatabase"]

_KINDS = {
    PostgresKind.BOOLEAN: ColumnKind.BOOLEAN,
    PostgresKind.INTEGER: ColumnKind.INTEGER,
    PostgresKind.TIMESTAMP: ColumnKind.TIMESTAMP,
    PostgresKind.JSON: ColumnKind.JSON,
    PostgresKind.BYTES: ColumnKind.BYTES,
}
_LOCK = sa.text("SELECT pg_advisory_xact_lock(hashtextextended(CAST(:user_id AS text) || '/' || :client_id, 0))")


class _NamedType(sa.types.UserDefinedType[Any]):
    """A type by its name in the catalog."""

    cache_ok = True

    def __init__(self, name: str) -> None:
        self.name = name

    def get_col_spec(self, **_: Any) -> str:
        """The name for SQL; a single % would be read as a placeholder."""
        return self.name.replace("%", "%%")


class PostgresDatabase(Database):
    """See `Database`."""

    async def prepare(self, connection: AsyncConnection) -> None:
        """Refuse other drivers than psycopg."""
        await _psycopg(connection)

    def key_type(self) -> sa.types.TypeEngine[str]:
        """As the Postgres persister's tables have it."""
        return sa.Text()

    def letter_id_type(self) -> sa.types.TypeEngine[str]:
        """Sorted by bytes."""
        return sa.Text(collation="C")

    def check_key(self, value: str) -> None:
        """Text has no length."""

    async def lock_device(self, connection: AsyncConnection, devices: sa.Table, user_id: str, client_id: str) -> None:
        """The lock that the Postgres persister takes, so that both may serve one database."""
        del devices
        await connection.execute(_LOCK, {"user_id": user_id, "client_id": client_id})

    async def read_table(self, connection: AsyncConnection, name: str) -> Table | None:
        """A table on the search path."""
        try:
            found = await read_columns(await _psycopg(connection), name)
        except psycopg.Error as exc:
            raise OperationalError("the columns of a table", None, exc) from exc
        columns = [
            Column(
                column.name,
                _KINDS.get(column.kind, ColumnKind.OTHER),
                column.declared or column.cast,
                generated=column.generated,
                has_zone=column.cast.endswith("with time zone"),
                native=column,
            )
            for column in found.values()
        ]
        return Table(name, columns) if columns else None

    def value(self, column: Column, value: Any) -> Any:
        """The text that the column's type reads."""
        try:
            return postgres_text(value, column.native, operation_index=0)
        except WriteRefused as exc:  # told again by whoever knows the operation
            raise ValueError(exc.error_code) from exc

    def expression(self, column: Column, value: Any) -> Expression:
        """The text with a cast."""
        native = cast("TableColumn", column.native)
        return sa.cast(sa.literal(self.value(column, value), sa.Text()), _NamedType(native.cast))

    async def insert_new(
        self, connection: AsyncConnection, table: Table, values: Expressions, by_id: Expression
    ) -> bool:
        """In one statement."""
        del by_id
        insert = postgresql.insert(table.clause).values(values).on_conflict_do_nothing(index_elements=["id"])
        return (await connection.execute(insert, execution_options={"preserve_rowcount": True})).rowcount == 1

    def selected(self, element: Expression, column: Column) -> Expression:
        """Text that does not depend on the settings of the connection."""
        native = cast("TableColumn", column.native)
        if column.kind is ColumnKind.TIMESTAMP and column.has_zone:
            return sa.func.to_char(sa.func.timezone("UTC", element), 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        if column.kind is ColumnKind.TIMESTAMP:
            return sa.func.to_char(element, 'YYYY-MM-DD"T"HH24:MI:SS.US')
        if native.kind == PostgresKind.ARRAY:
            return sa.cast(sa.func.to_json(element), sa.Text())
        if column.kind is ColumnKind.BYTES:
            return sa.func.translate(sa.func.encode(element, "base64"), "\n", "")
        return sa.cast(element, sa.Text())

    def device_value(self, value: Any, column: Column) -> Any:
        """The text as its kind has it."""
        if value is None:
            return None
        if column.kind is ColumnKind.BOOLEAN:
            return int(value == "true")
        if column.kind is ColumnKind.INTEGER:
            return int(value)
        return float(value) if cast("TableColumn", column.native).cast in ("real", "double precision") else value

    def is_conflict(self, exc: DBAPIError) -> bool:
        """By SQLSTATE."""
        return isinstance(exc.orig, psycopg.Error) and errors.is_conflict(exc.orig)

    def verdict_over(self, exc: SQLAlchemyError, *, operation_index: int | None) -> WriteRefused | RetryLater:
        """By SQLSTATE, as the Postgres persister judges."""
        if isinstance(exc, DBAPIError) and isinstance(exc.orig, psycopg.Error):
            return errors.verdict_over(exc.orig, operation_index=operation_index)
        return super().verdict_over(exc, operation_index=operation_index)


async def _psycopg(connection: AsyncConnection) -> psycopg.AsyncConnection[Any]:
    driver = (await connection.get_raw_connection()).driver_connection
    if isinstance(driver, psycopg.AsyncConnection):
        return cast("psycopg.AsyncConnection[Any]", driver)
    raise ConfigError(
        "Postgres through SQLAlchemy needs the driver psycopg.",
        hint='create_async_engine("postgresql+psycopg://…"), or PostgresPersister(dsn) without SQLAlchemy.',
    )
