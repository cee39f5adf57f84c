"""Opening the storage's SQLite files, and transactions whose failures say what to do."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import apsw

from syncline.errors import StorageUnavailable

__all__ = ["file_errors", "open_connection", "read_transaction", "write_transaction"]

BUSY_TIMEOUT_MS = 10_000  # a second process that migrates or compacts holds the file for this long at most
CACHE_KIB = 65_536  # page cache of one connection: random row keys of a 200,000-row table stay in it
JOURNAL_BYTES_MAX = 64 * 1024 * 1024  # the write-ahead log is cut back to this after a checkpoint of SQLite's
CHECKPOINT_PAGES = (
    12_288  # pages in the write-ahead log (48 MB) from which SQLite moves them: fewer, larger moves are cheaper
)
_HINTS: tuple[tuple[type[apsw.Error], str], ...] = (
    (
        apsw.FullError,
        "Free space on that disk, or set storage.path to a larger one. It goes on by itself; nothing is lost.",
    ),
    (apsw.IOError, "Check that disk (dmesg, file system, quota). It goes on by itself once the disk answers."),
    (apsw.CorruptError, "Stop the service and delete the storage files: they are rebuilt from the source."),
    (apsw.NotADBError, "Stop the service and delete the storage files: they are rebuilt from the source."),
    (apsw.ReadOnlyError, "Make the folder of storage.path and its files writable for this user."),
    (apsw.BusyError, "Another process holds the file: end what works on it besides the service."),
    (apsw.LockedError, "Another process holds the file: end what works on it besides the service."),
    (apsw.CantOpenError, "Check that the folder of storage.path exists and is writable by this user."),
)
"""Failures of the file itself, not of our statements, and what to do about each."""


def open_connection(path: Path, *, read_only: bool = False) -> apsw.Connection:
    """Open a file with the settings that every connection shares. Raises StorageUnavailable with the path's own reason."""
    flags = apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    with file_errors(str(path)):
        connection = apsw.Connection(str(path), flags=flags)
        try:
            connection.set_busy_timeout(BUSY_TIMEOUT_MS)
            if not read_only:
                connection.execute("PRAGMA journal_mode=WAL").fetchall()
                connection.execute(f"PRAGMA journal_size_limit={JOURNAL_BYTES_MAX}").fetchall()
                connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}").fetchall()
            connection.execute("PRAGMA synchronous=NORMAL").fetchall()
            connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}").fetchall()
        except BaseException:
            connection.close()
            raise
    return connection


@contextmanager
def write_transaction(connection: apsw.Connection) -> Generator[None]:
    """One write transaction: BEGIN IMMEDIATE, so that it never fails half-way for want of the lock.

    Whatever fails, nothing of it is kept. Raises StorageUnavailable where the disk is full or does not answer.
    """
    with file_errors(connection.filename):
        connection.execute("BEGIN IMMEDIATE").fetchall()
        try:
            yield
            connection.execute("COMMIT").fetchall()
        except BaseException:
            if connection.in_transaction:  # SQLite itself takes back what met a full disk
                connection.execute("ROLLBACK").fetchall()
            raise


@contextmanager
def read_transaction(connection: apsw.Connection) -> Generator[None]:
    """One read transaction: every statement in it sees the same state of the file. Raises StorageUnavailable as writing does."""
    with file_errors(connection.filename):
        connection.execute("BEGIN").fetchall()
        try:
            yield
        finally:
            if connection.in_transaction:
                connection.execute("COMMIT").fetchall()


@contextmanager
def file_errors(filename: str) -> Generator[None]:
    """Raise StorageUnavailable (PSYNC_S2402) for what is wrong with a file: which path, how much space is left, what to do."""
    try:
        yield
    except apsw.Error as exc:
        hint = next((hint for kind, hint in _HINTS if isinstance(exc, kind)), None)
        if hint is None:
            raise  # a statement of ours is wrong: no matter of the disk
        path = Path(filename)
        raise StorageUnavailable(
            f"The storage file {path} cannot be used: {exc} ({_free_space(path)}).", hint=hint, path=str(path)
        ) from exc


def _free_space(path: Path) -> str:
    try:
        return f"{shutil.disk_usage(path.parent).free // 1_000_000} MB are free on its disk"
    except OSError:
        return "its folder cannot be read"
