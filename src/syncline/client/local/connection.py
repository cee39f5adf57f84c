"""Opening the device's SQLite file, and transactions on it."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import apsw

from syncline.client.encryption import EncryptionKey, FileUnreadable, unlock
from syncline.client.local.field_functions import register_field_functions
from syncline.client.local.local_connection import LocalConnection

__all__ = ["BUSY_TIMEOUT_MS", "CACHE_KIB", "JOURNAL_BYTES_MAX", "open_reader", "open_writer", "write_transaction"]

BUSY_TIMEOUT_MS = 30_000  # milliseconds to wait for another writer of the file
CACHE_KIB = 50 * 1024  # KiB of pages in memory; with SQLite's 2 MB, updates through the triggers are seven times slower
CHECKPOINT_PAGES = (
    16_384  # pages of the write-ahead log (64 MB) from which SQLite moves them: a first sync rewrites fewer pages
)
JOURNAL_BYTES_MAX = 6 * 1024 * 1024  # bytes that the write-ahead log keeps on disk after a checkpoint
UUIDS_AHEAD = 256  # UUIDs made from one read of random bytes (4 KiB)

# RFC 9562: the two high bits of this digit are 10.
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
_BEGIN_TX = """
UPDATE ps_tx SET (current_tx, next_tx) = (
  SELECT id, id + 1 FROM (
    SELECT ps_tx.next_tx + ifnull(ps_tx.next_tx = (SELECT tx_id FROM ps_crud ORDER BY ps_crud.id DESC LIMIT 1), 0) AS id
  )
) WHERE id = 1
"""
_END_TX = "UPDATE ps_tx SET current_tx = NULL WHERE id = 1"


def open_writer(path: str | os.PathLike[str], *, key: EncryptionKey | None = None) -> apsw.Connection:
    """Open the connection that writes; creates the file. `":memory:"` is possible. Raises FileUnreadable, apsw.Error.

    WAL with synchronous=NORMAL: a commit survives the end of the process, and readers never wait.
    """
    connection = _open(path, apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE, key)
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        f"journal_size_limit={JOURNAL_BYTES_MAX}",
        f"wal_autocheckpoint={CHECKPOINT_PAGES}",
    ):
        _pragma(connection, pragma)
    register_field_functions(connection)
    # INSERT OR REPLACE into a view deletes the old row, whose triggers must run (client SQLite reference, 4).
    _pragma(connection, "recursive_triggers=ON")
    return connection


def open_reader(path: str | os.PathLike[str], *, key: EncryptionKey | None = None) -> apsw.Connection:
    """Open a connection that cannot write. The file must exist. Raises FileUnreadable, apsw.Error."""
    connection = _open(path, apsw.SQLITE_OPEN_READONLY, key)
    _pragma(connection, "query_only=ON")
    return connection


@contextmanager
def write_transaction(connection: apsw.Connection, *, local_writes: bool = True) -> Generator[None]:
    """BEGIN IMMEDIATE, COMMIT, or ROLLBACK on any error.

    With `local_writes` the transaction gets an id of its own, which the triggers write to every entry of the upload queue.
    Connections that do not do so (another process, a database browser) use the pending id `next_tx` in every commit; when the
    newest entry has this id it is skipped here, so that no transaction of ours ever joins theirs. Sync itself needs no id.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        if local_writes:
            connection.execute(_BEGIN_TX)
        yield
        if local_writes:
            connection.execute(_END_TX)
        connection.execute("COMMIT")
    except BaseException:
        # SQLite has rolled back by itself after some errors (disk full, I/O error).
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _open(path: str | os.PathLike[str], flags: int, key: EncryptionKey | None) -> LocalConnection:
    try:
        connection = LocalConnection(os.fspath(path), flags=flags)
    except apsw.CantOpenError as exc:
        raise FileUnreadable(
            f"The database file {os.fspath(path)!r} cannot be opened.",
            hint="Its folder must exist, and the app must be allowed to write there.",
        ) from exc
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    unlock(connection, key)
    _configure(connection)
    return connection


def _configure(connection: apsw.Connection) -> None:
    _pragma(connection, f"cache_size=-{CACHE_KIB}")
    uuids = _uuids()  # of this connection alone: a generator cannot be shared between threads
    for name in ("uuid", "gen_random_uuid"):
        connection.create_scalar_function(name, uuids.__next__, 0)  # pyright: ignore[reportArgumentType] - called with no argument


def _uuids() -> Iterator[str]:
    """Random (version 4) UUIDs as text, without end: what ids of new rows are made of.

    `str(uuid4())` took half of the time of an insert: this reads random bytes for many, and slices.
    """
    while True:
        digits = os.urandom(16 * UUIDS_AHEAD).hex()
        for start in range(0, len(digits), 32):
            text = digits[start : start + 32]
            yield f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{_VARIANT[text[16]]}{text[17:20]}-{text[20:]}"


def _pragma(connection: apsw.Connection, setting: str) -> None:
    # Fetched, because apsw runs a statement only as far as its rows are read.
    connection.execute(f"PRAGMA {setting}").fetchall()
