"""The local database of an app: read and write it at once, online or not; connected, it syncs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from typing import Any

import apsw

from syncline.client.changes import ChangeFeed, internal_names, public_name
from syncline.client.connection import RETRY_DELAY_S, UPLOAD_THROTTLE_S, Connection, ConnectOptions
from syncline.client.connector import BackendConnector
from syncline.client.core import events as ev
from syncline.client.core import instructions as do
from syncline.client.core.machine import SyncMachine
from syncline.client.core.status import FULL_SYNC_PRIORITY, StreamStatus, SyncStatus
from syncline.client.errors import DatabaseClosed, DatabaseNotInitialized, PendingWrites
from syncline.client.local import layout
from syncline.client.local.buckets import BucketStore
from syncline.client.local.connection import open_reader, open_writer, write_transaction
from syncline.client.local.crud_queue import CrudQueue
from syncline.client.rows import Parameters, Row
from syncline.client.schema import Schema
from syncline.client.status_board import StatusBoard
from syncline.client.streams import SubscriptionRegistry, SyncStream
from syncline.client.subscription_store import SubscriptionStore
from syncline.client.sync_engine import SyncEngine
from syncline.client.threads import ReaderPool, Writer
from syncline.client.transactions import (
    ReadTransaction,
    WriteTransaction,
    open_read_transaction,
    open_write_transaction,
)
from syncline.client.transport.http import READ_IDLE_TIMEOUT_S
from syncline.client.upload_queue import CrudTransaction, UploadQueue, UploadQueueStats
from syncline.client.watch import THROTTLE_S, TableFinder, watch_query
from syncline.client.write_checkpoint_watchdog import WRITE_CHECKPOINT_TIMEOUT_S

__all__ = ["READERS", "SyncDatabase", "get_database"]

READERS = 4  # connections for reading, opened when first needed

_opened: list[SyncDatabase] = []


def get_database() -> SyncDatabase:
    """The database that this process opened last. Raises DatabaseNotInitialized when none is open."""
    if not _opened:
        raise DatabaseNotInitialized(
            "No database is open.", hint="Open one first: `async with SyncDatabase(path, schema=schema)`."
        )
    return _opened[-1]


class SyncDatabase:
    """One SQLite file that syncs.

    >>> async with SyncDatabase("app.db", schema=schema) as db:
    ...     await db.connect(connector)
    ...     await db.wait_for_first_sync(timeout=30)

    All methods belong to the event loop in which `init()` ran. Files only: `:memory:` cannot be shared between connections.
    """

    def __init__(self, path: str | os.PathLike[str], *, schema: Schema, readers: int = READERS) -> None:
        assert readers >= 1
        self._path = os.fspath(path)
        self._schema = schema
        self._reader_count = readers
        self._status = StatusBoard()
        self._registry = SubscriptionRegistry()
        self._finder = TableFinder()
        self._connection: Connection | None = None
        self._connecting = asyncio.Lock()
        self._parts: _Parts | None = None
        self._client_id = ""
        self._closed = False

    async def __aenter__(self) -> SyncDatabase:
        await self.init()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def init(self) -> None:
        """Open or create the file and bring it to the schema. Needs no network. Can be called again."""
        if self._closed:
            raise DatabaseClosed("The database is closed.", hint="Make a new SyncDatabase.")
        if self._parts is not None:
            return
        parts = _Parts(self._path, readers=self._reader_count)

        def prepare(connection: apsw.Connection) -> str:
            layout.prepare(connection, self._schema)
            return layout.client_id(connection)

        try:
            self._client_id = await parts.writer.call(prepare)
        except BaseException:
            await parts.close()
            raise
        self._parts = parts
        parts.feed.listen(self._on_change)
        await self._load_status()
        _opened.append(self)

    async def close(self) -> None:
        """Disconnect, end watches, close the file. Can be called again."""
        if self._closed:
            return
        self._closed = True
        if self in _opened:
            _opened.remove(self)
        if self._parts is not None:
            await self.disconnect()
            await self._parts.close()

    # -- sync

    async def connect(
        self,
        connector: BackendConnector,
        *,
        params: dict[str, Any] | None = None,
        app_metadata: dict[str, str] | None = None,
        retry_delay_s: float = RETRY_DELAY_S,
        upload_throttle_s: float = UPLOAD_THROTTLE_S,
        include_default_streams: bool = True,
        read_idle_timeout_s: float = READ_IDLE_TIMEOUT_S,
        write_checkpoint_timeout_s: float = WRITE_CHECKPOINT_TIMEOUT_S,
    ) -> None:
        """Begin to sync, and keep at it; returns before anything has happened on the network. Replaces an earlier connection.

        Failures are in `current_status`, and are tried again. `params` are connection parameters for the sync config: a
        convenience, not a permission. A stream that is silent for `read_idle_timeout_s` is opened again; a write checkpoint that does
        not come within `write_checkpoint_timeout_s` is requested anew.
        """
        parts = self._open_parts()
        options = ConnectOptions(
            params=params or {},
            app_metadata=app_metadata or {},
            retry_delay_s=retry_delay_s,
            upload_throttle_s=upload_throttle_s,
            include_default_streams=include_default_streams,
            read_idle_timeout_s=read_idle_timeout_s,
            write_checkpoint_timeout_s=write_checkpoint_timeout_s,
        )
        async with self._connecting:
            await self._stop_connection()
            self._connection = Connection(
                connector=connector,
                options=options,
                client_id=lambda: self._client_id,
                renew_client_id=self._renew_client_id,
                make_engine=lambda: parts.writer.call(lambda connection: self._make_engine(connection, options)),
                upload=lambda: connector.upload_data(self),
                writer=parts.writer,
                queue=parts.queue,
                status=self._status,
            )
            self._connection.start()

    async def disconnect(self) -> None:
        """Stop syncing; the data and the upload queue stay."""
        async with self._connecting:
            await self._stop_connection()

    async def disconnect_and_clear(self, *, clear_local: bool = False, discard_pending: bool = False) -> None:
        """Stop syncing and delete what was synced or queued; the next connection starts from nothing.

        Local-only tables stay unless `clear_local`. Raises PendingWrites while local writes wait for their upload, unless
        `discard_pending`; the database is disconnected then, and nothing was deleted.
        """
        parts = self._open_parts()

        def clear(connection: apsw.Connection) -> None:
            with write_transaction(connection, local_writes=False):
                count, _ = CrudQueue(connection).stats()
                if count and not discard_pending:
                    raise PendingWrites(count)
                layout.clear(connection, clear_local)

        async with self._connecting:
            await self._stop_connection()
            await parts.writer.call(clear)
            await self._load_status()
            # SQLite's update hook does not see deletes that empty a whole table.
            parts.feed.tell({name for table in self._schema.tables for name in internal_names({table.name})})

    @property
    def current_status(self) -> SyncStatus:
        """What sync is doing now."""
        return self._status.current

    def status_changes(self) -> AsyncIterator[SyncStatus]:
        """The status now, and each newer one; a slow reader sees the latest only."""
        return self._status.changes()

    def register_listener(self, status_changed: Callable[[SyncStatus], None]) -> Callable[[], None]:
        """Call a function with each new status; returns a function that ends it."""
        return self._status.listen(status_changed)

    async def wait_for_status(
        self, predicate: Callable[[SyncStatus], bool], timeout: float | None = None
    ) -> SyncStatus:
        """Wait for a status that fits. Raises TimeoutError."""
        return await self._status.wait_for(predicate, timeout_s=timeout)

    async def wait_for_first_sync(self, priority: int | None = None, timeout: float | None = None) -> None:
        """Wait until everything (up to `priority`) was complete once, be it in an earlier run. Raises TimeoutError."""
        wanted = FULL_SYNC_PRIORITY if priority is None else priority
        await self.wait_for_status(lambda status: status.for_priority(wanted) is not None, timeout)

    def sync_stream(self, name: str, params: dict[str, Any] | None = None) -> SyncStream:
        """A sync stream to subscribe to."""
        return SyncStream(self, self._registry, name, params)

    async def get_client_id(self) -> str:
        """The id of this file, which the service and the backend know it by. It changes when the file turns out to be a copy."""
        self._open_parts()
        return self._client_id

    # -- the app's data

    async def execute(self, sql: str, parameters: Parameters | None = None) -> list[Row]:
        """Run one statement in a transaction of its own; returns its rows (RETURNING)."""
        async with self.write_transaction() as transaction:
            return await transaction.execute(sql, parameters)

    async def execute_many(self, sql: str, parameters: Iterable[Parameters]) -> None:
        """Run one statement for each set of parameters, in one transaction."""
        async with self.write_transaction() as transaction:
            await transaction.execute_many(sql, parameters)

    async def get_all(self, sql: str, parameters: Parameters | None = None) -> list[Row]:
        """All rows of a query."""
        async with self.read_transaction() as transaction:
            return await transaction.get_all(sql, parameters)

    async def get_optional(self, sql: str, parameters: Parameters | None = None) -> Row | None:
        """The first row of a query, None for no row."""
        async with self.read_transaction() as transaction:
            return await transaction.get_optional(sql, parameters)

    async def get(self, sql: str, parameters: Parameters | None = None) -> Row:
        """The first row of a query. Raises LookupError when there is none."""
        async with self.read_transaction() as transaction:
            return await transaction.get(sql, parameters)

    def write_transaction(self) -> contextlib.AbstractAsyncContextManager[WriteTransaction]:
        """Statements that are committed together. Only one at a time: do not wait for the network inside.

        Raises NestedTransaction inside of another one of the same task.
        """
        return open_write_transaction(self._open_parts().writer)

    def read_transaction(self) -> contextlib.AbstractAsyncContextManager[ReadTransaction]:
        """Queries that see one state of the file."""
        return open_read_transaction(self._open_parts().readers)

    def watch(
        self,
        sql: str,
        parameters: Parameters | None = None,
        *,
        throttle_s: float = THROTTLE_S,
        tables: Iterable[str] | None = None,
    ) -> AsyncIterator[list[Row]]:
        """The rows of a query now, and after each commit that touched one of its tables (or of `tables`); the latest wins."""
        parts = self._open_parts()
        return watch_query(
            readers=parts.readers,
            feed=parts.feed,
            finder=self._finder,
            sql=sql,
            parameters=parameters,
            throttle_s=throttle_s,
            tables=tables,
        )

    async def on_change(self, tables: Iterable[str] | None = None) -> AsyncGenerator[set[str]]:
        """Names of changed tables, after each commit that touched one of `tables` (None: any); folded for a slow reader."""
        names = None if tables is None else internal_names(set(tables))
        with self._open_parts().feed.subscribe() as changes:
            while changed := await changes.next(names):
                yield {public_name(name) for name in changed}

    # -- the upload queue

    async def get_next_crud_transaction(self) -> CrudTransaction | None:
        """The oldest local transaction that waits for its upload."""
        found = await self._open_parts().queue.transactions(limit=1)
        return found[0] if found else None

    def crud_transactions(self) -> AsyncIterator[CrudTransaction]:
        """All local transactions that wait, in order."""
        return self._open_parts().queue.iterate()

    async def get_crud_transactions(self, limit: int) -> list[CrudTransaction]:
        """The oldest `limit` local transactions that wait; completing one completes those before it."""
        return await self._open_parts().queue.transactions(limit=limit)

    async def get_upload_queue_stats(self) -> UploadQueueStats:
        """How much waits for its upload."""
        return await self._open_parts().queue.stats()

    # -- for `syncline.client.streams`

    async def change_subscriptions(self, change: Callable[[SubscriptionStore, int], None]) -> None:
        """Write subscriptions, and let the connection know."""
        await self._open_parts().writer.call(lambda connection: _change_subscriptions(connection, change))
        if self._connection is not None:
            self._connection.subscriptions_changed()
        else:
            await self._load_status()

    async def wait_for_stream(self, name: str, parameters: dict[str, Any] | None, timeout_s: float | None) -> None:
        """Wait until a stream was complete once. Raises TimeoutError."""
        await self.wait_for_status(
            lambda status: (stream := status.for_stream(name, parameters)) is not None and stream.has_synced, timeout_s
        )

    def stream_status(self, name: str, parameters: dict[str, Any] | None) -> StreamStatus | None:
        """One stream of the current status."""
        return self.current_status.for_stream(name, parameters)

    # -- inside

    def _open_parts(self) -> _Parts:
        if self._closed:
            raise DatabaseClosed("The database is closed.")
        if self._parts is None:
            raise DatabaseNotInitialized(
                "The database is not open yet.", hint="`await db.init()`, or `async with SyncDatabase(...) as db`."
            )
        return self._parts

    def _make_engine(self, connection: apsw.Connection, options: ConnectOptions) -> SyncEngine:
        machine = SyncMachine(
            client_id=self._client_id,
            parameters=options.params,
            app_metadata=options.app_metadata,
            include_defaults=options.include_default_streams,
        )
        return SyncEngine(
            connection,
            machine,
            client_id=lambda: self._client_id,
            now_us=_now_us,
            active_streams=self._registry.active,
        )

    async def _renew_client_id(self) -> None:
        """Become another device for service and backend (design decision 12): local data and the whole queue stay."""

        def renew(connection: apsw.Connection) -> None:
            with write_transaction(connection, local_writes=False):
                renewed = layout.renew_client_id(connection)
            self._client_id = renewed  # in the writer thread: the sync engine, which runs there too, must not miss it

        await self._open_parts().writer.call(renew)

    async def _stop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.stop()

    async def _load_status(self) -> None:
        """The status of a client that is not connected, from the file."""

        def read(connection: apsw.Connection) -> list[do.Instruction]:
            machine = SyncMachine(client_id=self._client_id)
            return [
                *machine.receive(ev.SyncStateChanged(tuple(BucketStore(connection).sync_state()))),
                *machine.receive(ev.SubscriptionsChanged(SubscriptionStore(connection).rows())),
            ]

        assert self._parts is not None
        for instruction in await self._parts.writer.call(read):
            if isinstance(instruction, do.PublishStatus):
                self._status.publish_download(instruction.status)

    def _on_change(self, tables: set[str]) -> None:
        if "ps_crud" in tables and self._connection is not None:
            self._connection.local_write()


class _Parts:
    """What an open database consists of."""

    def __init__(self, path: str, *, readers: int) -> None:
        self.feed = ChangeFeed(asyncio.get_running_loop())

        def open_with_hooks() -> apsw.Connection:
            connection = open_writer(path)
            self.feed.install(connection)
            return connection

        self.writer = Writer(open_with_hooks, after_call=self.feed.flush)
        self.readers = ReaderPool(lambda: open_reader(path), size=readers)
        self.queue = UploadQueue(self.writer, self.readers)

    async def close(self) -> None:
        self.feed.close()
        await self.readers.close()
        await self.writer.close()


def _change_subscriptions(connection: apsw.Connection, change: Callable[[SubscriptionStore, int], None]) -> None:
    with write_transaction(connection, local_writes=False):
        change(SubscriptionStore(connection), _now_us())


def _now_us() -> int:
    return time.time_ns() // 1000
