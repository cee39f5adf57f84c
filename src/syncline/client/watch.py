"""Queries whose results follow the data (client API reference, 5)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

import apsw

from syncline.client.changes import ChangeFeed, internal_names
from syncline.client.errors import DatabaseClosed
from syncline.client.rows import Parameters, bind
from syncline.client.statements import select_parameters
from syncline.client.table_finder import TableFinder
from syncline.client.threads import ReaderPool
from syncline.errors import ClientError

__all__ = ["THROTTLE_S", "Watch", "WatchSource"]

THROTTLE_S = 0.03  # seconds between two runs of a watched query, at least

T = TypeVar("T")
Read = Callable[[apsw.Connection, str, Any], T]
"""Reads the result of a statement with bound parameters, in a reader's thread."""


class WatchSource:
    """What every watch of one database shares."""

    def __init__(self, *, readers: ReaderPool, feed: ChangeFeed, finder: TableFinder) -> None:
        self.readers = readers
        self.feed = feed
        self.finder = finder


class Watch(Generic[T]):
    """The results of one query: `async for rows in watch`. The first comes at once, each later one after a commit that touched its tables.

    The latest wins: changes while the reader is busy, or within `throttle_s` after a run, are folded into one run, which always comes
    (nothing of a burst is lost). `update` changes the parameters: results of older ones are dropped from then on, whenever they arrive.
    Ends when the database closes. Raises what the query raises; the next step then tries again.
    """

    def __init__(
        self,
        source: WatchSource,
        *,
        read: Read[T],
        sql: str,
        parameters: Parameters | None,
        throttle_s: float = THROTTLE_S,
        tables: Iterable[str] | None = None,
        distinct: bool = False,
    ) -> None:
        self._source = source
        self._read = read
        self._sql = sql
        self._bound = bind(parameters)
        self._throttle_s = throttle_s
        self._chosen = None if tables is None else frozenset(internal_names(set(tables)))
        self._distinct = distinct
        self._last: tuple[T] | None = None
        self._names: frozenset[str] = self._chosen or frozenset()
        self._changes = source.feed.subscribe()
        self._generation = 0
        self._due = True
        self._hurry = asyncio.Event()  # set: the throttle does not count
        self._started_at = float("-inf")
        self._running: asyncio.Task[T] | None = None
        self._reading = False

    @property
    def generation(self) -> int:
        """How often the query was changed; results that come out are always of the newest."""
        return self._generation

    def update(self, parameters: Parameters | None = None, *, sql: str | None = None, **named: Any) -> int:
        """Watch the query with other parameters (or another query) from now on; returns the new generation.

        The next result is of these, without a wait; a query that runs with the older ones is broken off.
        """
        self._bound = bind(select_parameters(parameters, named))
        self._sql = self._sql if sql is None else sql
        self._generation += 1
        self._due = True
        self._hurry.set()
        self._last = None
        if self._running is not None:
            self._running.cancel()
        self._changes.wake()
        return self._generation

    def __aiter__(self) -> Watch[T]:
        return self

    async def __anext__(self) -> T:
        if self._reading:
            raise ClientError("A watch was read by two tasks at once.", hint="Make a watch for each of them.")
        self._reading = True
        try:
            return await self._next()
        finally:
            self._reading = False

    async def aclose(self) -> None:
        """End it: nothing is read any more. Can be called again."""
        self._source.feed.unsubscribe(self._changes)
        if self._running is not None:
            self._running.cancel()

    async def __aenter__(self) -> Watch[T]:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _next(self) -> T:
        while True:
            await self._until_due()
            if self._changes.is_closed:
                raise StopAsyncIteration
            generation = self._generation
            try:
                result = await self._run()
            except DatabaseClosed:
                raise StopAsyncIteration from None
            if generation != self._generation or result is None:
                continue
            self._due = False
            if self._distinct and self._last == result:
                continue
            self._last = result if self._distinct else None
            return result[0]

    async def _until_due(self) -> None:
        """Wait for a change; `_due` stays set until a result was delivered, so that a cancelled step loses nothing."""
        loop = asyncio.get_running_loop()
        if not self._due:
            await self._changes.next(set(self._names))
            self._due = True
        rest = self._started_at + self._throttle_s - loop.time()
        if rest > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(rest):
                    await self._hurry.wait()

    async def _run(self) -> tuple[T] | None:
        """One reading; None where it was broken off because the parameters have changed."""
        sql, bound = self._sql, self._bound
        self._started_at = asyncio.get_running_loop().time()
        self._hurry.clear()
        self._changes.forget()  # told means committed: this reading sees it

        def read(connection: apsw.Connection) -> T:
            if self._chosen is None:
                self._names = self._source.finder.tables(connection, sql)
            return self._read(connection, sql, bound)

        running = self._running = asyncio.ensure_future(self._source.readers.call(read))
        try:
            await asyncio.wait([running])
        except asyncio.CancelledError:
            running.cancel()
            raise
        finally:
            self._running = None
        return None if running.cancelled() else (running.result(),)
