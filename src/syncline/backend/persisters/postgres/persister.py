"""The Postgres persister: one database transaction per client transaction, the answer after the COMMIT."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool

from syncline.backend.limits import CONFLICT_ATTEMPTS_MAX, POOL_CONNECTIONS_MAX, TRANSACTION_SECONDS_MAX
from syncline.backend.persisters.base import RetryLater, UploadIdentity, Write, WriteRefused
from syncline.backend.persisters.postgres.checkpoints import count_checkpoint
from syncline.backend.persisters.postgres.columns import TableColumns, read_columns
from syncline.backend.persisters.postgres.errors import is_conflict, verdict_over
from syncline.backend.persisters.postgres.statements import row_exists, statement_for
from syncline.backend.persisters.postgres.uploads import claim_upload, drop_old_uploads, make_uploads_table
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
    """

    def __init__(
        self,
        dsn: str,
        *,
        connections_max: int = POOL_CONNECTIONS_MAX,
        transaction_seconds_max: float = TRANSACTION_SECONDS_MAX,
    ) -> None:
        self._transaction_seconds_max = transaction_seconds_max
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            dsn,
            min_size=1,
            max_size=connections_max,
            open=False,
            timeout=min(_WAIT_FOR_CONNECTION_S, transaction_seconds_max),
            kwargs={"application_name": "syncline-backend"},
        )
        self._columns: dict[str, TableColumns] = {}

    async def open(self) -> None:
        """Connect, and make the table of verdicts.

        Raises psycopg.Error where the database cannot be reached, ConfigError where the role may not make the table.
        """
        await self._pool.open(wait=True)
        async with self._pool.connection() as connection:
            await make_uploads_table(connection)
            await drop_old_uploads(connection)

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.close()

    async def apply(self, writes: list[Write], identity: UploadIdentity | None) -> TransactionResult:
        """Apply all writes in one transaction; see `syncline.backend.persisters.base.Persister`."""
        try:
            async with asyncio.timeout(self._transaction_seconds_max):
                return await self._apply(writes, identity)
        except TimeoutError as exc:
            log.warning("The database did not finish an upload in time", extra={"event": "backend.database_timeout"})
            raise RetryLater("The database did not finish the write in time.") from exc

    async def _apply(self, writes: list[Write], identity: UploadIdentity | None) -> TransactionResult:
        """Attempts, until the transaction goes through or no further one can help."""
        fresh: set[str] = set()
        attempt = 1
        while True:
            try:
                return await self._apply_once(writes, identity, fresh)
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

    async def _apply_once(
        self, writes: list[Write], identity: UploadIdentity | None, fresh: set[str]
    ) -> TransactionResult:
        """One attempt. `fresh` names the tables whose columns were read for this upload; more are added."""
        async with self._pool.connection() as connection, connection.transaction():
            if identity is not None:
                stored = await claim_upload(connection, identity, _SUCCESS)
                if stored is not None:
                    return stored
            for write in writes:
                try:
                    await self._write(connection, write, fresh)
                except WriteRefused as exc:
                    if exc.error_code not in _PERHAPS_OUTDATED or write.table in fresh:
                        raise
                    self._columns.pop(write.table, None)
                    fresh.add(write.table)
                    raise _ColumnsOutdated from exc
        return _SUCCESS

    async def _write(self, connection: Connection, write: Write, fresh: set[str]) -> None:
        columns = await self._columns_of(connection, write, fresh)
        statement = statement_for(write, columns)
        if statement is None:
            return
        try:
            cursor = await connection.execute(statement.query, statement.parameters)
        except psycopg.Error as exc:
            if is_conflict(exc):
                raise
            raise verdict_over(exc, operation_index=write.index) from exc
        if cursor.rowcount == 0:
            await self._nothing_written(connection, write, columns)

    async def _nothing_written(self, connection: Connection, write: Write, columns: TableColumns) -> None:
        """The row is not there, or it is another user's. Only a PUT is refused: to the rest both look the same from outside."""
        if write.op is UpdateType.PUT:
            raise WriteRefused(
                "UNAUTHORIZED", f"The row of {write.table} belongs to another user.", operation_index=write.index
            )
        query, parameters = row_exists(write, columns)
        if write.owner is not None and await (await connection.execute(query, parameters)).fetchone() is not None:
            log.warning(
                "A %s reached for another user's row of %s",
                write.op,
                write.table,
                extra={"event": "backend.foreign_row", "table": write.table},
            )

    async def _columns_of(self, connection: Connection, write: Write, fresh: set[str]) -> TableColumns:
        columns = self._columns.get(write.table)
        if columns is None:
            columns = self._columns[write.table] = await read_columns(connection, write.table)
            fresh.add(write.table)
        needed = {"id", write.owner[0]} if write.owner is not None else {"id"}
        if not needed <= columns.keys():
            missing = ", ".join(sorted(needed - columns.keys()))
            what = f"has no column {missing}" if columns else "does not exist"
            raise WriteRefused("SCHEMA_MISMATCH", f"The table {write.table} {what}.", operation_index=write.index)
        return columns
