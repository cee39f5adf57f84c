"""The Postgres persister: one database transaction per client transaction, the answer after the COMMIT."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool

from syncline.backend.dead_letters.letters import DeadLetterLimits
from syncline.backend.limits import CONFLICT_ATTEMPTS_MAX, POOL_CONNECTIONS_MAX, TRANSACTION_SECONDS_MAX
from syncline.backend.ownership import RowSecurity
from syncline.backend.persisters.base import (
    ParentGuard,
    RetryLater,
    Upload,
    UploadIdentity,
    UploadOutcome,
    Write,
    WriteRefused,
    one_batch,
)
from syncline.backend.persisters.postgres.batches import BatchPipeline
from syncline.backend.persisters.postgres.checkpoints import count_checkpoint
from syncline.backend.persisters.postgres.columns import TableColumns, read_columns
from syncline.backend.persisters.postgres.current_row import judge
from syncline.backend.persisters.postgres.dead_letters import PostgresDeadLetters
from syncline.backend.persisters.postgres.errors import is_conflict, verdict_over
from syncline.backend.persisters.postgres.guards import parent_guards, parent_is_own
from syncline.backend.persisters.postgres.invalid_values import naming_column
from syncline.backend.persisters.postgres.open_transaction import PostgresTransaction, run_procedure
from syncline.backend.persisters.postgres.operation_hooks import after_write, before_write
from syncline.backend.persisters.postgres.retention import VerdictRetention, drop_old_uploads
from syncline.backend.persisters.postgres.row_security import enter_row_security
from syncline.backend.persisters.postgres.statements import foreign_row, statement_for
from syncline.backend.persisters.postgres.uploads import claim_upload, make_uploads_table
from syncline.backend.staged.postgres import PostgresStagedStore
from syncline.protocol.crud import ResultStatus, TransactionResult, UpdateType

__all__ = ["PostgresPersister"]

log = logging.getLogger(__name__)

Connection = psycopg.AsyncConnection[tuple[Any, ...]]
_SUCCESS = TransactionResult(ResultStatus.SUCCESS)
_PERHAPS_OUTDATED = frozenset({"SCHEMA_MISMATCH", "INVALID_DATA"})  # refusals that a changed table may be the reason of
_WAIT_FOR_CONNECTION_S = 10.0  # seconds for a free connection; after that the client is asked to come back


class _ColumnsOutdated(Exception):
    """A refusal by columns that were read earlier: look at the table again before telling the client."""


class PostgresPersister:
    """Writes to one database through a pool.

    The role needs SELECT, INSERT, UPDATE and DELETE on the tables and on `syncline_uploads`, which it makes where it may.
    With `row_security` the database's own policies decide too. `prepared_statements` False is for poolers that cannot keep them.
    `dead_letter_limits` says how many refused transactions are kept.
    """

    def __init__(
        self,
        dsn: str,
        *,
        connections_max: int = POOL_CONNECTIONS_MAX,
        transaction_seconds_max: float = TRANSACTION_SECONDS_MAX,
        row_security: RowSecurity | None = None,
        prepared_statements: bool = True,
        dead_letter_limits: DeadLetterLimits | None = None,
    ) -> None:
        self._row_security = row_security
        self._transaction_seconds_max = transaction_seconds_max
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            dsn,
            min_size=1,
            max_size=connections_max,
            open=False,
            timeout=min(_WAIT_FOR_CONNECTION_S, transaction_seconds_max),
            kwargs={"application_name": "syncline-backend"}
            | ({} if prepared_statements else {"prepare_threshold": None}),
        )
        self._columns: dict[str, TableColumns] = {}
        self._retention = VerdictRetention(self._pool, seconds_max=transaction_seconds_max)
        self.dead_letters = PostgresDeadLetters(
            self._pool, seconds_max=transaction_seconds_max, limits=dead_letter_limits
        )
        self.staged_store = PostgresStagedStore(dsn)
        self._batches = BatchPipeline(
            self._pool,
            columns=self._columns,
            row_security=row_security,
            prepares=prepared_statements,
            transaction_seconds_max=transaction_seconds_max,
        )

    async def open(self) -> None:
        """Connect, and make the table of verdicts.

        Raises psycopg.Error where the database cannot be reached, ConfigError where the role may not make the table.
        """
        await self._pool.open()  # not waited for: a pool whose wait has failed can never be opened again
        async with self._pool.connection() as connection:
            await make_uploads_table(connection)
            await drop_old_uploads(connection)

    async def close(self) -> None:
        """Close all connections."""
        await self.staged_store.close()
        await self._pool.close()

    async def apply(self, writes: list[Write], identity: UploadIdentity | None) -> TransactionResult:
        """Apply all writes in one transaction; see `syncline.backend.persisters.base.Persister`."""
        result = await self._apply_alone(Upload(writes, identity), 0)
        await self._retention.stored(identity, 1)
        return result

    async def apply_batch(self, uploads: Sequence[Upload]) -> list[UploadOutcome]:
        """Apply transactions in pipelines where they allow it; see `syncline.backend.persisters.base.BatchPersister`."""
        outcomes = await self._batches.apply(uploads, self._apply_alone)
        await self._retention.stored(uploads[0].identity, len(outcomes))
        return outcomes

    async def _apply_alone(self, upload: Upload, conflicts: int) -> TransactionResult:
        try:
            return await self._within(
                self._transaction_seconds_max,
                lambda fresh: self._apply_batches(one_batch(upload.writes), upload.identity, fresh),
                conflicts=conflicts,
            )
        except WriteRefused as exc:
            raise await naming_column(self._pool, exc, upload.writes, self._columns) from exc

    async def apply_stream(
        self,
        writes: Callable[[], AsyncIterator[list[Write]]],
        identity: UploadIdentity | None,
        *,
        seconds_max: float,
    ) -> TransactionResult:
        """Apply batches of writes in one transaction; see `syncline.backend.persisters.base.StreamingPersister`."""
        result = await self._within(seconds_max, lambda fresh: self._apply_batches(writes(), identity, fresh))
        await self._retention.stored(identity, 1)
        return result

    async def _within(
        self, seconds_max: float, once: Callable[[set[str]], Awaitable[TransactionResult]], *, conflicts: int = 0
    ) -> TransactionResult:
        try:
            async with asyncio.timeout(seconds_max):
                return await self._apply(once, conflicts)
        except TimeoutError as exc:
            log.warning("The database did not finish an upload in time", extra={"event": "backend.database_timeout"})
            raise RetryLater("The database did not finish the write in time.") from exc

    async def _apply(
        self, once: Callable[[set[str]], Awaitable[TransactionResult]], conflicts: int
    ) -> TransactionResult:
        """Attempts, until the transaction goes through or no further one can help; `conflicts` have ended some already."""
        fresh: set[str] = set()
        attempt = 1 + conflicts
        while True:
            try:
                return await once(fresh)
            except _ColumnsOutdated:
                continue  # ends: a table is outdated once only
            except psycopg.Error as exc:
                if is_conflict(exc) and attempt < CONFLICT_ATTEMPTS_MAX:
                    attempt += 1
                    continue
                log.warning("The database ended an upload: %s", exc.sqlstate, extra={"event": "backend.database_error"})
                raise verdict_over(exc, operation_index=None) from exc

    async def record_refusal(self, identity: UploadIdentity, result: TransactionResult) -> TransactionResult:
        """Store the verdict over a refused transaction, in a transaction of its own; see `Persister`."""
        try:
            async with (
                asyncio.timeout(self._transaction_seconds_max),
                self._pool.connection() as connection,
                connection.transaction(),
            ):
                return await claim_upload(connection, identity, result) or result
        except (psycopg.Error, TimeoutError) as exc:
            raise RetryLater("The verdict could not be stored.") from exc

    async def next_checkpoint(self, user_id: str, client_id: str) -> int:
        """Count the write checkpoint of a user's device up by one; see `Persister`."""
        try:
            async with (
                asyncio.timeout(self._transaction_seconds_max),
                self._pool.connection() as connection,
                connection.transaction(),
            ):
                return await count_checkpoint(connection, user_id, client_id)
        except (psycopg.Error, TimeoutError) as exc:
            raise RetryLater("The checkpoint could not be counted.") from exc

    async def _apply_batches(
        self, batches: AsyncIterator[list[Write]], identity: UploadIdentity | None, fresh: set[str]
    ) -> TransactionResult:
        """One attempt at a transaction whose writes are read while it runs: one batch of them is held at a time.

        `fresh` names the tables whose columns were read for this upload; more are added.
        """
        async with self._pool.connection() as connection, connection.transaction():
            if identity is not None:
                stored = await claim_upload(connection, identity, _SUCCESS)
                if stored is not None:
                    return stored
            secured = self._row_security is None
            async for writes in batches:
                if not secured and self._row_security is not None and writes:
                    await enter_row_security(connection, self._row_security, writes[0].context)
                    secured = True
                for write in writes:
                    await self._write_or_look_again(connection, write, fresh)
        return _SUCCESS

    async def _write_or_look_again(self, connection: Connection, write: Write, fresh: set[str]) -> None:
        """Write; a refusal that outdated columns may be the reason of asks for another attempt, with columns read anew."""
        try:
            await self._write(connection, write, fresh)
        except WriteRefused as exc:
            if exc.error_code not in _PERHAPS_OUTDATED or write.table in fresh:
                raise
            self._columns.clear()  # of parents and records too
            fresh.add(write.table)
            raise _ColumnsOutdated from exc

    async def _write(self, connection: Connection, write: Write, fresh: set[str]) -> None:
        """Perform a write, between the app's hooks."""
        await before_write(connection, write)
        await self._write_row(connection, write, fresh)
        await after_write(connection, write)

    async def _write_row(self, connection: Connection, write: Write, fresh: set[str]) -> None:
        """Judge the write by the current row where its table asks for that, and perform what becomes of it."""
        if write.procedure is not None:
            transaction = PostgresTransaction(
                connection,
                lambda inner: self._write(connection, inner, fresh),
                security=self._row_security,
                context=write.context,
            )
            await run_procedure(write, transaction)
            return
        columns = await self._columns_of(connection, write, fresh)
        parents = await self._parents_of(connection, write, fresh)
        for _ in range(CONFLICT_ATTEMPTS_MAX):
            try:
                judged = await judge(connection, write, columns, parents)
                done = judged.write is None or await self._perform(connection, judged.write, columns, parents)
            except psycopg.Error as exc:
                if is_conflict(exc):
                    raise
                raise verdict_over(exc, operation_index=write.index) from exc
            if done or not judged.inserts:
                for record in judged.records:
                    await self._write(connection, record, fresh)
                return
        raise RetryLater("Others write the same row.")

    async def _perform(
        self, connection: Connection, write: Write, columns: TableColumns, parents: dict[str, TableColumns]
    ) -> bool:
        """Execute one statement; whether it found or made a row. Raises WriteRefused, psycopg.Error."""
        await self._check_parent(connection, write, parents)
        statement = statement_for(write, columns, parents)
        if statement is None:
            return True
        cursor = await connection.execute(statement.query, statement.parameters)
        if cursor.rowcount == 0:
            await self._nothing_written(connection, write, columns, parents)
        return cursor.rowcount > 0

    async def _check_parent(self, connection: Connection, write: Write, parents: dict[str, TableColumns]) -> None:
        """The parent that a write names must be the user's. One that is not there looks the same from outside."""
        guard = write.parent
        if guard is None or (write.op is not UpdateType.PUT and guard.column not in write.data):
            return
        named = write.data.get(guard.column)
        if named is not None:
            query, parameters = parent_is_own(guard, named, parents, operation_index=write.index)
            if await (await connection.execute(query, parameters)).fetchone() is not None:
                return
        message = f"{guard.column} of {write.table} must name a row of {guard.table} that is the user's."
        raise WriteRefused("UNAUTHORIZED", message, operation_index=write.index)

    async def _nothing_written(
        self, connection: Connection, write: Write, columns: TableColumns, parents: dict[str, TableColumns]
    ) -> None:
        """The row is not there, or it is another user's. Only a PUT is refused: to the rest both look the same from outside."""
        query, parameters = foreign_row(write, columns, parents)
        foreign = write.guarded and await (await connection.execute(query, parameters)).fetchone() is not None
        if write.op is UpdateType.PUT and (foreign or not write.only_new):
            raise WriteRefused(
                "UNAUTHORIZED", f"The row of {write.table} belongs to another user.", operation_index=write.index
            )
        if foreign:
            log.warning(
                "A %s reached for another user's row of %s",
                write.op,
                write.table,
                extra={"event": "backend.foreign_row", "table": write.table},
            )

    async def _parents_of(self, connection: Connection, write: Write, fresh: set[str]) -> dict[str, TableColumns]:
        """The columns of the tables by which the row is the user's. Raises WriteRefused for what the database has not."""
        return {
            guard.table: await self._known(
                connection, guard.table, _needed_of_parent(guard), fresh, operation_index=write.index
            )
            for guard in parent_guards(write.parent)
        }

    async def _columns_of(self, connection: Connection, write: Write, fresh: set[str]) -> TableColumns:
        needed = {"id", *write.replaces, *(name for name, _ in write.belongs_to)}
        needed |= {write.soft_delete} if write.soft_delete is not None else set()
        needed |= {write.parent.column} if write.parent is not None else set()
        return await self._known(connection, write.table, needed, fresh, operation_index=write.index)

    async def _known(
        self, connection: Connection, table: str, needed: set[str], fresh: set[str], *, operation_index: int
    ) -> TableColumns:
        columns = self._columns.get(table)
        if columns is None:
            columns = self._columns[table] = await read_columns(connection, table)
            fresh.add(table)
        if not needed <= columns.keys():
            missing = ", ".join(sorted(needed - columns.keys()))
            what = f"has no column {missing}" if columns else "does not exist"
            raise WriteRefused("SCHEMA_MISMATCH", f"The table {table} {what}.", operation_index=operation_index)
        return columns


def _needed_of_parent(guard: ParentGuard) -> set[str]:
    above = {guard.parent.column} if guard.parent is not None else set[str]()
    return {"id", *(name for name, _ in guard.belongs_to)} | above
