"""What differs from database to database: `base` (the contract, and what every database with SQL can do), one module for each.

`database_of` picks by the engine's dialect. Facts: docs/reference/write-path.md, 5.
"""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncEngine

from syncline.backend.persisters.sqlalchemy.databases.base import Database

__all__ = ["Database", "database_of"]


def database_of(engine: AsyncEngine, *, is_prepared: bool = False) -> Database:
    """The module for an engine's database; modules are loaded when they are needed, for each knows a driver.

    `is_prepared` says that the engine's connections have the settings that we want already.
    """
    name = engine.dialect.name
    if name == "postgresql":
        from syncline.backend.persisters.sqlalchemy.databases.postgres import PostgresDatabase

        return PostgresDatabase()
    if name in ("mysql", "mariadb"):
        from syncline.backend.persisters.sqlalchemy.databases.mysql import MySQLDatabase

        return MySQLDatabase(is_prepared=is_prepared)
    if name == "sqlite":
        from syncline.backend.persisters.sqlalchemy.databases.sqlite import SQLiteDatabase

        return SQLiteDatabase()
    return Database()
