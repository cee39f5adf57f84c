"""The local database of an app: read and write it at once, online or not; connected, it syncs."""

from __future__ import annotations

from typing import ClassVar

import apsw

from syncline.client.database_checkpoints import CheckpointMethods
from syncline.client.database_parts import READERS, DatabaseParts
from syncline.client.database_schema import SchemaMethods
from syncline.client.database_search import SearchMethods
from syncline.client.database_uploads import UploadMethods
from syncline.client.errors import DatabaseClosed, DatabaseNotInitialized
from syncline.client.local import layout
from syncline.client.mutators.methods import MutatorMethods
from syncline.client.pending_changes import PendingChanges

__all__ = ["READERS", "SyncDatabase", "get_database", "reset_database"]

_opened: list[SyncDatabase] = []


def get_database() -> SyncDatabase:
    """The database that this process opened last. Raises DatabaseNotInitialized when none is open."""
    if not _opened:
        raise DatabaseNotInitialized(
            "No database is open.", hint="Open one first: `async with SyncDatabase(path, schema=schema)`."
        )
    return _opened[-1]


async def reset_database() -> None:
    """Close and forget every database that was opened in this event loop: for a sign-out, or between tests. The files stay."""
    while _opened:
        await _opened[-1].close()


class SyncDatabase(MutatorMethods, SearchMethods, CheckpointMethods, UploadMethods, SchemaMethods):
    """One SQLite file that syncs.

    >>> async with SyncDatabase("app.db", schema=schema) as db:
    ...     await db.connect(connector)
    ...     await db.wait_for_first_sync(timeout=30)

    A bare file name is one in the platform's folder for the data of the app `app_name`, and `path` says where; `./app.db` is here.

    All methods belong to the event loop in which `init()` ran. Files only: `:memory:` cannot be shared between connections. With an
    `encryption_key` the file is encrypted, which needs the package `apsw-sqlite3mc` in place of `apsw` (docs/howto/encryption.md).
    """

    findable: ClassVar[bool] = True
    """Whether `get_database` gives it; not the one inside of a blocking database, which belongs to a loop of its own."""

    async def __aenter__(self) -> SyncDatabase:
        await self.init()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def init(self) -> None:
        """Open or create the file and bring it to the schema. Needs no network. Can be called again."""
        async with self._initializing:
            if self._closed:
                raise DatabaseClosed("The database is closed.", hint="Make a new SyncDatabase.")
            if self._parts is None:
                await self._open()

    async def _open(self) -> None:
        self._place.make_folder()
        parts = DatabaseParts(
            self._path, readers=self._reader_count, key=self._encryption_key, initialize=self._initialize
        )

        def prepare(connection: apsw.Connection) -> str:
            layout.prepare(connection, self._schema)
            return layout.client_id(connection)

        try:
            self._client_id = await parts.writer.call(prepare)
            self._parts = parts
            await self._follow_foreign_writers()
            await self._load_status()
            self._pending = PendingChanges(parts.readers, self._status)
            await self._pending.now()
        except BaseException:
            # Cancelled, closed, or a file that cannot be used: nothing stays open, and the next init() begins anew.
            self._parts = None
            await self._stop_following()
            if self._pending is not None:
                await self._pending.close()
            await parts.close()
            raise
        parts.feed.listen(self._on_change)
        if self.findable:
            _opened.append(self)

    async def close(self) -> None:
        """Disconnect, end watches, close the file. Can be called again."""
        if self._closed:
            return
        self._closed = True
        self._registry.is_open = False
        if self in _opened:
            _opened.remove(self)
        async with self._initializing:  # an init() under way ends first: its threads would be nobody's
            if self._parts is not None:
                await self.disconnect()
                await self._stop_following()
                if self._pending is not None:
                    await self._pending.close()
                await self._parts.close()
                if self in _opened:
                    _opened.remove(self)

    def _on_change(self, tables: set[str]) -> None:
        if "ps_crud" in tables:
            if self._parts is not None:
                self._parts.queue.written()
            if self._pending is not None:
                self._pending.changed()
            if self._connection is not None:
                self._connection.local_write()
