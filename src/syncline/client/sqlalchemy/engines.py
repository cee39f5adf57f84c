"""Engines over an open database: plain ones over the blocking face, asynchronous ones over the asynchronous database."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import apsw
import sqlalchemy
from sqlalchemy.dialects import registry
from sqlalchemy.ext import asyncio as sqlalchemy_asyncio
from sqlalchemy.pool import NullPool
from sqlalchemy.util import await_only

from syncline.client.sqlalchemy.driver import Connection, OpenTransaction

if TYPE_CHECKING:
    from syncline.client.blocking.database import SyncDatabase as BlockingDatabase
    from syncline.client.blocking.transactions import ReadTransaction as PlainReadTransaction
    from syncline.client.blocking.transactions import WriteTransaction as PlainWriteTransaction
    from syncline.client.database import SyncDatabase
    from syncline.client.transactions import ReadTransaction

    _PlainTransaction = PlainReadTransaction | PlainWriteTransaction

__all__ = ["create_async_engine", "create_engine"]

T = TypeVar("T")

_DIALECTS = "syncline.client.sqlalchemy.dialect"

registry.register("sqlite.syncline", _DIALECTS, "SynclineDialect")
registry.register("sqlite.syncline_async", _DIALECTS, "AsyncSynclineDialect")


def create_engine(database: BlockingDatabase, *, read_only: bool = False, **options: Any) -> sqlalchemy.Engine:
    """An engine over an open blocking database; its sessions and the database's own calls are one: same data, same watches, one queue.

    With `read_only` a statement that writes raises. `options` are those of `sqlalchemy.create_engine`. Dispose of the engine before you
    close the database.
    """
    transactions = _Blocking(database)
    return sqlalchemy.create_engine(
        "sqlite+syncline://",
        creator=lambda: Connection(transactions, read_only=read_only),
        **{"poolclass": NullPool, **options},
    )


def create_async_engine(
    database: SyncDatabase, *, read_only: bool = False, **options: Any
) -> sqlalchemy_asyncio.AsyncEngine:
    """The same over an open asynchronous database, in its event loop: `async with engine.connect()`, `AsyncSession(engine)`."""
    transactions = _Asynchronous(database)
    return sqlalchemy_asyncio.create_async_engine(
        "sqlite+syncline_async://",
        creator=lambda: Connection(transactions, read_only=read_only),
        **{"poolclass": NullPool, **options},
    )


class _Undone(Exception):
    """Leaves the block of a transaction, so that it rolls back."""


class _Blocking:
    def __init__(self, database: BlockingDatabase) -> None:
        self._database = database

    def begin(self, *, write: bool) -> OpenTransaction:
        database = self._database
        return _BlockingTransaction(database.write_transaction() if write else database.read_transaction())


class _BlockingTransaction:
    def __init__(self, manager: contextlib.AbstractContextManager[_PlainTransaction]) -> None:
        self._manager = manager
        self._transaction = manager.__enter__()

    def run(self, function: Callable[[apsw.Connection], T]) -> T:
        return self._transaction.run(function)

    def end(self, *, commit: bool) -> None:
        if commit:
            self._manager.__exit__(None, None, None)
            return
        undone = _Undone()
        with contextlib.suppress(_Undone):
            self._manager.__exit__(_Undone, undone, None)


class _Asynchronous:
    def __init__(self, database: SyncDatabase) -> None:
        self._database = database

    def begin(self, *, write: bool) -> OpenTransaction:
        database = self._database
        manager = database.write_transaction() if write else database.read_transaction()
        return _AsynchronousTransaction(manager, await_only(manager.__aenter__()))


class _AsynchronousTransaction:
    def __init__(
        self, manager: contextlib.AbstractAsyncContextManager[ReadTransaction], transaction: ReadTransaction
    ) -> None:
        self._manager = manager
        self._transaction = transaction

    def run(self, function: Callable[[apsw.Connection], T]) -> T:
        return await_only(self._transaction.run(function))

    def end(self, *, commit: bool) -> None:
        if commit:
            await_only(self._manager.__aexit__(None, None, None))
            return
        undone = _Undone()
        with contextlib.suppress(_Undone):
            await_only(self._manager.__aexit__(_Undone, undone, None))
