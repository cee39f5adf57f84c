"""Bring a file to schema version 14 and its tables to the app's schema, keeping the data (client SQLite reference, 1 and 4)."""

from __future__ import annotations

from collections.abc import Collection
from uuid import uuid4

import apsw

from syncline.client.local.clearing import clear
from syncline.client.local.connection import write_transaction
from syncline.client.local.crud_queue import TARGET_DIRTY, CrudQueue
from syncline.client.local.data_tables import LOCAL_PREFIX, SYNCED_PREFIX, data_tables
from syncline.client.local.gate import FORGET_SEEN
from syncline.client.local.local_connection import LocalConnection
from syncline.client.local.migrations import FileVersionUnsupported, migrate
from syncline.client.local.raw_capture import reconcile_capture
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


class NameTaken(ClientError):
    """The file has a table or view of the app's own under a name of the schema. Nothing was changed."""


def prepare(connection: apsw.Connection, schema: Schema) -> None:
    """Create or update the layout for `schema`, in one transaction; call outside of one, before anything else.

    Rows stay: those of a removed table go to `ps_untyped`, and come back when the table does. Rows of a removed local-only
    table are deleted. A file that fits already is not written to. Raises FileVersionUnsupported or NameTaken.
    """
    with write_transaction(connection, local_writes=False):
        migrate(connection)
        _drop_views(connection, wanted={table.view_name for table in schema.tables})
        _reconcile_tables(connection, schema)
        _reconcile_indexes(connection, schema)
        for table in schema.tables:
            _reconcile_view(connection, table)
        reconcile_capture(connection, schema.raw_tables)
    if isinstance(connection, LocalConnection):
        connection.raw_tables = schema.raw_tables


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
    connection.execute(FORGET_SEEN)
    connection.execute("INSERT OR REPLACE INTO ps_kv(key, value) VALUES ('client_id', ?)", (renewed,))
    CrudQueue(connection).set_target(TARGET_DIRTY)
    return renewed


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
        if not name.startswith(LOCAL_PREFIX):
            connection.execute(
                f"INSERT OR REPLACE INTO ps_untyped(type, id, data) SELECT ?, id, data FROM {quote_identifier(name)}",  # noqa: S608 - quoted names
                (name.removeprefix(SYNCED_PREFIX),),
            )
        connection.execute(f"DROP TABLE {quote_identifier(name)}")
    for name, table in wanted.items():
        if name in existing:
            continue
        connection.execute(table_sql(table))
        if not table.local_only:
            connection.execute(
                f"INSERT INTO {quote_identifier(name)}(id, data) SELECT id, data FROM ps_untyped WHERE type = ?",  # noqa: S608 - quoted names
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
