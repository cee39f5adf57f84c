"""Which tables have changed: noticed by hooks on the write connection, told after the commit."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Generator

import apsw

__all__ = ["ChangeFeed", "ChangeSubscription", "internal_names", "public_name"]

_PREFIXES = ("ps_data_local__", "ps_data__")


def public_name(table: str) -> str:
    """Name of the app's table behind an internal one; other names stay."""
    for prefix in _PREFIXES:
        if table.startswith(prefix):
            return table.removeprefix(prefix)
    return table


def internal_names(tables: set[str]) -> set[str]:
    """Every name under which a change of these tables can be reported (client SQLite reference, 14)."""
    return {prefix + table for prefix in ("", *_PREFIXES) for table in tables}


class ChangeSubscription:
    """What changed since the last look, for one reader; changes in between are folded into one."""

    def __init__(self) -> None:
        self._tables: set[str] = set()
        self._wake = asyncio.Event()
        self._closed = False

    async def next(self, tables: set[str] | None = None) -> set[str]:
        """Wait until one of `tables` (None: any) has changed; returns what changed, the empty set when the database closes."""
        while not self._closed:
            relevant = self._tables if tables is None else self._tables & tables
            if relevant:
                self._tables = set()
                return relevant
            # Every other table is of no interest, now or later.
            self._tables = set()
            self._wake.clear()
            await self._wake.wait()
        return set()

    def tell(self, tables: set[str]) -> None:
        """Note changed tables."""
        self._tables |= tables
        self._wake.set()

    def close(self) -> None:
        """Wake the reader for the last time."""
        self._closed = True
        self._wake.set()


class ChangeFeed:
    """Collects changes in the writer thread and hands them to subscriptions in the event loop.

    Changes by other connections, in WITHOUT ROWID tables and by truncating deletes are not seen by SQLite's update hook.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._uncommitted: set[str] = set()
        self._committed: set[str] = set()
        self._subscriptions: set[ChangeSubscription] = set()
        self._listeners: list[Callable[[set[str]], None]] = []

    def install(self, connection: apsw.Connection) -> None:
        """Set the hooks; in the thread of the connection."""
        connection.set_update_hook(lambda _kind, _database, table, _rowid: self._uncommitted.add(table))
        connection.set_commit_hook(self._on_commit)
        connection.set_rollback_hook(self._uncommitted.clear)

    def flush(self) -> None:
        """Tell what was committed; called in the writer thread after each call."""
        if self._committed:
            tables, self._committed = self._committed, set()
            # The loop may be closing: then nobody listens any more.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self.tell, tables)

    def tell(self, tables: set[str]) -> None:
        """Hand changed tables to everybody; in the event loop."""
        for listener in self._listeners:
            listener(tables)
        for subscription in list(self._subscriptions):
            subscription.tell(tables)

    def listen(self, listener: Callable[[set[str]], None]) -> None:
        """Call `listener` in the event loop with the internal names of changed tables, for as long as the database is open."""
        self._listeners.append(listener)

    @contextlib.contextmanager
    def subscribe(self) -> Generator[ChangeSubscription]:
        """Follow changes from now on."""
        subscription = ChangeSubscription()
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    def close(self) -> None:
        """End every subscription."""
        for subscription in list(self._subscriptions):
            subscription.close()

    def _on_commit(self) -> bool:
        self._committed |= self._uncommitted
        self._uncommitted.clear()
        return False
