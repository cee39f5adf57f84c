"""Transactions of the app: statements that succeed or fail together, or that see one state of the file."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from typing import Any, TypeVar

import apsw

from syncline.client.local.connection import write_transaction
from syncline.client.rows import Parameters, Row, bind, fetch
from syncline.client.threads import ConnectionThread, ReaderPool, Writer
from syncline.errors import ClientError

__all__ = ["ReadTransaction", "WriteTransaction", "open_read_transaction", "open_write_transaction"]

T = TypeVar("T")


class ReadTransaction:
    """Queries that all see the same state."""

    def __init__(self, runner: ConnectionThread | Writer) -> None:
        self._runner = runner
        self._open = True

    async def get_all(self, sql: str, parameters: Parameters | None = None) -> list[Row]:
        """All rows."""
        bound = bind(parameters)
        return await self._run(lambda connection: fetch(connection, sql, bound))

    async def get_optional(self, sql: str, parameters: Parameters | None = None) -> Row | None:
        """The first row, None for no row."""
        rows = await self.get_all(sql, parameters)
        return rows[0] if rows else None

    async def get(self, sql: str, parameters: Parameters | None = None) -> Row:
        """The first row. Raises LookupError when there is none."""
        row = await self.get_optional(sql, parameters)
        if row is None:
            raise LookupError("The query has no row.")
        return row

    def end(self) -> None:
        """No statement after the end of the block."""
        self._open = False

    async def _run(self, function: Callable[[apsw.Connection], T]) -> T:
        if not self._open:
            raise ClientError("The transaction has ended.", hint="Use it inside its `async with` block only.")
        return await self._runner.run(function)


class WriteTransaction(ReadTransaction):
    """Statements that are committed together at the end of the block, with their entries in the upload queue."""

    async def execute(self, sql: str, parameters: Parameters | None = None) -> list[Row]:
        """Run a statement; returns its rows (RETURNING)."""
        return await self.get_all(sql, parameters)

    async def execute_many(self, sql: str, parameters: Iterable[Parameters]) -> None:
        """Run a statement once for each set of parameters."""
        bound = [bind(entry) for entry in parameters]
        await self._run(lambda connection: _execute_many(connection, sql, bound))


def _execute_many(connection: apsw.Connection, sql: str, bound: list[Any]) -> None:
    for _ in connection.executemany(sql, bound):
        pass


@contextlib.asynccontextmanager
async def open_write_transaction(writer: Writer) -> AsyncGenerator[WriteTransaction]:
    """BEGIN IMMEDIATE to COMMIT around the block; any exception, cancellation included, rolls back."""
    async with writer.lease():
        begun: contextlib.AbstractContextManager[None] | None = None

        def begin(connection: apsw.Connection) -> None:
            nonlocal begun
            transaction = write_transaction(connection)
            transaction.__enter__()
            begun = transaction

        def end(_: apsw.Connection, error: BaseException | None) -> None:
            if begun is None:
                return
            with contextlib.suppress(BaseException) if error is not None else contextlib.nullcontext():
                begun.__exit__(type(error) if error else None, error, None)

        transaction = WriteTransaction(writer)
        try:
            await writer.run(begin)
            yield transaction
        except BaseException as exc:
            error = exc  # bound for the thread: `exc` is unset after the block
            transaction.end()
            # In the thread's order this comes after whatever a cancelled statement still does there.
            await _finish(writer.run(lambda connection: end(connection, error)))
            raise
        transaction.end()
        await _finish(writer.run(lambda connection: end(connection, None)))


@contextlib.asynccontextmanager
async def open_read_transaction(readers: ReaderPool) -> AsyncGenerator[ReadTransaction]:
    """One snapshot around the block."""
    async with readers.lease() as reader:
        transaction = ReadTransaction(reader)
        await _finish(reader.run(lambda connection: connection.execute("BEGIN").fetchall()))
        try:
            yield transaction
        finally:
            transaction.end()
            await _finish(reader.run(lambda connection: connection.execute("ROLLBACK").fetchall()))


async def _finish(running: Coroutine[Any, Any, object]) -> None:
    """Wait for the end even when cancelled: the connection must be free of the transaction before somebody else gets it."""
    task = asyncio.ensure_future(running)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
