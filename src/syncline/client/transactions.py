"""Transactions of the app: statements that succeed or fail together, or that see one state of the file."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Sequence
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

import apsw

from syncline.client.errors import DatabaseClosed, NestedTransaction, TransactionExpired
from syncline.client.local.connection import write_transaction
from syncline.client.rows import Parameters, Row, bind
from syncline.client.statements import execute_many, fetch_as, fetch_one, fetch_rows, require_row, select_parameters
from syncline.client.threads import ReaderPool, WriteLease, Writer
from syncline.client.transaction_clock import EXPIRE_AFTER_S, WARN_AFTER_S, TransactionClock
from syncline.errors import ClientError

__all__ = ["ReadTransaction", "WriteTransaction", "open_read_transaction", "open_write_transaction", "refuse_reader"]

T = TypeVar("T")

_log = logging.getLogger(__name__)


class _Runner(Protocol):
    async def run(self, function: Callable[[apsw.Connection], T], *, interruptible: bool = False) -> T: ...


class ReadTransaction:
    """Queries that all see the same state."""

    def __init__(self, runner: _Runner) -> None:
        self._runner = runner
        self._ended: ClientError | None = None

    async def get_all(self, sql: str, parameters: Parameters | None = None) -> list[Row]:
        """All rows. Raises apsw.Error."""
        bound = bind(parameters)
        return await self._run(lambda connection: fetch_rows(connection, sql, bound))

    async def get_optional(self, sql: str, parameters: Parameters | None = None) -> Row | None:
        """The first row, None for no row."""
        bound = bind(parameters)
        return await self._run(lambda connection: fetch_one(connection, sql, bound))

    async def get(self, sql: str, parameters: Parameters | None = None) -> Row:
        """The first row. Raises LookupError when there is none."""
        return require_row(await self.get_optional(sql, parameters))

    async def fetch(self, row_type: type[T], sql: str, parameters: Parameters | None = None, **named: Any) -> list[T]:
        """All rows as objects of `row_type`, see `SyncDatabase.fetch`."""
        bound = bind(select_parameters(parameters, named))
        return await self._run(lambda connection: fetch_as(connection, row_type, sql, bound))

    async def run(self, function: Callable[[apsw.Connection], T]) -> T:
        """Call a function with the connection, in the thread that owns it: for faces (SQLAlchemy, data frames) that need the driver."""
        return await self._run(function)

    @property
    def is_open(self) -> bool:
        """Whether statements are possible."""
        return self._ended is None

    def end(self, reason: ClientError | None = None) -> None:
        """No statement after the end of the block."""
        self._ended = reason or ClientError(
            "The transaction has ended.", hint="Use it inside its `async with` block only."
        )

    async def _run(self, function: Callable[[apsw.Connection], T]) -> T:
        if self._ended is not None:
            raise self._ended
        return await self._runner.run(function, interruptible=True)


class WriteTransaction(ReadTransaction):
    """Statements that are committed together at the end of the block, with their entries in the upload queue."""

    def __init__(self, runner: _Runner, clock: TransactionClock | None = None) -> None:
        super().__init__(runner)
        self._clock = clock
        self._savepoints = 0
        self.rolled_back = False

    async def execute(self, sql: str, parameters: Parameters | None = None) -> list[Row]:
        """Run a statement; returns its rows (RETURNING). Raises apsw.Error; the transaction goes on unless the error leaves the block."""
        return await self.get_all(sql, parameters)

    async def execute_many(self, sql: str, parameters: Iterable[Parameters]) -> None:
        """Run a statement once for each set of parameters; leave them as they are until it returns."""
        # Taken from an iterator here, where its code belongs; adapted in the thread, for that takes time.
        given = parameters if isinstance(parameters, Sequence) else list(parameters)
        await self._run(lambda connection: execute_many(connection, sql, given))

    async def rollback(self) -> None:
        """Give up what was written so far, and end the transaction; the block then ends without an error."""
        await self._run(lambda connection: connection.execute("ROLLBACK").fetchall())
        self.rolled_back = True
        self.end()

    @contextlib.asynccontextmanager
    async def savepoint(self) -> AsyncGenerator[None]:
        """A part of the transaction that is undone alone when its block raises."""
        self._savepoints += 1
        name = f"syncline_{self._savepoints}"
        await self._run(lambda connection: connection.execute(f"SAVEPOINT {name}").fetchall())
        try:
            yield
        except BaseException:
            if self._ended is None:
                undo = f"ROLLBACK TO {name}; RELEASE {name}"
                await _finish(self._run(lambda connection: connection.execute(undo).fetchall()))
            raise
        await self._run(lambda connection: connection.execute(f"RELEASE {name}").fetchall())

    async def _run(self, function: Callable[[apsw.Connection], T]) -> T:
        if self._clock is None:
            return await super()._run(function)
        self._clock.statement_begins()
        try:
            return await super()._run(function)
        finally:
            self._clock.statement_ends()


class _OpenWrite:
    """One write transaction between its BEGIN and its end, whoever ends it: the block, an error, or the clock."""

    def __init__(
        self,
        writer: Writer,
        lease: WriteLease,
        *,
        blocks: Callable[[bool], None],
        warn_after_s: float,
        expire_after_s: float,
    ) -> None:
        self._writer = writer
        self._lease = lease
        self._blocks = blocks
        self._expire_after_s = expire_after_s
        self._blocking = False
        self._begun: contextlib.AbstractContextManager[None] | None = None
        self._expiring: asyncio.Task[object] | None = None
        self._clock = TransactionClock(
            warn=self._warn, expire=self._expire, warn_after_s=warn_after_s, expire_after_s=expire_after_s
        )
        self.transaction = WriteTransaction(writer, self._clock)

    async def begin(self) -> None:
        def begin(connection: apsw.Connection) -> None:
            transaction = write_transaction(connection)
            transaction.__enter__()
            self._begun = transaction

        self._clock.statement_begins()  # a wait for another process' lock is not the app's
        try:
            await self._writer.run(begin)
        finally:
            self._clock.statement_ends()

    async def end(self, error: BaseException | None) -> None:
        """COMMIT, or ROLLBACK for an error. Raises TransactionExpired where the clock has ended it already."""
        self._clock.stop()
        self._unblock()
        if self._expiring is not None:
            await _finish(_wait_for(self._expiring))
            raise TransactionExpired(self._expire_after_s) from error
        if not self.transaction.rolled_back:
            self.transaction.end()
        # In the thread's order this comes after whatever a cancelled statement still does there.
        await _finish(self._writer.run(lambda connection: self._end(connection, error)))

    def _end(self, _: apsw.Connection, error: BaseException | None) -> None:
        if self._begun is None:
            return
        if error is None and not self.transaction.rolled_back:
            self._begun.__exit__(None, None, None)
            return
        # The error goes on in the event loop; here it only says that nothing is committed.
        error = error or asyncio.CancelledError()
        with contextlib.suppress(BaseException):
            self._begun.__exit__(type(error), error, None)

    def _warn(self) -> None:
        self._blocking = True
        self._blocks(True)
        _log.warning(
            "A write transaction is open and does nothing: every other writer waits, and so do downloads.",
            extra={"event": "transaction_open_long"},
        )

    def _expire(self) -> None:
        _log.error(
            "A write transaction was rolled back: it was open for too long.", extra={"event": "transaction_expired"}
        )
        self.transaction.end(TransactionExpired(self._expire_after_s))
        self._expiring = asyncio.create_task(self._give_up())

    async def _give_up(self) -> None:
        try:
            with contextlib.suppress(DatabaseClosed):
                await self._writer.run(
                    lambda connection: self._end(connection, TransactionExpired(self._expire_after_s))
                )
        finally:
            self._lease.release()
            self._unblock()

    def _unblock(self) -> None:
        if self._blocking:
            self._blocking = False
            self._blocks(False)


@contextlib.asynccontextmanager
async def open_write_transaction(
    writer: Writer,
    *,
    blocks: Callable[[bool], None] = lambda _: None,
    warn_after_s: float = WARN_AFTER_S,
    expire_after_s: float = EXPIRE_AFTER_S,
    lock_timeout_s: float | None = None,
) -> AsyncGenerator[WriteTransaction]:
    """BEGIN IMMEDIATE to COMMIT around the block; any exception, cancellation included, rolls back.

    `blocks` is told whether the transaction holds up the others for long. Raises NestedTransaction, and TransactionExpired at the end of a
    block that was rolled back because it was open for too long.
    """
    async with writer.lease(timeout_s=lock_timeout_s) as lease:
        opened = _OpenWrite(writer, lease, blocks=blocks, warn_after_s=warn_after_s, expire_after_s=expire_after_s)
        try:
            await opened.begin()
            yield opened.transaction
        except BaseException as exc:
            await opened.end(exc)
            raise
        await opened.end(None)


_reading: ContextVar[tuple[ReaderPool, ReadTransaction, asyncio.Task[object] | None] | None] = ContextVar(
    "syncline_read_transaction", default=None
)


def refuse_reader(readers: ReaderPool) -> None:
    """Raise NestedTransaction where the calling task is inside of a read transaction: it would see another state, or wait for itself."""
    held = _reading.get()
    if held is not None and held[0] is readers and held[1].is_open and held[2] is asyncio.current_task():
        raise NestedTransaction(
            "The database was read inside a read transaction of the same task.",
            hint="Use the transaction object (`tx.get_all(...)`) inside `async with db.read_transaction() as tx`: it sees one state.",
        )


@contextlib.asynccontextmanager
async def open_read_transaction(
    readers: ReaderPool, *, lock_timeout_s: float | None = None
) -> AsyncGenerator[ReadTransaction]:
    """One snapshot around the block, which begins with its first query."""
    refuse_reader(readers)
    held = _reading.get()
    async with readers.lease(timeout_s=lock_timeout_s) as reader:
        transaction = ReadTransaction(reader)
        _reading.set((readers, transaction, asyncio.current_task()))
        await _finish(reader.run(lambda connection: connection.execute("BEGIN").fetchall()))
        try:
            yield transaction
        finally:
            transaction.end()
            _reading.set(held)
            await _finish(reader.run(lambda connection: connection.execute("ROLLBACK").fetchall()))


async def _finish(running: Coroutine[Any, Any, object]) -> None:
    """Wait for the end even when cancelled: the connection must be free of the transaction before somebody else gets it."""
    task = asyncio.ensure_future(running)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


async def _wait_for(task: asyncio.Task[object]) -> None:
    await asyncio.wait([task])
