"""Whatever version of the layout a file has: bring it to ours (client SQLite reference, 1)."""

from __future__ import annotations

from uuid import uuid4

import apsw
import msgspec

from syncline.client.local.base_tables import CREATE_STATEMENTS, SCHEMA_VERSION
from syncline.client.local.data_tables import data_tables
from syncline.client.local.down_migrations import DOWN_MIGRATIONS
from syncline.client.local.sql_text import quote_identifier
from syncline.client.local.subkeys import migrate_subkeys
from syncline.client.local.up_migrations import UP_MIGRATIONS
from syncline.client.local.views import AUTO_GENERATED
from syncline.errors import ClientError

__all__ = ["DOWN_STATEMENTS_MAX", "FileVersionUnsupported", "bring_down", "migrate"]

DOWN_STATEMENTS_MAX = 1000  # statements that a newer file may bring along to become ours
_UPDATE = "Update Syncline to open it."


class FileVersionUnsupported(ClientError):
    """The file was written by a client with another layout. Nothing was changed."""


class _DownStatement(msgspec.Struct):
    """One element of `ps_migration.down_migrations`."""

    sql: str
    params: list[str | int | float | None] = []


def migrate(connection: apsw.Connection) -> None:
    """Bring the internal tables to version 14, from nothing, from an older or from a newer version; in the caller's transaction.

    A newer file is brought down by the statements that it carries for this. Raises FileVersionUnsupported when it has none or they
    fail; the caller then rolls back.
    """
    version = _version(connection)
    if version > SCHEMA_VERSION:
        version = bring_down(connection, version, SCHEMA_VERSION)
    if version == 0:
        _create(connection)
    elif version < SCHEMA_VERSION:
        _upgrade(connection, version)
    # A file that is shipped with an app has no client id yet: every copy of it becomes a client of its own.
    if not connection.execute("SELECT 1 FROM ps_kv WHERE key = 'client_id'").fetchall():
        connection.execute("INSERT INTO ps_kv(key, value) VALUES ('client_id', ?)", (str(uuid4()),))
    migrate_subkeys(connection)


def _version(connection: apsw.Connection) -> int:
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'ps_migration'").fetchall():
        return 0
    [(found,)] = connection.execute("SELECT ifnull(max(id), 0) FROM ps_migration").fetchall()
    return int(str(found))


def _create(connection: apsw.Connection) -> None:
    for statement in CREATE_STATEMENTS:
        # A file in which a client was stopped before its first version has this table, empty.
        connection.execute(statement.replace("CREATE TABLE ps_migration", "CREATE TABLE IF NOT EXISTS ps_migration", 1))
    connection.executemany("INSERT INTO ps_migration(id, down_migrations) VALUES (?, ?)", DOWN_MIGRATIONS)
    connection.execute("INSERT INTO ps_tx(id, current_tx, next_tx) VALUES (1, NULL, 1)")


def _upgrade(connection: apsw.Connection, version: int) -> None:
    """Bring the file of an older SDK to our version; its views are made again afterwards."""
    for (name,) in connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'view' AND sql GLOB ?", ("*" + AUTO_GENERATED,)
    ).fetchall():
        connection.execute(f"DROP VIEW {quote_identifier(str(name))}")
    down = dict(DOWN_MIGRATIONS)
    for step in range(version + 1, SCHEMA_VERSION + 1):
        for statement in UP_MIGRATIONS[step]:
            connection.execute(statement)
        if step == 6:
            _mark_dangling_rows(connection)
        connection.execute("INSERT INTO ps_migration(id, down_migrations) VALUES (?, ?)", (step, down[step]))


def _mark_dangling_rows(connection: apsw.Connection) -> None:
    """Clients before version 6 could leave rows behind that no operation stands for: the next apply derives them again."""
    for table in data_tables(connection):
        row_type = table.removeprefix("ps_data__")
        connection.execute(
            "INSERT OR IGNORE INTO ps_updated_rows(row_type, row_id)"  # noqa: S608 - a quoted name
            f" SELECT ?, t.id FROM {quote_identifier(table)} AS t WHERE NOT EXISTS"
            " (SELECT 1 FROM ps_oplog AS o WHERE o.row_type = ? AND o.row_id = t.id)",
            (row_type, row_type),
        )


def bring_down(connection: apsw.Connection, version: int, target: int) -> int:
    """Run what newer clients have left for older ones, version by version; returns the version reached, at most `target`.

    In the caller's transaction. Raises FileVersionUnsupported.
    """
    ran = 0
    while version > target:
        [(text,)] = connection.execute("SELECT down_migrations FROM ps_migration WHERE id = ?", (version,)).fetchall()
        try:
            statements = msgspec.json.decode(str(text or "[]"), type=list[_DownStatement])
        except msgspec.MsgspecError as exc:
            raise _unsupported(version, _UPDATE) from exc
        ran += len(statements)
        if not statements or ran > DOWN_STATEMENTS_MAX:
            raise _unsupported(version, _UPDATE)
        try:
            for statement in statements:
                connection.execute(statement.sql, tuple(statement.params)).fetchall()
        except apsw.Error as exc:
            raise _unsupported(version, _UPDATE) from exc
        reached = _version(connection)
        if reached >= version:
            raise _unsupported(version, _UPDATE)
        version = reached
    return version


def _unsupported(version: int, hint: str) -> FileVersionUnsupported:
    return FileVersionUnsupported(
        f"The database file has layout version {version}; this client works with {SCHEMA_VERSION}.",
        hint=hint,
        version=version,
    )
