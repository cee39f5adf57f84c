"""Queries whose results follow the data."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable

import apsw
import apsw.ext

from syncline.client.changes import ChangeFeed, internal_names
from syncline.client.rows import Parameters, Row, bind, fetch
from syncline.client.threads import ReaderPool

__all__ = ["QUERIES_CACHED_MAX", "THROTTLE_S", "TableFinder", "watch_query"]

THROTTLE_S = 0.03  # seconds between two runs of a watched query, at least
QUERIES_CACHED_MAX = 1000  # statements whose tables are remembered

_READ = "SQLITE_READ"


class TableFinder:
    """Which tables a statement reads; asked of SQLite once per statement and version of the schema."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, int], frozenset[str]] = {}

    def tables(self, connection: apsw.Connection, sql: str) -> set[str]:
        """Names of the tables and views that `sql` reads. Raises apsw.Error for a statement that SQLite does not take."""
        [(version,)] = connection.execute("PRAGMA schema_version").fetchall()
        key = (sql, int(str(version)))
        if key not in self._found:
            if len(self._found) >= QUERIES_CACHED_MAX:
                self._found.clear()
            actions = apsw.ext.query_info(connection, sql, actions=True).actions or []
            self._found[key] = frozenset(
                str(action.table_name) for action in actions if action.action_name == _READ and action.table_name
            )
        return set(self._found[key])


async def watch_query(
    *,
    readers: ReaderPool,
    feed: ChangeFeed,
    finder: TableFinder,
    sql: str,
    parameters: Parameters | None,
    throttle_s: float,
    tables: Iterable[str] | None,
) -> AsyncGenerator[list[Row]]:
    """The rows now, and again after each commit that touched a table of the query; the latest wins. Ends when the database closes."""
    bound = bind(parameters)

    def discover(connection: apsw.Connection) -> set[str]:
        return finder.tables(connection, sql)

    names = await readers.call(discover) if tables is None else internal_names(set(tables))
    loop = asyncio.get_running_loop()
    with feed.subscribe() as changes:
        while True:
            started = loop.time()
            yield await readers.call(lambda connection: fetch(connection, sql, bound))
            if not await changes.next(names):
                return
            await asyncio.sleep(max(0.0, started + throttle_s - loop.time()))
