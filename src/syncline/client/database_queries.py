"""Methods of the database that read, write and follow the app's data."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar, overload

import apsw

from syncline.client.changes import TableChanges, public_name
from syncline.client.database_parts import DatabaseBase
from syncline.client.local.connection import write_transaction
from syncline.client.row_changes import RowChanges
from syncline.client.rows import Parameters, Row, bind
from syncline.client.statements import (
    ThreadTransaction,
    execute_many,
    fetch_as,
    fetch_one,
    fetch_rows,
    require_row,
    select_parameters,
)
from syncline.client.threads import ReaderPool
from syncline.client.transaction_clock import EXPIRE_AFTER_S, WARN_AFTER_S
from syncline.client.transactions import (
    ReadTransaction,
    WriteTransaction,
    open_read_transaction,
    open_write_transaction,
    refuse_reader,
)
from syncline.client.watch import THROTTLE_S, Watch
from syncline.client.watch_diff import DiffWatch
from syncline.errors import ClientError

__all__ = ["QueryMethods"]

T = TypeVar("T")


class QueryMethods(DatabaseBase):
    """Statements, transactions and watched queries."""

    # -- writing

    async def execute(self, sql: str, parameters: Parameters | None = None) -> list[Row]:
        """Run one statement in a transaction of its own; returns its rows (RETURNING). Raises apsw.Error, NestedTransaction."""
        bound = bind(parameters)
        return await self._write(lambda connection: fetch_rows(connection, sql, bound))

    async def execute_many(self, sql: str, parameters: Iterable[Parameters]) -> None:
        """Run one statement for each set of parameters, in one transaction: all or none. Raises apsw.Error, NestedTransaction.

        Leave the parameters as they are until it returns.
        """
        given = parameters if isinstance(parameters, Sequence) else list(parameters)
        await self._write(lambda connection: execute_many(connection, sql, given))

    async def run(self, function: Callable[[ThreadTransaction], T], *, transaction: bool = True) -> T:
        """Run a plain function in the writer thread, inside a write transaction, and return what it returns; its exception rolls back.

        The way for many statements that depend on each other: there is nothing to await inside, so nobody waits for a network. The
        function must not call the database but through its argument. Without `transaction` each statement is one of its own, and what
        SQLite allows outside of transactions only is possible (VACUUM); writes to synced tables then are a transaction of the upload queue
        each. Raises ClientError for a coroutine function, NestedTransaction.
        """
        if inspect.iscoroutinefunction(function):
            raise ClientError(
                "`run` takes a plain function: it runs in the writer thread.",
                hint="Write `def`, not `async def`; for awaits use `async with db.write_transaction() as tx`.",
            )
        if transaction:
            return await self._write(lambda connection: function(ThreadTransaction(connection)))
        return await self._open_parts().writer.call(
            lambda connection: function(ThreadTransaction(connection)), interruptible=True
        )

    def write_transaction(
        self, *, lock_timeout_s: float | None = None
    ) -> contextlib.AbstractAsyncContextManager[WriteTransaction]:
        """Statements that are committed together. Only one at a time: do not wait for the network inside.

        Open for 5 s between its statements it is named in the status (`blocked_by`), after 30 s it is rolled back: the block then ends
        with TransactionExpired. Raises NestedTransaction inside of another one of the same task, and TimeoutError where it cannot begin
        within `lock_timeout_s`.
        """
        return open_write_transaction(
            self._open_parts().writer,
            blocks=self._status.publish_open_transaction,
            lock_timeout_s=lock_timeout_s,
            warn_after_s=self._warn_after_s,
            expire_after_s=self._expire_after_s,
        )

    def set_transaction_limits(
        self, *, warn_after_s: float = WARN_AFTER_S, expire_after_s: float = EXPIRE_AFTER_S
    ) -> None:
        """How long later write transactions may be open between their statements, in seconds, before they are told of and rolled back."""
        assert 0 < warn_after_s <= expire_after_s
        self._warn_after_s = warn_after_s
        self._expire_after_s = expire_after_s

    # -- reading

    async def get_all(self, sql: str, parameters: Parameters | None = None) -> list[Row]:
        """All rows of a query. Raises apsw.Error."""
        bound = bind(parameters)
        return await self._readers().call(lambda connection: fetch_rows(connection, sql, bound))

    async def get_optional(self, sql: str, parameters: Parameters | None = None) -> Row | None:
        """The first row of a query, None for no row. Raises apsw.Error."""
        bound = bind(parameters)
        return await self._readers().call(lambda connection: fetch_one(connection, sql, bound))

    async def get(self, sql: str, parameters: Parameters | None = None) -> Row:
        """The first row of a query. Raises LookupError when there is none, and apsw.Error."""
        return require_row(await self.get_optional(sql, parameters))

    async def fetch(self, row_type: type[T], sql: str, parameters: Parameters | None = None, **named: Any) -> list[T]:
        """All rows of a query as objects: dataclass, msgspec.Struct, TypedDict, NamedTuple, Pydantic model, or a single value's type.

        >>> await db.fetch(Todo, "SELECT * FROM todos WHERE list_id = :list", list=list_id)
        >>> [count] = await db.fetch(int, "SELECT count(*) FROM todos")

        Annotations say how values are read: bool from 0 and 1, dates from ISO text, UUID, Decimal and enums from text, containers and
        nested types from JSON. Columns without a field are left out. Raises RowTypeMismatch, and apsw.Error.
        """
        bound = bind(select_parameters(parameters, named))
        return await self._readers().call(lambda connection: fetch_as(connection, row_type, sql, bound))

    def read_transaction(
        self, *, lock_timeout_s: float | None = None
    ) -> contextlib.AbstractAsyncContextManager[ReadTransaction]:
        """Queries that see one state of the file: that of the first of them.

        Raises NestedTransaction inside of another transaction of the same task, and TimeoutError where no reader is free within
        `lock_timeout_s`.
        """
        parts = self._open_parts()
        parts.writer.refuse_holder()
        return open_read_transaction(parts.readers, lock_timeout_s=lock_timeout_s)

    # -- following

    @overload
    def watch(
        self,
        sql: str,
        parameters: Parameters | None = None,
        *,
        row_type: None = None,
        throttle_s: float = THROTTLE_S,
        tables: Iterable[str] | None = None,
        distinct: bool = False,
    ) -> Watch[list[Row]]: ...
    @overload
    def watch(
        self,
        sql: str,
        parameters: Parameters | None = None,
        *,
        row_type: type[T],
        throttle_s: float = THROTTLE_S,
        tables: Iterable[str] | None = None,
        distinct: bool = False,
    ) -> Watch[list[T]]: ...
    def watch(
        self,
        sql: str,
        parameters: Parameters | None = None,
        *,
        row_type: type[Any] | None = None,
        throttle_s: float = THROTTLE_S,
        tables: Iterable[str] | None = None,
        distinct: bool = False,
    ) -> Watch[Any]:
        """The rows of a query now, and after each commit that touched one of its tables (or of `tables`); the latest wins.

        At most one result each `throttle_s` seconds; the last change of a burst always leads to one. `row_type` as in `fetch`. With
        `distinct` results that are equal to the one before are left out. `update(...)` of what is returned changes the parameters.
        """
        return Watch(
            self._open_parts().source,
            read=_reader(row_type),
            sql=sql,
            parameters=parameters,
            throttle_s=throttle_s,
            tables=tables,
            distinct=distinct,
        )

    @overload
    def watch_diff(
        self,
        sql: str,
        parameters: Parameters | None = None,
        *,
        key: str | Sequence[str] | Callable[[Row], Any] = "id",
        row_type: None = None,
        keep_previous: bool = True,
        throttle_s: float = THROTTLE_S,
        tables: Iterable[str] | None = None,
    ) -> DiffWatch[Row]: ...
    @overload
    def watch_diff(
        self,
        sql: str,
        parameters: Parameters | None = None,
        *,
        key: str | Sequence[str] | Callable[[T], Any] = "id",
        row_type: type[T],
        keep_previous: bool = True,
        throttle_s: float = THROTTLE_S,
        tables: Iterable[str] | None = None,
    ) -> DiffWatch[T]: ...
    def watch_diff(
        self,
        sql: str,
        parameters: Parameters | None = None,
        *,
        key: str | Sequence[str] | Callable[[Any], Any] = "id",
        row_type: type[Any] | None = None,
        keep_previous: bool = True,
        throttle_s: float = THROTTLE_S,
        tables: Iterable[str] | None = None,
    ) -> DiffWatch[Any]:
        """What is added, updated, removed and unchanged in a query's rows, told apart by `key`; first, all rows as added.

        With `keep_previous=False` only a digest of each row is remembered, for large results: then `updated` has no previous values,
        and of removed rows there are the keys alone.
        """
        return DiffWatch(
            self._open_parts().source,
            read=_reader(row_type),
            sql=sql,
            parameters=parameters,
            key=key,
            keep_previous=keep_previous,
            throttle_s=throttle_s,
            tables=tables,
        )

    def on_change(
        self, tables: Iterable[str] | None = None, *, throttle_s: float = 0.0, trigger_immediately: bool = False
    ) -> TableChanges:
        """Names of changed tables, after each commit that touched one of `tables` (None: any); folded for a slow reader.

        Changes by other processes, and `disconnect_and_clear`, are reported for all of them. Follows from this call on.
        """
        return TableChanges(
            self._open_parts().feed,
            tables=None if tables is None else set(tables),
            all_tables={table.name for table in self._schema.tables}
            | {raw.table_name for raw in self._schema.raw_tables},
            throttle_s=throttle_s,
            at_once=trigger_immediately,
        )

    def track_changes(self, table: str, columns: Sequence[str] | None = None) -> RowChanges:
        """Which rows of a table change, by the app and by sync in this process, with their values before and after.

        >>> async for changes in db.track_changes("todos", ["done"]):
        ...     for change in changes: ...

        Cheaper than `watch_diff` where a table is large and few rows change: only they are read. Each step tells the net change of every
        touched row since it was last told of. Notes begin with the first step, or with `async with`. Raises ClientError for raw tables.
        """
        parts = self._open_parts()
        return RowChanges(parts.writer, parts.feed, self._schema, table, columns)

    async def resolve_tables(self, sql: str) -> set[str]:
        """Names of the tables that a query reads, as `on_change` reports them. Raises ClientError for a statement that writes."""
        parts = self._open_parts()
        found = await parts.readers.call(lambda connection: parts.source.finder.tables(connection, sql))
        return {public_name(name) for name in found}

    # -- inside

    def _readers(self) -> ReaderPool:
        parts = self._open_parts()
        parts.writer.refuse_holder()
        refuse_reader(parts.readers)
        return parts.readers

    async def _write(self, function: Callable[[apsw.Connection], T]) -> T:
        def write(connection: apsw.Connection) -> T:
            with write_transaction(connection):
                return function(connection)

        return await self._open_parts().writer.call(write, interruptible=True)


def _reader(row_type: type[Any] | None) -> Callable[[apsw.Connection, str, Any], list[Any]]:
    if row_type is None:
        return fetch_rows
    return lambda connection, sql, bound: fetch_as(connection, row_type, sql, bound)
