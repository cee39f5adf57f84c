"""Which rows of a table have changed, with their values before and after (client API reference, 9).

Temporary triggers of the write connection note, for each row that is touched, what it was before the first touch; the net change is the
difference to what it is when somebody asks. So a row that sync deletes and inserts again in one go is an update, and however slow the
reader is, each row is noted once.
"""

from __future__ import annotations

import asyncio
import enum
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import apsw
import orjson

from syncline.client.changes import ChangeFeed
from syncline.client.errors import DatabaseClosed
from syncline.client.local.connection import write_transaction
from syncline.client.local.sql_text import quote_identifier
from syncline.client.schema import Schema, Table
from syncline.client.threads import Writer
from syncline.errors import ClientError

__all__ = ["CHANGES_PER_STEP_MAX", "RowChange", "RowChangeKind", "RowChanges"]

CHANGES_PER_STEP_MAX = 10_000  # rows of one step: more come with the next ones

_numbers = itertools.count(1)


class RowChangeKind(enum.StrEnum):
    """What has become of a row since it was last told of."""

    INSERTED = "inserted"
    UPDATED = "updated"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class RowChange:
    """The net change of one row. `current` and `previous` are its columns (of the schema, or the chosen ones); None: there is no row."""

    kind: RowChangeKind
    id: str
    current: dict[str, Any] | None
    previous: dict[str, Any] | None


class RowChanges:
    """Changes of one table's rows, by the app and by sync, from the first step on: `async for changes in db.track_changes("todos")`.

    Writes of other processes are not noted. Ends when the database closes; `aclose` removes the triggers.
    """

    def __init__(
        self, writer: Writer, feed: ChangeFeed, schema: Schema, table: str, columns: Sequence[str] | None
    ) -> None:
        self._writer = writer
        self._feed = feed
        self._table = _tracked(schema, table)
        self._columns = _chosen(self._table, columns)
        self._changes = feed.subscribe()
        self._name = f"syncline_changes_{next(_numbers)}"
        self._reading: asyncio.Task[list[RowChange]] | None = None
        self._started = False
        self._more = False

    def __aiter__(self) -> RowChanges:
        return self

    async def __anext__(self) -> list[RowChange]:
        """The next changes, at least one. A step that is cancelled loses none."""
        try:
            await self.start()
            while True:
                if self._reading is None:
                    if not self._more and not await self._changes.next({self._table.internal_name}):
                        raise StopAsyncIteration
                    self._reading = asyncio.create_task(self._writer.call(self._take))
                await asyncio.wait([self._reading])
                reading, self._reading = self._reading, None
                if found := reading.result():
                    return found
        except DatabaseClosed:
            raise StopAsyncIteration from None

    async def start(self) -> None:
        """Note changes from now on; the first step does it too."""
        if not self._started:
            self._started = True
            await self._writer.call(self._create)

    async def aclose(self) -> None:
        """End it, and remove its triggers. Can be called again."""
        self._feed.unsubscribe(self._changes)
        if self._started:
            self._started = False
            await self._writer.call(self._drop)

    async def __aenter__(self) -> RowChanges:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _create(self, connection: apsw.Connection) -> None:
        # TEMP triggers belong to this connection: nothing of them is in the file, and they end with the process.
        table = f"main.{quote_identifier(self._table.internal_name)}"
        connection.execute(f"CREATE TEMP TABLE {self._name}(id TEXT PRIMARY KEY, previous TEXT)").fetchall()
        for event, row, value in (
            ("INSERT", "NEW", "NULL"),
            ("UPDATE", "OLD", "OLD.data"),
            ("DELETE", "OLD", "OLD.data"),
        ):
            sql = (
                f"CREATE TEMP TRIGGER {self._name}_{event} AFTER {event} ON {table} BEGIN "  # noqa: S608 - our own names
                f"INSERT INTO {self._name}(id, previous) SELECT {row}.id, {value} "
                f"WHERE NOT EXISTS (SELECT 1 FROM {self._name} WHERE id = {row}.id); END"
            )
            connection.execute(sql).fetchall()

    def _drop(self, connection: apsw.Connection) -> None:
        for event in ("INSERT", "UPDATE", "DELETE"):
            connection.execute(f"DROP TRIGGER IF EXISTS temp.{self._name}_{event}").fetchall()
        connection.execute(f"DROP TABLE IF EXISTS temp.{self._name}").fetchall()

    def _take(self, connection: apsw.Connection) -> list[RowChange]:
        table = f"main.{quote_identifier(self._table.internal_name)}"
        with write_transaction(connection, local_writes=False):
            rows = connection.execute(
                f"SELECT noted.id, noted.previous, now.data FROM temp.{self._name} AS noted "  # noqa: S608 - quoted
                f"LEFT JOIN {table} AS now ON now.id = noted.id ORDER BY noted.rowid LIMIT {CHANGES_PER_STEP_MAX}"
            ).fetchall()
            connection.executemany(
                f"DELETE FROM temp.{self._name} WHERE id = ?",  # noqa: S608 - our own name
                [(row_id,) for row_id, _, _ in rows],
            ).fetchall()
        self._more = len(rows) == CHANGES_PER_STEP_MAX
        found = (self._change(str(row_id), _read(before), _read(after)) for row_id, before, after in rows)
        return [change for change in found if change is not None]

    def _change(self, row_id: str, before: dict[str, Any] | None, after: dict[str, Any] | None) -> RowChange | None:
        previous, current = self._shown(before), self._shown(after)
        if previous == current:
            return None  # back to what it was, or changed in columns that nobody asked for
        if previous is None:
            return RowChange(RowChangeKind.INSERTED, row_id, current, None)
        kind = RowChangeKind.DELETED if current is None else RowChangeKind.UPDATED
        return RowChange(kind, row_id, current, previous)

    def _shown(self, values: dict[str, Any] | None) -> dict[str, Any] | None:
        return None if values is None else {name: values.get(name) for name in self._columns}


def _tracked(schema: Schema, name: str) -> Table:
    table = schema.table(name)
    if table is None or table.insert_only:
        raise ClientError(
            f'The rows of "{name}" cannot be tracked.',
            hint="It has to be a table of the schema whose rows are stored as JSON: synced or local-only, not raw.",
        )
    return table


def _chosen(table: Table, columns: Sequence[str] | None) -> tuple[str, ...]:
    known = tuple(column.name for column in table.columns)
    for name in columns or ():
        if name not in known:
            raise ClientError(
                f'Table "{table.name}" has no column "{name}".', hint=f"Its columns are: {', '.join(known)}."
            )
    return known if columns is None else tuple(columns)


def _read(data: Any) -> dict[str, Any] | None:
    return None if data is None else orjson.loads(str(data))
