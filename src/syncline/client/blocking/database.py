"""The database for plain code: scripts, desktop programs, notebooks. The same names as the asynchronous one, without `await`."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar, overload

from syncline.client.blocking.callbacks import CallbackThread, Dispatcher, Subscription
from syncline.client.blocking.connector import BackendConnector, in_threads
from syncline.client.blocking.iterators import BlockingIterator, BlockingWatch
from syncline.client.blocking.loop_thread import LoopThread
from syncline.client.blocking.proxies import BlockingProxy, blocking_value
from syncline.client.blocking.transactions import HeldTransactions, ReadTransaction, WriteTransaction
from syncline.client.core.status import SyncStatus
from syncline.client.database import SyncDatabase as AsyncDatabase
from syncline.client.errors import DatabaseClosed, DatabaseNotInitialized, NestedTransaction
from syncline.client.rows import Parameters, Row
from syncline.client.schema import Schema
from syncline.client.watch import THROTTLE_S
from syncline.client.watch_diff import Diff

__all__ = ["SyncDatabase", "get_database", "reset_database"]

P = ParamSpec("P")
T = TypeVar("T")


_opened: list[SyncDatabase] = []


class _Inside(AsyncDatabase):
    findable = False


def get_database() -> SyncDatabase:
    """The database that this process opened last for plain code. Raises DatabaseNotInitialized when none is open."""
    if not _opened:
        raise DatabaseNotInitialized(
            "No database is open.", hint="Open one first: `with SyncDatabase(path, schema=schema) as db`."
        )
    return _opened[-1]


def reset_database() -> None:
    """Close and forget every open database for plain code: at a sign-out, or between tests. The files stay."""
    while _opened:
        _opened[-1].close()


def _blocking(
    method: Callable[Concatenate[AsyncDatabase, P], Coroutine[Any, Any, T]], *, writes: bool = True
) -> Callable[Concatenate[SyncDatabase, P], T]:
    """The method of the asynchronous database as one that waits, with its parameters and its documentation."""

    @functools.wraps(method)
    def call(self: SyncDatabase, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.call(lambda: method(self.asynchronous, *args, **kwargs), writes=writes)

    return call


class SyncDatabase:
    """One SQLite file that syncs, for code without an event loop.

    >>> with SyncDatabase("app.db", schema=schema) as db:
    ...     db.connect(connector)
    ...     db.wait_for_first_sync(timeout=30)
    ...     for rows in db.watch("SELECT * FROM lists"):
    ...         print(rows)

    It runs the asynchronous database (`db.asynchronous`) in an event loop in a thread of its own, so it works whether the caller has a loop
    or not (a notebook has). Every thread may call it; each has write transactions of its own. Callbacks come in a thread for callbacks, or
    where a `dispatcher` brings them. Options are those of the asynchronous database, which documents them.
    """

    def __init__(self, path: str | os.PathLike[str], *, schema: Schema, **options: Any) -> None:
        self._thread = LoopThread()
        self._callbacks = CallbackThread()
        self._held = HeldTransactions()
        self._closed = False

        async def make() -> AsyncDatabase:
            return _Inside(path, schema=schema, **options)

        try:
            self.asynchronous = self._thread.call(make)
            """The asynchronous database; it belongs to the loop's thread (`run_coroutine`)."""
        except BaseException:
            self._thread.close()
            raise

    def __enter__(self) -> SyncDatabase:
        try:
            self.init()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(
        self, function: Callable[[], Coroutine[Any, Any, T]], *, writes: bool = True, timeout: float | None = None
    ) -> T:
        """Run a coroutine function in the loop's thread, and wait for its result. Raises NestedTransaction inside of a transaction."""
        self._held.refuse(writing=writes)
        parts = self.asynchronous.parts_if_open
        if parts is not None and parts.writer.is_current_thread:
            raise NestedTransaction(
                "The database was called by a function that runs in its writer thread.",
                hint="Use the argument of the function: `db.run(lambda tx: tx.execute(...))`.",
            )
        return self._thread.call(function, timeout=timeout)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop in which the asynchronous database lives."""
        return self._thread.loop

    def close(self) -> None:
        """Disconnect, end watches and callbacks, close the file and the thread. Can be called again, and by callbacks."""
        if self._closed:
            return
        self._closed = True
        if self in _opened:
            _opened.remove(self)
        try:
            self._thread.call(self.asynchronous.close)
        finally:
            self._callbacks.close()
            self._thread.close()

    def init(self) -> None:
        """Open or create the file and bring it to the schema. Needs no network. Can be called again."""
        self.call(self.asynchronous.init)
        if self not in _opened:
            _opened.append(self)

    def wrap(self, make: Callable[[AsyncDatabase], object]) -> Any:
        """Something of the client that works on the asynchronous database (an attachment queue, a manager), for plain code.

        >>> queue = db.wrap(lambda database: AttachmentQueue(database, ...))
        >>> queue.start()

        `make` runs in the loop's thread; the methods of what is returned wait, and what they return is for plain code too.
        """

        async def run() -> object:
            return make(self.asynchronous)

        return BlockingProxy(self._thread, self.call(run))

    update_schema = _blocking(AsyncDatabase.update_schema)
    schema_drift = _blocking(AsyncDatabase.schema_drift, writes=False)
    resync_tables = _blocking(AsyncDatabase.resync_tables)
    write_seed = _blocking(AsyncDatabase.write_seed)

    # -- the app's data

    execute = _blocking(AsyncDatabase.execute)
    execute_many = _blocking(AsyncDatabase.execute_many)
    run = _blocking(AsyncDatabase.run)
    get = _blocking(AsyncDatabase.get, writes=False)
    get_all = _blocking(AsyncDatabase.get_all, writes=False)
    get_optional = _blocking(AsyncDatabase.get_optional, writes=False)
    resolve_tables = _blocking(AsyncDatabase.resolve_tables, writes=False)

    def fetch(self, row_type: type[T], sql: str, parameters: Parameters | None = None, **named: Any) -> list[T]:
        """All rows of a query as objects of `row_type`, see `syncline.client.SyncDatabase.fetch`."""
        return self.call(lambda: self.asynchronous.fetch(row_type, sql, parameters, **named), writes=False)

    def write_transaction(
        self, *, lock_timeout_s: float | None = None
    ) -> contextlib.AbstractContextManager[WriteTransaction]:
        """Statements that are committed together; other threads wait. Raises NestedTransaction inside of another one of this thread."""
        return self._held.write(
            self._thread, lambda: self.asynchronous.write_transaction(lock_timeout_s=lock_timeout_s)
        )

    def read_transaction(
        self, *, lock_timeout_s: float | None = None
    ) -> contextlib.AbstractContextManager[ReadTransaction]:
        """Queries that see one state of the file."""
        return self._held.read(self._thread, lambda: self.asynchronous.read_transaction(lock_timeout_s=lock_timeout_s))

    # -- following

    @overload
    def watch(
        self,
        sql: str,
        parameters: Parameters | None = None,
        *,
        row_type: None = None,
        callback: None = None,
        throttle_s: float = THROTTLE_S,
        tables: Iterable[str] | None = None,
        distinct: bool = False,
    ) -> BlockingWatch[list[Row]]: ...
    @overload
    def watch(
        self,
        sql: str,
        parameters: Parameters | None = None,
        *,
        row_type: type[T],
        callback: None = None,
        throttle_s: float = THROTTLE_S,
        tables: Iterable[str] | None = None,
        distinct: bool = False,
    ) -> BlockingWatch[list[T]]: ...
    @overload
    def watch(
        self,
        sql: str,
        parameters: Parameters | None = None,
        *,
        row_type: type[Any] | None = None,
        callback: Callable[[list[Any]], object],
        dispatcher: Dispatcher | None = None,
        on_error: Callable[[Exception], object] | None = None,
        throttle_s: float = THROTTLE_S,
        tables: Iterable[str] | None = None,
        distinct: bool = False,
    ) -> Subscription[list[Any]]: ...
    def watch(
        self,
        sql: str,
        parameters: Parameters | None = None,
        *,
        row_type: Any = None,
        callback: Callable[[list[Any]], object] | None = None,
        dispatcher: Dispatcher | None = None,
        on_error: Callable[[Exception], object] | None = None,
        throttle_s: float = THROTTLE_S,
        tables: Iterable[str] | None = None,
        distinct: bool = False,
    ) -> BlockingWatch[list[Any]] | Subscription[list[Any]]:
        """The rows of a query now and after each change: `for rows in db.watch(...)`, or with `callback` a function that gets them.

        `dispatcher` takes a function and calls it in the thread of its choice (Tk: `root.after_idle`). A callback that is slow gets the
        latest rows next, not all of them. `on_error` gets the error with which the query has ended; without it, it is logged.
        """

        def source() -> Any:
            return self.asynchronous.watch(
                sql, parameters, row_type=row_type, throttle_s=throttle_s, tables=tables, distinct=distinct
            )

        if callback is None:
            return BlockingWatch(self._thread, source)
        return self._subscribe(source, callback, dispatcher, on_error)

    def watch_diff(
        self,
        sql: str,
        parameters: Parameters | None = None,
        *,
        key: str | Sequence[str] | Callable[[Any], Any] = "id",
        row_type: Any = None,
        keep_previous: bool = True,
        callback: Callable[[Diff[Any]], object] | None = None,
        dispatcher: Dispatcher | None = None,
        on_error: Callable[[Exception], object] | None = None,
        throttle_s: float = THROTTLE_S,
        tables: Iterable[str] | None = None,
    ) -> Any:
        """What is added, updated, removed and unchanged in a query's rows, as a `for` loop or with `callback`; see `watch`."""

        def source() -> Any:
            return self.asynchronous.watch_diff(
                sql,
                parameters,
                key=key,
                row_type=row_type,
                keep_previous=keep_previous,
                throttle_s=throttle_s,
                tables=tables,
            )

        if callback is None:
            return BlockingWatch(self._thread, source)
        return self._subscribe(source, callback, dispatcher, on_error)

    def on_change(
        self,
        tables: Iterable[str] | None = None,
        *,
        callback: Callable[[set[str]], object] | None = None,
        dispatcher: Dispatcher | None = None,
        throttle_s: float = 0.0,
        trigger_immediately: bool = False,
    ) -> Any:
        """Names of changed tables, as a `for` loop or with `callback`; see `watch`."""

        def source() -> Any:
            return self.asynchronous.on_change(tables, throttle_s=throttle_s, trigger_immediately=trigger_immediately)

        if callback is None:
            return BlockingIterator(self._thread, source)
        return self._subscribe(source, callback, dispatcher, None)

    # -- sync

    get_client_id = _blocking(AsyncDatabase.get_client_id)
    disconnect = _blocking(AsyncDatabase.disconnect)
    wait_for_status = _blocking(AsyncDatabase.wait_for_status)
    wait_for_first_sync = _blocking(AsyncDatabase.wait_for_first_sync)
    get_upload_queue_stats = _blocking(AsyncDatabase.get_upload_queue_stats)

    def connect(self, connector: Any, **options: Any) -> None:
        """Begin to sync, and keep at it. The connector is plain (`blocking.BackendConnector`) or asynchronous; options as there."""
        if isinstance(connector, BackendConnector):
            connector = in_threads(connector, self)
        self.call(lambda: self.asynchronous.connect(connector, **options))

    @property
    def current_status(self) -> SyncStatus:
        """What sync is doing now."""
        return self.asynchronous.current_status

    @property
    def version(self) -> int:
        """How often the data were replaced as a whole, from 1."""
        return self.asynchronous.version

    def status_changes(self) -> BlockingIterator[SyncStatus]:
        """The status now, and each newer one: `for status in db.status_changes()`."""
        return BlockingIterator(self._thread, self.asynchronous.status_changes)

    def register_listener(
        self, status_changed: Callable[[SyncStatus], object], *, dispatcher: Dispatcher | None = None
    ) -> Subscription[SyncStatus]:
        """Call a function with the status now and each newer one; returns what ends it, once or more often."""
        return self._subscribe(self.asynchronous.status_changes, status_changed, dispatcher, None)

    def crud_transactions(self) -> BlockingIterator[Any]:
        """All local transactions that wait for their upload, in order; `complete()` of each waits."""

        async def transactions() -> AsyncGenerator[Any]:
            async for transaction in self.asynchronous.crud_transactions():
                yield blocking_value(self._thread, transaction)

        return BlockingIterator(self._thread, transactions)

    # -- whatever else the asynchronous database has

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "asynchronous":
            raise AttributeError(name)
        value = getattr(AsyncDatabase, name)  # AttributeError for what neither has
        if callable(value):
            self._held.refuse(writing=True)
        return blocking_value(self._thread, getattr(self.asynchronous, name))

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *(name for name in dir(AsyncDatabase) if not name.startswith("_"))})

    def _subscribe(
        self,
        source: Callable[[], Any],
        callback: Callable[[Any], object],
        dispatcher: Dispatcher | None,
        on_error: Callable[[Exception], object] | None,
    ) -> Subscription[Any]:
        if self._closed:
            raise DatabaseClosed("The database is closed.")
        return Subscription(
            self._thread, source, callback=callback, dispatcher=dispatcher or self._callbacks, on_error=on_error
        )
