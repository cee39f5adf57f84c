"""Bucket storage as commands see it: its layout, migrations, removal. One interface over both kinds.

Layouts are counted from 1; 0 stands for a storage that is not there.
"""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import Protocol

import psycopg

from syncline.errors import StorageUnavailable, StorageVersionUnsupported
from syncline.service.config import ServiceConfig
from syncline.service.conninfo import Closing, conninfo
from syncline.service.exit_codes import CommandInvalid
from syncline.storage.base import BucketStorage
from syncline.storage.postgres import PostgresStorage
from syncline.storage.postgres import migrations as postgres_migrations
from syncline.storage.postgres.connection import connect
from syncline.storage.postgres.statements import SchemaSql
from syncline.storage.sqlite import SqliteStorage
from syncline.storage.sqlite import migrations as sqlite_migrations
from syncline.storage.sqlite.connection import open_connection
from syncline.storage.sqlite.lease import locked

__all__ = ["StorageAdmin", "check_down", "check_layout", "open_admin"]

log = logging.getLogger(__name__)

_SQLITE_FILES = ("storage.db", "control.db")
_SUFFIXES = ("", "-wal", "-shm")


class StorageAdmin(Protocol):
    """One storage. All calls block; they raise StorageUnavailable where it cannot be reached, or (PSYNC_S1003) is in use."""

    @property
    def layout(self) -> int:
        """The layout that this release reads and writes."""
        ...

    @property
    def name(self) -> str:
        """Where it is, for people."""
        ...

    def stored_layout(self) -> int:
        """The layout that is stored, 0 for nothing. Makes nothing."""
        ...

    def migrate_up(self) -> None:
        """Bring it to `layout`."""
        ...

    def migrate_down(self, to: int) -> None:
        """Bring it back to an older layout, for a return to an older release; 0 removes everything."""
        ...

    def open(self) -> BucketStorage:
        """The storage itself."""
        ...


def open_admin(config: ServiceConfig, closing: Closing) -> StorageAdmin:
    """The storage that the configuration names."""
    postgres = config.storage_postgres
    if postgres is None:
        return SqliteAdmin(config.storage_path)
    return PostgresAdmin(conninfo(postgres.address, closing), postgres.schema, postgres.address.masked)


def check_layout(config: ServiceConfig, *, may_migrate: bool) -> None:
    """Raise where this process would have to migrate and may not: `disable_auto_migration`, or a process that only serves.

    A storage that is not there yet is made by anybody, unless `disable_auto_migration` is set.
    """
    disabled = config.settings.migrations.disable_auto_migration
    if may_migrate and not disabled:
        return
    with contextlib.ExitStack() as closing:
        admin = open_admin(config, closing)
        stored = admin.stored_layout()
        if stored == admin.layout or (stored == 0 and not disabled):
            return
        why = "migrations.disable_auto_migration is set" if disabled else "a process with -r api migrates nothing"
        raise StorageVersionUnsupported(
            f"{admin.name} has layout {stored}, this release needs {admin.layout}, and {why}.",
            hint="Run: syncline migrate up",
        )


class SqliteAdmin:
    """A folder with the files of SQLite storage."""

    layout = sqlite_migrations.LAYOUT

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.name = f"The storage {directory}"

    def stored_layout(self) -> int:
        """The layout of `storage.db`."""
        path = self._directory / "storage.db"
        if not path.exists():
            return 0
        connection = open_connection(path, read_only=True)
        try:
            if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'storage_meta'").fetchall():
                return 0
            return connection.execute("SELECT value FROM storage_meta WHERE key = 'schema_version'").get
        finally:
            connection.close()

    def migrate_up(self) -> None:
        """Make the folder, and bring both files to `layout`."""
        self.open()
        sqlite_migrations.migrate(self._directory, to=self.layout)

    def migrate_down(self, to: int) -> None:
        """Back to `to`; 0 removes the files. The lock's own file stays: another process may be waiting at it."""
        if to > 0:
            sqlite_migrations.migrate(self._directory, to=to)
            return
        with locked(self._directory / "storage.lock"):
            for name in _SQLITE_FILES:
                for suffix in _SUFFIXES:
                    (self._directory / f"{name}{suffix}").unlink(missing_ok=True)

    def open(self) -> SqliteStorage:
        """The storage itself."""
        return SqliteStorage(self._directory)


class PostgresAdmin:
    """A schema of a database."""

    layout = postgres_migrations.LAYOUT

    def __init__(self, connection_string: str, schema: str, masked: str) -> None:
        self._conninfo = connection_string
        self._sql = SchemaSql(schema)
        self.name = f"The storage schema {schema} of {masked}"

    def stored_layout(self) -> int:
        """The layout of the schema."""
        with contextlib.closing(connect(self._conninfo, application_name="syncline layout")) as connection:
            return postgres_migrations.stored_layout(connection, self._sql)

    def migrate_up(self) -> None:
        """Make the schema, and bring it to `layout`."""
        with contextlib.closing(connect(self._conninfo, application_name="syncline migrate")) as connection:
            postgres_migrations.migrate(connection, self._sql)

    def migrate_down(self, to: int) -> None:
        """Back to `to`; 0 removes the tables, and the schema where nothing else is in it and the role may."""
        self.open().open_writer().close()  # raises PSYNC_S1003 while a service uses it
        with contextlib.closing(connect(self._conninfo, application_name="syncline migrate")) as connection:
            postgres_migrations.migrate_down(connection, self._sql, to=to)
            if to == 0:
                try:
                    connection.execute(self._sql("DROP SCHEMA IF EXISTS {schema}"))
                except psycopg.Error as exc:
                    log.info(
                        "The empty schema stays: %s", exc.diag.message_primary, extra={"event": "storage.schema_left"}
                    )

    def open(self) -> PostgresStorage:
        """The storage itself."""
        return PostgresStorage(self._conninfo, schema=self._sql.schema)


def check_down(admin: StorageAdmin, to: int) -> None:
    """Raise CommandInvalid for a layout that cannot be gone back to, StorageUnavailable where nothing is stored."""
    stored = admin.stored_layout()
    if stored == 0:
        raise StorageUnavailable(f"{admin.name} is empty: there is nothing to migrate down.")
    if not 0 <= to < stored:
        raise CommandInvalid(f"{admin.name} has layout {stored}: --to takes 0 to {stored - 1}.")
