"""Transactions for plain code."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Coroutine, Generator, Iterable
from typing import Any, Generic, TypeVar

import apsw

from syncline.client.blocking.loop_thread import LoopThread
from syncline.client.errors import NestedTransaction
from syncline.client.rows import Parameters, Row
from syncline.client.transactions import ReadTransaction as AsyncReadTransaction
from syncline.client.transactions import WriteTransaction as AsyncWriteTransaction

__all__ = ["HeldTransactions", "ReadTransaction", "WriteTransaction"]

T = TypeVar("T")
Inner = TypeVar("Inner", bound=AsyncReadTransaction)


class _Transaction(Generic[Inner]):
    def __init__(self, thread: LoopThread, inner: Inner) -> None:
        self._thread = thread
        self._inner = inner

    def get_all(self, sql: str, parameters: Parameters | None = None) -> list[Row]:
        """All rows."""
        return self._thread.call(lambda: self._inner.get_all(sql, parameters))

    def get_optional(self, sql: str, parameters: Parameters | None = None) -> Row | None:
        """The first row, None for no row."""
        return self._thread.call(lambda: self._inner.get_optional(sql, parameters))

    def get(self, sql: str, parameters: Parameters | None = None) -> Row:
        """The first row. Raises LookupError when there is none."""
        return self._thread.call(lambda: self._inner.get(sql, parameters))

    def fetch(self, row_type: type[T], sql: str, parameters: Parameters | None = None, **named: Any) -> list[T]:
        """All rows as objects of `row_type`."""
        return self._thread.call(lambda: self._inner.fetch(row_type, sql, parameters, **named))

    def run(self, function: Callable[[apsw.Connection], T]) -> T:
        """Call a function with the connection, in the thread that owns it."""
        return self._thread.call(lambda: self._inner.run(function))


class ReadTransaction(_Transaction[AsyncReadTransaction]):
    """Queries that all see the same state."""


class WriteTransaction(_Transaction[AsyncWriteTransaction]):
    """Statements that are committed together at the end of the block."""

    def execute(self, sql: str, parameters: Parameters | None = None) -> list[Row]:
        """Run a statement; returns its rows (RETURNING)."""
        return self._thread.call(lambda: self._inner.execute(sql, parameters))

    def execute_many(self, sql: str, parameters: Iterable[Parameters]) -> None:
        """Run a statement once for each set of parameters."""
        self._thread.call(lambda: self._inner.execute_many(sql, parameters))

    def rollback(self) -> None:
        """Give up what was written so far, and end the transaction."""
        self._thread.call(self._inner.rollback)

    @contextlib.contextmanager
    def savepoint(self) -> Generator[None]:
        """A part of the transaction that is undone alone when its block raises."""
        with _entered(self._thread, self._inner.savepoint()):
            yield


class HeldTransactions(threading.local):
    """Which transactions the current thread is in: a call beside them would wait for itself, or see another state."""

    def __init__(self) -> None:
        self.writing = False
        self.reading = False

    def refuse(self, *, writing: bool) -> None:
        """Raise NestedTransaction where the current thread is inside of a transaction. Writing beside a reader is possible."""
        if self.writing or (self.reading and not writing):
            raise NestedTransaction(
                "The database was called inside a transaction of the same thread.",
                hint="Use the transaction object (`tx.execute(...)`) inside `with db.write_transaction() as tx`.",
            )

    @contextlib.contextmanager
    def write(
        self, thread: LoopThread, open_one: Callable[[], contextlib.AbstractAsyncContextManager[AsyncWriteTransaction]]
    ) -> Generator[WriteTransaction]:
        """One write transaction of the current thread."""
        self.refuse(writing=True)
        with _entered(thread, open_one()) as inner:
            self.writing = True
            try:
                yield WriteTransaction(thread, inner)
            finally:
                self.writing = False

    @contextlib.contextmanager
    def read(
        self, thread: LoopThread, open_one: Callable[[], contextlib.AbstractAsyncContextManager[AsyncReadTransaction]]
    ) -> Generator[ReadTransaction]:
        """One read transaction of the current thread."""
        self.refuse(writing=False)
        with _entered(thread, open_one()) as inner:
            self.reading = True
            try:
                yield ReadTransaction(thread, inner)
            finally:
                self.reading = False


@contextlib.contextmanager
def _entered(thread: LoopThread, manager: contextlib.AbstractAsyncContextManager[T]) -> Generator[T]:
    """An asynchronous context manager around a plain block: entered in one task of the loop, left in another."""
    inner = thread.call(lambda: _enter(manager))
    try:
        yield inner
    except BaseException as exc:
        error = exc
        if not thread.call(lambda: _leave(manager, error)):
            raise
    else:
        thread.call(lambda: _leave(manager, None))


async def _enter(manager: contextlib.AbstractAsyncContextManager[T]) -> T:
    return await manager.__aenter__()


def _leave(
    manager: contextlib.AbstractAsyncContextManager[Any], error: BaseException | None
) -> Coroutine[Any, Any, bool | None]:
    async def leave() -> bool | None:
        # An interrupt of the main thread must not end the loop: for the transaction it is an error like any other.
        told = error if error is None or isinstance(error, Exception) else RuntimeError(type(error).__name__)
        try:
            return await manager.__aexit__(type(told) if told else None, told, told.__traceback__ if told else None)
        except RuntimeError as exc:
            if exc is told and told is not error:
                return False
            raise

    return leave()
