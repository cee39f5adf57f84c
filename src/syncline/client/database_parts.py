"""What an open database consists of, and what every group of its methods shares."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import apsw

from syncline.client.account_guard import GuardedConnector
from syncline.client.changes import ChangeFeed
from syncline.client.connection import Connection
from syncline.client.data_directory import place_of
from syncline.client.dead_letters import DeadLetters
from syncline.client.encryption import EncryptionKey
from syncline.client.errors import DatabaseClosed, DatabaseNotInitialized
from syncline.client.foreign_writers import ForeignWriters
from syncline.client.local.connection import open_reader, open_writer
from syncline.client.pending_changes import PendingChanges
from syncline.client.schema import Schema
from syncline.client.status_board import StatusBoard
from syncline.client.streams import SubscriptionRegistry
from syncline.client.sync_role import RoleKeeper
from syncline.client.sync_sharing import SharedState, SyncSharing
from syncline.client.table_finder import TableFinder
from syncline.client.threads import ReaderPool, Writer
from syncline.client.transaction_clock import EXPIRE_AFTER_S, WARN_AFTER_S
from syncline.client.upload_queue import UploadQueue
from syncline.client.watch import WatchSource

__all__ = ["READERS", "DatabaseBase", "DatabaseParts"]

READERS = 4  # connections for reading, opened when first needed


class DatabaseParts:
    """What an open database consists of."""

    def __init__(
        self,
        path: str,
        *,
        readers: int,
        key: EncryptionKey | None = None,
        initialize: Callable[[apsw.Connection, bool], object],
    ) -> None:
        self.feed = ChangeFeed(asyncio.get_running_loop())

        def open_with_hooks() -> apsw.Connection:
            connection = open_writer(path, key=key)
            initialize(connection, True)
            self.feed.install(connection)
            return connection

        def open_to_read() -> apsw.Connection:
            connection = open_reader(path, key=key)
            initialize(connection, False)
            return connection

        self.writer = Writer(open_with_hooks, after_call=self.feed.flush)
        self.readers = ReaderPool(open_to_read, size=readers)
        self.source = WatchSource(readers=self.readers, feed=self.feed, finder=TableFinder())
        self.queue = UploadQueue(self.writer, self.readers)
        self.dead_letters = DeadLetters(self.writer, self.readers)

    async def close(self) -> None:
        """End every watch, and close all connections after what they still do."""
        self.feed.close()
        await self.readers.close()
        await self.writer.close()


class DatabaseBase:
    """The state that the groups of methods of `SyncDatabase` share."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        schema: Schema,
        readers: int = READERS,
        encryption_key: EncryptionKey | str | bytes | None = None,
        app_name: str | None = None,
        folder: str | os.PathLike[str] | None = None,
        initialize_connection: Callable[[apsw.Connection, bool], object] | None = None,
    ) -> None:
        """Nothing is opened yet: `init()` does it, or `async with`.

        `path`: the file; a bare name is one in `folder`, or else in the platform's folder for the data of the app (`app_name`). `readers`:
        connections for reading, opened when first needed. `encryption_key`: see `syncline.client.encryption`. `initialize_connection` is
        called with each connection and whether it writes, in its thread: for SQL functions, collations and pragmas of the app's own.
        """
        if readers < 1:
            raise ValueError("readers must be at least 1")
        self._initialize = initialize_connection or _nothing
        self._encryption_key = EncryptionKey.of(encryption_key)
        self._initializing = asyncio.Lock()
        self._place = place_of(path if folder is None else Path(folder).absolute() / path, app_name=app_name)
        self._path = os.fspath(self._place.path)
        self._schema = schema
        self._reader_count = readers
        self._status = StatusBoard()
        self._registry = SubscriptionRegistry()
        self._version = 1
        self._looking: asyncio.Task[None] | None = None
        self._look_again = False
        self._seen_subscriptions: list[object] | None = None
        self._seen_data_of: tuple[bool, object] = (False, None)
        self._role: RoleKeeper | None = None
        self._sharing: SyncSharing | None = None
        self._shared: SharedState | None = None
        self._switching: asyncio.Task[None] | None = None
        self._make_connection: Callable[[], Connection] | None = None
        self._pending: PendingChanges | None = None
        self._foreign: ForeignWriters | None = None
        self._warn_after_s = WARN_AFTER_S
        self._expire_after_s = EXPIRE_AFTER_S
        self._connection: Connection | None = None
        self._connecting = asyncio.Lock()
        self._guard: GuardedConnector | None = None
        self._account_changes: set[asyncio.Task[None]] = set()
        self._parts: DatabaseParts | None = None
        self._client_id = ""
        self._closed = False

    @property
    def parts_if_open(self) -> DatabaseParts | None:
        """Its threads and queues; None before `init` and after `close`. For faces of the client, not for apps."""
        return None if self._closed else self._parts

    def _open_parts(self) -> DatabaseParts:
        if self._closed:
            raise DatabaseClosed("The database is closed.")
        if self._parts is None:
            raise DatabaseNotInitialized(
                "The database is not open yet.", hint="`await db.init()`, or `async with SyncDatabase(...) as db`."
            )
        return self._parts

    @property
    def version(self) -> int:
        """How often the data were replaced as a whole since the database was opened, from 1; `disconnect_and_clear` raises it.

        Watches run again by themselves. For whatever else an app keeps of the old data: `version_changes()`.
        """
        return self._version

    async def version_changes(self) -> AsyncGenerator[int]:
        """The version now, and each newer one. Ends when the database closes."""
        told = 0
        changes = self._open_parts().feed.subscribe()
        while True:
            if self._version != told:
                told = self._version
                yield told
            elif not await changes.next(set()):
                return

    async def _follow_foreign_writers(self) -> None:
        parts = self._open_parts()
        self._foreign = ForeignWriters(
            parts.writer,
            wanted=lambda: parts.feed.is_followed or self._role is not None,
            changed=self._on_foreign_change,
        )
        parts.feed.when_followed(self._foreign.wake)
        await self._foreign.start()

    async def _stop_following(self) -> None:
        if self._foreign is not None:
            await self._foreign.stop()
        if self._looking is not None:
            await asyncio.wait([self._looking])

    def _on_foreign_change(self) -> None:
        """Another process has written: nobody knows what."""
        if self._parts is not None and not self._closed:
            self._parts.feed.tell_everything()

    def _data_replaced(self) -> None:
        """The data of a user are gone, or others': everybody who watches looks again."""
        self._version += 1
        self._open_parts().feed.tell_everything()


def _nothing(connection: apsw.Connection, writes: bool) -> None:
    """No settings of the app's own."""
