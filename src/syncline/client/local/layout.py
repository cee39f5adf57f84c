"""Bring a file to schema version 14 and its tables to the app's schema, keeping the data (client SQLite reference, 1 and 4)."""

from __future__ import annotations

from collections.abc import Collection
from uuid import uuid4

import apsw

from syncline.client.local.base_tables import (
    CREATE_STATEMENTS,
    DOWN_MIGRATIONS,
    OLDEST_VERSION,
    SCHEMA_VERSION,
    UP_MIGRATIONS,
)
from syncline.client.local.connection import write_transaction
from syncline.client.local.crud_queue import TARGET_DIRTY, CrudQueue
from syncline.client.local.views import (
    AUTO_GENERATED,
    index_name,
    index_sql,
    quote_identifier,
    table_sql,
    trigger_sqls,
    view_sql,
)
from syncline.client.schema import Schema, Table
from syncline.errors import ClientError

__all__ = ["FileVersionUnsupported", "NameTaken", "clear", "client_id", "data_tables", "prepare", "renew_client_id"]

_LOCAL = "ps_data_local__"
_SYNCED = "ps_data__"


class FileVersionUnsupported(ClientError):
    """The file was written by a client with another layout. Nothing was changed."""


class NameTaken(ClientError):
    """The file has a table or view of the app's own under a name of the schema. Nothing was changed."""


def prepare(connection: apsw.Connection, schema: Schema) -> None:
    """Create or update the layout for `schema`, in one transaction; call outside of one, before anything else.

    Rows stay: those of a removed table go to `ps_untyped`, and come back when the table does. Rows of a removed local-only
    table are deleted. A file that fits already is not written to. Raises FileVersionUnsupported or NameTaken.
    """
    with write_transaction(connection, local_writes=False):
        _create_base_tables(connection)
        _drop_views(connection, wanted={table.view_name for table in schema.tables})
        _reconcile_tables(connection, schema)
        _reconcile_indexes(connection, schema)
        for table in schema.tables:
            _reconcile_view(connection, table)


def client_id(connection: apsw.Connection) -> str:
    """The id of this database: set when the file is made, sent with every request. Raises ClientError without one."""
    for (value,) in connection.execute("SELECT value FROM ps_kv WHERE key = 'client_id'"):
        return str(value)
    raise ClientError(
        "The database has no client id.",
        hint="Its table ps_kv was emptied: delete the file, and let it sync again from the service.",
    )


def renew_client_id(connection: apsw.Connection) -> str:
    """Take a new client id; called inside a write transaction. The upload queue stays.

    Write checkpoints are numbered per client id: the old numbers are forgotten, and the gate is closed until one of the new id is
    requested.
    """
    renewed = str(uuid4())
    connection.execute(
        "DELETE FROM ps_kv WHERE key IN ('last_seen_checkpoint_request_id', 'last_applied_checkpoint_request_id')"
    )
    connection.execute("INSERT OR REPLACE INTO ps_kv(key, value) VALUES ('client_id', ?)", (renewed,))
    CrudQueue(connection).set_target(TARGET_DIRTY)
    return renewed


def data_tables(connection: apsw.Connection, *, local: bool = False) -> list[str]:
    """Names of the tables with JSON rows: synced and insert-only ones, or local-only ones."""
    return [
        str(name)
        for (name,) in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB 'ps_data_*'"
        )
        if str(name).startswith(_LOCAL if local else _SYNCED)
    ]


def clear(connection: apsw.Connection, clear_local: bool = False) -> None:
    """Delete everything that was synced or queued, in the caller's write transaction (client SQLite reference, 13).

    The client id stays, and so do the counters of transactions and crud entries. Local-only rows go with `clear_local`.
    """
    for table in (
        "ps_crud",
        "ps_oplog",
        "ps_buckets",
        "ps_untyped",
        "ps_updated_rows",
        "ps_stream_subscriptions",
        "ps_sync_state",
    ):
        connection.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names
    connection.execute("DELETE FROM ps_kv WHERE key <> 'client_id'")
    tables = data_tables(connection) + (data_tables(connection, local=True) if clear_local else [])
    for table in map(quote_identifier, tables):
        # One row first: SQLite truncates a whole table without calling the update hooks that watches rest on.
        connection.execute(f"DELETE FROM {table} WHERE rowid = (SELECT rowid FROM {table} LIMIT 1)")  # noqa: S608
        connection.execute(f"DELETE FROM {table}")  # noqa: S608


def _create_base_tables(connection: apsw.Connection) -> None:
    version = 0
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'ps_migration'").fetchall():
        [(found,)] = connection.execute("SELECT ifnull(max(id), 0) FROM ps_migration").fetchall()
        version = int(str(found))
    if version == SCHEMA_VERSION:
        return
    if OLDEST_VERSION <= version < SCHEMA_VERSION:
        _upgrade(connection, version)
        return
    if version:
        raise FileVersionUnsupported(
            f"The database file has layout version {version}; this client works with {SCHEMA_VERSION}.",
            hint="Update Syncline to open it."
            if version > SCHEMA_VERSION
            else "Open it once with a current official SDK, which brings it up to date, or start with a new file.",
            version=version,
        )
    for statement in CREATE_STATEMENTS:
        connection.execute(statement)
    connection.executemany("INSERT INTO ps_migration(id, down_migrations) VALUES (?, ?)", DOWN_MIGRATIONS)
    connection.execute("INSERT INTO ps_tx(id, current_tx, next_tx) VALUES (1, NULL, 1)")
    connection.execute("INSERT INTO ps_kv(key, value) VALUES ('client_id', ?)", (str(uuid4()),))


def _upgrade(connection: apsw.Connection, version: int) -> None:
    """Bring the file of an older SDK to our version; its views are made again afterwards."""
    _drop_views(connection, wanted=frozenset())
    down = dict(DOWN_MIGRATIONS)
    for step in range(version + 1, SCHEMA_VERSION + 1):
        for statement in UP_MIGRATIONS[step]:
            connection.execute(statement)
        connection.execute("INSERT INTO ps_migration(id, down_migrations) VALUES (?, ?)", (step, down[step]))


def _drop_views(connection: apsw.Connection, *, wanted: Collection[str]) -> None:
    """Drop generated views that are not wanted."""
    views = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'view' AND sql GLOB ?", ("*" + AUTO_GENERATED,)
    ).fetchall()
    for (name,) in views:
        if str(name) not in wanted:
            connection.execute(f"DROP VIEW {quote_identifier(str(name))}")


def _reconcile_tables(connection: apsw.Connection, schema: Schema) -> None:
    existing = {*data_tables(connection), *data_tables(connection, local=True)}
    wanted = {table.internal_name: table for table in schema.tables}
    for name in existing - wanted.keys():
        if not name.startswith(_LOCAL):
            connection.execute(
                f"INSERT OR REPLACE INTO ps_untyped(type, id, data) SELECT ?, id, data FROM {quote_identifier(name)}",  # noqa: S608
                (name.removeprefix(_SYNCED),),
            )
        connection.execute(f"DROP TABLE {quote_identifier(name)}")
    for name, table in wanted.items():
        if name in existing:
            continue
        connection.execute(table_sql(table))
        if not table.local_only:
            connection.execute(
                f"INSERT INTO {quote_identifier(name)}(id, data) SELECT id, data FROM ps_untyped WHERE type = ?",  # noqa: S608
                (table.name,),
            )
            connection.execute("DELETE FROM ps_untyped WHERE type = ?", (table.name,))


def _reconcile_indexes(connection: apsw.Connection, schema: Schema) -> None:
    wanted = {index_name(table, index): index_sql(table, index) for table in schema.tables for index in table.indexes}
    existing = {
        str(name): str(sql)
        for name, sql in connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND name GLOB 'ps_data_*' AND sql IS NOT NULL"
        )
    }
    for name, sql in existing.items():
        if wanted.get(name) != sql:
            connection.execute(f"DROP INDEX {quote_identifier(name)}")
    for name, sql in wanted.items():
        if existing.get(name) != sql:
            connection.execute(sql)


def _reconcile_view(connection: apsw.Connection, table: Table) -> None:
    view, triggers = view_sql(table), trigger_sqls(table)
    found = connection.execute(
        "SELECT type, sql FROM sqlite_master WHERE name = ? COLLATE NOCASE AND type IN ('view', 'table')",
        (table.view_name,),
    ).fetchall()
    if found:
        [(kind, sql)] = found
        if kind != "view" or not str(sql).endswith(AUTO_GENERATED):
            raise NameTaken(
                f'The database has a {kind} "{table.view_name}" of its own; the schema names a table so.',
                hint=f'Rename one of them: in the schema with view_name="…", in the file with ALTER TABLE or DROP {str(kind).upper()}.',
            )
        # Others' triggers on the view may stay as long as the view does.
        existing = {
            str(name): str(text)
            for name, text in connection.execute(
                "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ? AND name GLOB 'ps_view_*'",
                (table.view_name,),
            )
        }
        if sql == view and existing == triggers:
            return
        connection.execute(f"DROP VIEW {quote_identifier(table.view_name)}")
    connection.execute(view)
    for text in triggers.values():
        connection.execute(text)
