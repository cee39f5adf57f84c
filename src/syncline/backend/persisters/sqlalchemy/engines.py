"""Engines made from URLs, with the settings that uploads want."""

from __future__ import annotations

import math
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, InvalidRequestError, NoSuchModuleError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from syncline.errors import ConfigError

__all__ = ["DRIVERS", "SQLITE_BUSY_SECONDS_MAX", "make_engine"]

DRIVERS = {"postgresql": "psycopg", "mysql": "asyncmy", "mariadb": "asyncmy", "sqlite": "aiosqlite"}
"""The driver that is tested with each database; others are the app's own risk."""

SQLITE_BUSY_SECONDS_MAX = 5.0  # seconds that a transaction waits for another process that writes to the same file

_WAIT_FOR_CONNECTION_S = 10.0  # seconds for a free connection; after that the client is asked to come back
_RECYCLE_S = (
    1_800  # seconds after which an idle connection is made anew: servers and firewalls drop idle ones after hours
)
_EXTRAS = {"asyncmy": "mysql", "aiosqlite": "sqlite", "psycopg": "backend"}


def make_engine(url: str | URL, *, connections_max: int, seconds_max: float) -> AsyncEngine:
    """An engine for a URL; one without a driver gets the tested one.

    Raises ConfigError for what is no URL, whose driver is missing or not async, and for SQLite in memory.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as exc:
        raise ConfigError("This is no database URL.", hint="mysql+asyncmy://user:password@host/database") from exc
    if "+" not in parsed.drivername and parsed.drivername in DRIVERS:
        parsed = parsed.set(drivername=f"{parsed.drivername}+{DRIVERS[parsed.drivername]}")
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise ConfigError("A SQLite database in memory belongs to one connection.", hint='SQLitePersister("app.db")')
    options = _options(parsed, seconds_max)
    try:
        engine = create_async_engine(
            parsed,
            pool_size=connections_max,
            max_overflow=0,
            pool_timeout=min(_WAIT_FOR_CONNECTION_S, seconds_max),
            pool_recycle=_RECYCLE_S,
            hide_parameters=True,
            **options,
        )
    except ImportError as exc:
        extra = _EXTRAS.get(parsed.get_driver_name(), "")
        hint = f'pip install "syncline[backend,{extra}]"' if extra else f"Install the driver of {parsed.drivername}."
        raise ConfigError(f"The driver {parsed.get_driver_name()} is not installed.", hint=hint) from exc
    except (InvalidRequestError, NoSuchModuleError) as exc:
        message = f"{parsed.drivername} is no async driver that SQLAlchemy knows."
        raise ConfigError(message, hint="mysql+asyncmy, sqlite+aiosqlite, postgresql+psycopg") from exc
    if parsed.get_backend_name() == "sqlite":
        _prepare_sqlite(engine, busy_seconds=min(SQLITE_BUSY_SECONDS_MAX, seconds_max))
    return engine


def _options(url: URL, seconds_max: float) -> dict[str, Any]:
    if url.get_backend_name() not in ("mysql", "mariadb"):
        return {}
    from syncline.backend.persisters.sqlalchemy.databases.mysql import SESSION_SQL

    # A server that waits for a lock does not see that its client has gone: it must not wait longer than the client.
    session = SESSION_SQL.format(lock_seconds=max(1, math.ceil(seconds_max)))
    arguments: dict[str, Any] = {"init_command": session}
    if "charset" not in url.query:
        arguments["charset"] = "utf8mb4"
    return {"isolation_level": "READ COMMITTED", "connect_args": arguments}


def _prepare_sqlite(engine: AsyncEngine, *, busy_seconds: float) -> None:
    """WAL, so that readers and the writer do not wait for each other; a commit is on disk before the device hears of it."""

    def prepare(connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        for setting in (
            f"busy_timeout = {int(busy_seconds * 1000)}",
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
        ):
            cursor.execute(f"PRAGMA {setting}")
        cursor.close()

    event.listen(engine.sync_engine, "connect", prepare)
