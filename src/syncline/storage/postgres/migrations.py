"""The schema's layout: made and changed by the files of `sql/`, under a lock, all or nothing."""

from __future__ import annotations

from importlib import resources

import psycopg

from syncline.errors import StorageVersionUnsupported
from syncline.storage.postgres.connection import Row
from syncline.storage.postgres.errors import storage_errors
from syncline.storage.postgres.statements import SchemaSql

__all__ = ["LAYOUT", "migrate", "migrate_down", "stored_layout"]

LAYOUT = 2
"""The layout that this code reads and writes: the number of the last migration."""


_THERE = """
SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = 'storage_state'
"""


def stored_layout(connection: psycopg.Connection[Row], sql: SchemaSql) -> int:
    """The layout of the schema, 0 where there is none."""
    # By query: to_regclass answers from a cache that may not have heard yet what another connection has made.
    if connection.execute(_THERE, (sql.schema,)).fetchone() is None:
        return 0
    row = connection.execute(sql("SELECT layout FROM {schema}.storage_state")).fetchone()
    return row[0] if row is not None else 0


def migrate(connection: psycopg.Connection[Row], sql: SchemaSql) -> None:
    """Bring the schema to `LAYOUT`. Raises StorageVersionUnsupported when a newer Syncline wrote it, StorageUnavailable otherwise."""
    with storage_errors(database=connection.info.dbname, role=connection.info.user):
        if stored_layout(connection, sql) == LAYOUT:
            return
        with connection.transaction():
            _lock(connection, sql)
            layout = stored_layout(connection, sql)
            if layout > LAYOUT:
                raise StorageVersionUnsupported(
                    f"The storage schema {sql.schema} has layout {layout}, this Syncline knows {LAYOUT}.",
                    hint="Use the Syncline version that wrote it, or drop the schema: it is rebuilt from the source.\n"
                    f'DROP SCHEMA "{sql.schema}" CASCADE;',
                )
            if layout == 0:
                _make_schema(connection, sql)
            for number in range(layout + 1, LAYOUT + 1):
                connection.execute(sql(_script(number, "up")))
            connection.execute(sql("UPDATE {schema}.storage_state SET layout = %s"), (LAYOUT,))


def migrate_down(connection: psycopg.Connection[Row], sql: SchemaSql, *, to: int) -> None:
    """Take migrations back until the layout is `to`; 0 leaves an empty schema. Call while nothing uses the storage."""
    with storage_errors(database=connection.info.dbname, role=connection.info.user), connection.transaction():
        _lock(connection, sql)
        for number in range(stored_layout(connection, sql), to, -1):
            connection.execute(sql(_script(number, "down")))
        if to > 0:
            connection.execute(sql("UPDATE {schema}.storage_state SET layout = %s"), (to,))


def _lock(connection: psycopg.Connection[Row], sql: SchemaSql) -> None:
    """One migration at a time; let go at the end of the transaction."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (f"{sql.schema} migrations",))


def _make_schema(connection: psycopg.Connection[Row], sql: SchemaSql) -> None:
    """Not IF NOT EXISTS: that asks for the right to make one even where an administrator has made it."""
    there = connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (sql.schema,)).fetchone()
    if there is None:
        connection.execute(sql("CREATE SCHEMA {schema}"))


def _script(number: int, direction: str) -> str:
    return (
        resources.files("syncline.storage.postgres").joinpath("sql", f"{number:04}.{direction}.sql").read_text("utf-8")
    )
