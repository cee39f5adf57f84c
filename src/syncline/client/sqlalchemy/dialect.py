"""SQLAlchemy's SQLite dialect, told that tables are views and that values are stored as synced rows have them.

Views have no UPSERT, no RETURNING of what triggers wrote, and count no rows. Times, UUIDs and decimals are the texts that the service
sends, so what an app writes and what comes from the source compare as equal.
"""

from __future__ import annotations

import decimal
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import exc
from sqlalchemy import types as sqltypes
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler, SQLiteDialect
from sqlalchemy.engine.interfaces import Dialect

import syncline.client.sqlalchemy.driver as driver
from syncline.client.dates import parse_date, parse_datetime, parse_time

__all__ = ["AsyncSynclineDialect", "SynclineDialect"]


class _DateTime(sqltypes.DateTime):
    def bind_processor(self, dialect: Dialect) -> Any:  # the driver turns times into text
        return None

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        return _unless_none(parse_datetime)


class _Date(sqltypes.Date):
    def bind_processor(self, dialect: Dialect) -> Any:
        return None

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        return _unless_none(parse_date)


class _Time(sqltypes.Time):
    def bind_processor(self, dialect: Dialect) -> Any:
        return None

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        return _unless_none(parse_time)


class _Uuid(sqltypes.Uuid[Any]):
    def bind_processor(self, dialect: Dialect) -> Any:
        return _unless_none(str)

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        return _unless_none(uuid.UUID if self.as_uuid else str)


class _Numeric(sqltypes.Numeric[Any]):
    def bind_processor(self, dialect: Dialect) -> Any:
        return None

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        return _unless_none(_decimal if self.asdecimal else float)


def _decimal(value: Any) -> decimal.Decimal:
    return decimal.Decimal(str(value))


def _unless_none(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def process(value: Any) -> Any:
        return None if value is None else function(value)

    return process


class _Compiler(SQLiteCompiler):
    def visit_on_conflict_do_update(self, on_conflict: Any, **kw: Any) -> str:
        raise _no_upsert()

    def visit_on_conflict_do_nothing(self, on_conflict: Any, **kw: Any) -> str:
        raise _no_upsert()


def _no_upsert() -> exc.CompileError:
    return exc.CompileError(
        "ON CONFLICT cannot be used: synced tables are views, and SQLite has no UPSERT for views. "
        "Use `session.merge(…)`, `insert(…).prefix_with('OR REPLACE')`, or an update and, where there was no row, an insert."
    )


class SynclineDialect(SQLiteDialect):
    """`sqlite+syncline://`; made by `create_engine(database)`, which says which database."""

    driver = "syncline"
    statement_compiler = _Compiler
    supports_statement_cache = True
    supports_sane_rowcount = False
    supports_sane_multi_rowcount = False
    insert_returning = False
    update_returning = False
    delete_returning = False
    use_insertmanyvalues = False
    colspecs: Mapping[type[Any], type[Any]] = {
        **SQLiteDialect.colspecs,
        sqltypes.DateTime: _DateTime,
        sqltypes.Date: _Date,
        sqltypes.Time: _Time,
        sqltypes.Uuid: _Uuid,
        sqltypes.Numeric: _Numeric,
        sqltypes.Float: sqltypes.Float,
    }

    @classmethod
    def import_dbapi(cls) -> Any:
        """The driver."""
        return driver

    def get_isolation_level_values(self, dbapi_conn: Any) -> list[str]:  # type: ignore[override]  # the library's stub leaves the driver open
        """What `isolation_level` may be."""
        return ["SERIALIZABLE", "AUTOCOMMIT"]

    def get_isolation_level(self, dbapi_connection: Any) -> Any:
        """The level of one connection."""
        return "AUTOCOMMIT" if dbapi_connection.autocommit else "SERIALIZABLE"

    def set_isolation_level(self, dbapi_connection: Any, level: str | None) -> None:  # type: ignore[override]  # the library's stub leaves the driver open
        """AUTOCOMMIT makes every statement a transaction of its own."""
        dbapi_connection.autocommit = level == "AUTOCOMMIT"


class AsyncSynclineDialect(SynclineDialect):
    """The same below `create_async_engine(database)`."""

    driver = "syncline_async"
    is_async = True
    supports_statement_cache = True
