"""Opening the storage's SQLite files, and running their schema."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

import apsw

from syncline.errors import StorageUnavailable, StorageVersionUnsupported

__all__ = ["SCHEMA_VERSION", "ensure_schema", "open_connection", "read_transaction", "write_transaction"]

SCHEMA_VERSION = 1
BUSY_TIMEOUT_MS = 10_000  # a second process that migrates or compacts holds the file for this long at most
CACHE_KIB = 65_536  # page cache of one connection: random row keys of a 200,000-row table stay in it
JOURNAL_BYTES_MAX = 64 * 1024 * 1024  # the write-ahead log is cut back to this after a checkpoint of SQLite's
CHECKPOINT_PAGES = (
    12_288  # pages in the write-ahead log (48 MB) from which SQLite moves them: fewer, larger moves are cheaper
)


def open_connection(path: Path, *, read_only: bool = False) -> apsw.Connection:
    """Open a file with the settings that every connection shares. Raises StorageUnavailable with the path's own reason."""
    flags = apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    try:
        connection = apsw.Connection(str(path), flags=flags)
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        if not read_only:
            connection.execute("PRAGMA journal_mode=WAL").fetchall()
            connection.execute(f"PRAGMA journal_size_limit={JOURNAL_BYTES_MAX}").fetchall()
            connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}").fetchall()
        connection.execute("PRAGMA synchronous=NORMAL").fetchall()
        connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}").fetchall()
    except apsw.Error as exc:
        raise StorageUnavailable(
            f"The storage file {path} cannot be opened: {exc}",
            hint="Check that the folder of storage.path exists and is writable by this user.",
        ) from exc
    return connection


def ensure_schema(connection: apsw.Connection, *, schema: str, meta_table: str) -> None:
    """Create the tables of `sql/<schema>.sql` in an empty file; refuse a file that a newer version wrote."""
    with write_transaction(connection):
        known = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (meta_table,)).fetchall()
        if not known:
            sql = resources.files("syncline.storage.sqlite").joinpath("sql", f"{schema}.sql").read_text("utf-8")
            connection.execute(sql).fetchall()
        found = connection.execute(f"SELECT value FROM {meta_table} WHERE key = 'schema_version'").get  # noqa: S608
        if found != SCHEMA_VERSION:
            raise StorageVersionUnsupported(
                f"The storage file has layout version {found}, this Syncline knows {SCHEMA_VERSION}.",
                hint="Use the Syncline version that wrote it, or delete the storage files: they are rebuilt from the source.",
            )


@contextmanager
def write_transaction(connection: apsw.Connection) -> Generator[None]:
    """One write transaction: BEGIN IMMEDIATE, so that it never fails half-way for want of the lock."""
    connection.execute("BEGIN IMMEDIATE").fetchall()
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK").fetchall()
        raise
    connection.execute("COMMIT").fetchall()


@contextmanager
def read_transaction(connection: apsw.Connection) -> Generator[None]:
    """One read transaction: every statement in it sees the same state of the file."""
    connection.execute("BEGIN").fetchall()
    try:
        yield
    finally:
        connection.execute("COMMIT").fetchall()
