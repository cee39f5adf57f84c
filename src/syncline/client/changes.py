"""Which tables have changed: noticed by hooks on the write connection, told after the commit."""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import Callable, Collection

import apsw

__all__ = ["EVERYTHING", "ChangeFeed", "ChangeSubscription", "TableChanges", "internal_names", "public_name"]

EVERYTHING = "*"
"""Stands for all tables where nobody can say which have changed: another process wrote, or the data were replaced."""

_SCHEMA_CHANGES = frozenset({apsw.SQLITE_CREATE_TABLE, apsw.SQLITE_DROP_TABLE, apsw.SQLITE_ALTER_TABLE})
_DROPS = frozenset(
    {
        apsw.SQLITE_DROP_TABLE,
        apsw.SQLITE_DROP_TEMP_TABLE,
        apsw.SQLITE_DROP_VIEW,
        apsw.SQLITE_DROP_TEMP_VIEW,
        apsw.SQLITE_DROP_VTABLE,
    }
)
_PREFIXES = ("ps_data_local__", "ps_data__")


def public_name(table: str) -> str:
    """Name of the app's table behind an internal one; other names stay."""
    for prefix in _PREFIXES:
        if table.startswith(prefix):
            return table.removeprefix(prefix)
    return table


def internal_names(tables: Collection[str]) -> set[str]:
    """Every name under which a change of these tables can be reported (client SQLite reference, 14)."""
    return {prefix + table for prefix in ("", *_PREFIXES) for table in tables}


class ChangeSubscription:
    """What changed since the last look, for one reader; changes in between are folded into one."""

    def __init__(self) -> None:
        self._tables: set[str] = set()
        self._wake = asyncio.Event()
        self._closed = False

    async def next(self, tables: set[str] | None = None) -> set[str]:
        """Wait until one of `tables` (None: any) has changed; returns what changed, the empty set when the database closes.

        Where nobody can say what changed it is all of `tables`, or EVERYTHING.
        """
        while not self._closed:
            if relevant := self._relevant(tables):
                self._tables = set()
                return relevant
            # Every other table is of no interest, now or later.
            self._tables = set()
            self._wake.clear()
            await self._wake.wait()
        return set()

    def forget(self) -> None:
        """What was told so far has been read."""
        self._tables = set()

    def tell(self, tables: Collection[str]) -> None:
        """Note changed tables."""
        self._tables.update(tables)
        self._wake.set()

    def wake(self) -> None:
        """Note that the reader waits for something else now: as if all tables had changed."""
        self.tell((EVERYTHING,))

    @property
    def is_closed(self) -> bool:
        """Whether no change will come any more."""
        return self._closed

    def close(self) -> None:
        """Wake the reader for the last time. Can be called again."""
        self._closed = True
        self._wake.set()

    def _relevant(self, tables: set[str] | None) -> set[str]:
        if EVERYTHING in self._tables:
            return {EVERYTHING} if tables is None else set(tables) or {EVERYTHING}
        return self._tables if tables is None else self._tables & tables


class ChangeFeed:
    """Collects changes in the writer thread and hands them to subscriptions in the event loop.

    SQLite's update hook sees the writes of its own connection only, and none in WITHOUT ROWID tables: those of the app are reported with
    every commit that wrote something. A DELETE that empties a whole table is made to delete row by row, which the hook sees.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._uncommitted: set[str] = set()
        self._committed: set[str] = set()
        self._unseen: frozenset[str] = frozenset()
        self._subscriptions: weakref.WeakSet[ChangeSubscription] = weakref.WeakSet()
        self._listeners: list[Callable[[set[str]], None]] = []
        self._followed: Callable[[], None] | None = None
        self._connection: apsw.Connection | None = None
        self._dropping: str | None = None
        self._schema_touched = True

    def install(self, connection: apsw.Connection) -> None:
        """Set the hooks; in the thread of the connection."""
        add = self._uncommitted.add  # called for every row that is written
        connection.set_update_hook(lambda _kind, _database, table, _rowid: add(table))
        connection.set_commit_hook(self._on_commit)
        connection.set_rollback_hook(self._uncommitted.clear)
        connection.authorizer = self._authorize
        self._connection = connection

    def flush(self) -> None:
        """Tell what was committed; called in the writer thread after each call."""
        if self._schema_touched and self._connection is not None and not self._connection.in_transaction:
            self._schema_touched = False
            self._unseen = _tables_without_rowid(self._connection)
        if self._committed:
            tables, self._committed = self._committed, set()
            # The loop may be closing: then nobody listens any more.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self.tell, tables)

    def tell(self, tables: set[str]) -> None:
        """Hand changed tables to everybody; in the event loop."""
        for listener in list(self._listeners):
            listener(tables)
        for subscription in list(self._subscriptions):
            subscription.tell(tables)

    def tell_everything(self) -> None:
        """Say that any table may have changed; in the event loop."""
        self.tell({EVERYTHING, "ps_crud"})

    def listen(self, listener: Callable[[set[str]], None]) -> Callable[[], None]:
        """Call `listener` in the event loop with the internal names of changed tables; returns what ends it, once or more often."""
        entry: Callable[[set[str]], None] = lambda tables: listener(tables)  # noqa: E731 - one entry for each call
        self._listeners.append(entry)

        def dispose() -> None:
            if entry in self._listeners:
                self._listeners.remove(entry)

        return dispose

    def subscribe(self) -> ChangeSubscription:
        """Follow changes from now on, until the subscription is closed or forgotten."""
        subscription = ChangeSubscription()
        self._subscriptions.add(subscription)
        if self._followed is not None:
            self._followed()
        return subscription

    def unsubscribe(self, subscription: ChangeSubscription) -> None:
        """End one subscription. Can be called again."""
        self._subscriptions.discard(subscription)
        subscription.close()

    @property
    def is_followed(self) -> bool:
        """Whether somebody waits for changes."""
        return bool(self._subscriptions)

    def when_followed(self, callback: Callable[[], None]) -> None:
        """Call `callback` whenever somebody begins to follow."""
        self._followed = callback

    def close(self) -> None:
        """End every subscription."""
        for subscription in list(self._subscriptions):
            subscription.close()

    def _authorize(self, operation: int, table: str | None, *_: str | None) -> int:
        # Asked when a statement is compiled, not when it runs.
        if operation in _SCHEMA_CHANGES:
            self._schema_touched = True
        if operation in _DROPS:
            self._dropping = table  # and then SQLite asks whether its rows may be deleted, which must not be ignored
        elif operation == apsw.SQLITE_DELETE and table is not None:
            dropping, self._dropping = self._dropping, None
            # SQLITE_IGNORE for a DELETE only switches off the truncation of the whole table, which no hook sees
            # (sqlite3_set_authorizer). Sync empties tables of its own in this way, which nobody watches.
            if table != dropping and (table.startswith("ps_data") or not table.startswith(("ps_", "sqlite_"))):
                return apsw.SQLITE_IGNORE
        return apsw.SQLITE_OK

    def _on_commit(self) -> bool:
        self._committed |= self._uncommitted
        self._committed |= self._unseen
        self._uncommitted.clear()
        return False


class TableChanges:
    """Names of changed tables as an asynchronous iterator: `async for tables in db.on_change()`. Follows from the moment it is made."""

    def __init__(
        self,
        feed: ChangeFeed,
        *,
        tables: Collection[str] | None,
        all_tables: Collection[str],
        throttle_s: float,
        at_once: bool,
    ) -> None:
        self._feed = feed
        self._names = None if tables is None else internal_names(tables)
        self._everything = set(all_tables if tables is None else tables)
        self._throttle_s = throttle_s
        self._changes = feed.subscribe()
        self._noted: set[str] = set(self._everything) if at_once else set()
        self._told_at = float("-inf")

    def __aiter__(self) -> TableChanges:
        return self

    async def __anext__(self) -> set[str]:
        loop = asyncio.get_running_loop()
        if not self._noted:
            self._note(await self._changes.next(self._names))
        if (rest := self._told_at + self._throttle_s - loop.time()) > 0:
            await asyncio.sleep(rest)
        if self._changes.is_closed:
            raise StopAsyncIteration
        self._told_at = loop.time()
        noted, self._noted = self._noted, set()
        return noted

    async def aclose(self) -> None:
        """End it. Can be called again."""
        self._feed.unsubscribe(self._changes)

    async def __aenter__(self) -> TableChanges:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _note(self, changed: set[str]) -> None:
        self._noted |= self._everything if EVERYTHING in changed else {public_name(name) for name in changed}
        if self._names is not None:
            self._noted &= self._everything


def _tables_without_rowid(connection: apsw.Connection) -> frozenset[str]:
    rows = connection.execute(
        "SELECT name FROM pragma_table_list WHERE wr AND schema = 'main' AND type = 'table' AND name NOT GLOB 'ps_*'"
    )
    return frozenset(str(name) for (name,) in rows.fetchall())
