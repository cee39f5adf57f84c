"""The connection that writes the device's file, and what it knows beyond SQLite: raw tables, and whether sync is writing."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import apsw

from syncline.client.schema_raw import RawTable

__all__ = ["IN_SYNC_KEY", "LocalConnection", "raw_tables_of", "sync_writes"]

IN_SYNC_KEY = (
    "py_in_sync"  # row of ps_kv while sync writes to the app's tables: never visible outside of its transaction
)


class LocalConnection(apsw.Connection):
    """A connection with the raw tables of the schema, which are in no table of the file (client SQLite reference, 7)."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        # apsw opens the file in __new__ and __init__ alike: both take its arguments.
        super().__init__(*args, **kwargs)  # pyright: ignore[reportArgumentType]  # passed on
        self.raw_tables: tuple[RawTable, ...] = ()
        self.in_sync = False


def raw_tables_of(connection: apsw.Connection) -> tuple[RawTable, ...]:
    """The raw tables of the schema that the file was prepared for; none on a connection that was opened in another way."""
    return connection.raw_tables if isinstance(connection, LocalConnection) else ()


@contextmanager
def sync_writes(connection: apsw.Connection) -> Generator[None]:
    """Inside of this block triggers can see that it is sync that writes, in the caller's transaction.

    Triggers of the field's clients ask `powersync_in_sync_operation()`, and so do ours. One that shall work on any connection of
    this client asks `EXISTS (SELECT 1 FROM ps_kv WHERE key = 'py_in_sync')`, without a function.
    """
    if not isinstance(connection, LocalConnection):
        yield
        return
    marked = bool(connection.raw_tables)
    connection.in_sync = True
    try:
        if marked:
            connection.execute("INSERT OR REPLACE INTO ps_kv(key, value) VALUES (?, 1)", (IN_SYNC_KEY,))
        yield
        if marked:
            connection.execute("DELETE FROM ps_kv WHERE key = ?", (IN_SYNC_KEY,))
    finally:
        connection.in_sync = False
