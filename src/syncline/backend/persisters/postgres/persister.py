"""The Postgres persister: one database transaction per client transaction, the answer after the COMMIT."""

from __future__ import annotations

import logging
from typing import Any

import psycopg
from psycopg import sql
from psycopg_pool import AsyncConnectionPool

from syncline.backend.limits import CONFLICT_ATTEMPTS_MAX, POOL_CONNECTIONS_MAX
from syncline.backend.persisters.base import RetryLater, UploadIdentity, Write, WriteRefused
from syncline.backend.persisters.postgres.columns import TableColumns, read_columns
from syncline.backend.persisters.postgres.errors import is_conflict, verdict_over
from syncline.backend.persisters.postgres.statements import statement_for
from syncline.backend.persisters.postgres.uploads import (
    UPLOADS_TABLE_SQL,
    claim_upload,
    drop_old_uploads,
    store_refusal,
)
from syncline.protocol.crud import ResultStatus, TransactionResult, UpdateType

__all__ = ["PostgresPersister"]

log = logging.getLogger(__name__)

Connection = psycopg.AsyncConnection[tuple[Any, ...]]
_SUCCESS = TransactionResult(ResultStatus.SUCCESS)
_WAIT_FOR_CONNECTION_S = 10.0  # seconds for a free connection; after that the client is asked to come back


class PostgresPersister:
    """Writes to one database through a pool. The role needs INSERT, UPDATE and DELETE on the tables, and CREATE for `syncline_uploads`."""

    def __init__(self, dsn: str, *, connections_max: int = POOL_CONNECTIONS_MAX) -> None:
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            dsn,
            min_size=1,
            max_size=connections_max,
            open=False,
            timeout=_WAIT_FOR_CONNECTION_S,
            kwargs={"application_name": "syncline-backend"},
        )
        self._columns: dict[str, TableColumns] = {}

    async def open(self) -> None:
        """Connect, and make the table of verdicts. Raises psycopg.Error where the database cannot be reached."""
        await self._pool.open(wait=True)
        async with self._pool.connection() as connection:
            await connection.execute(UPLOADS_TABLE_SQL)
            await drop_old_uploads(connection)

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.close()

    async def apply(self, writes: list[Write], identity: UploadIdentity | None) -> TransactionResult:
        """Apply all writes in one transaction; see `syncline.backend.persisters.base.Persister`."""
        for attempt in range(1, CONFLICT_ATTEMPTS_MAX + 1):
            try:
                return await self._apply_once(writes, identity)
            except psycopg.Error as exc:
                if is_conflict(exc) and attempt < CONFLICT_ATTEMPTS_MAX:
                    continue
                log.warning("The database ended an upload: %s", exc.sqlstate, extra={"event": "backend.database_error"})
                raise verdict_over(exc, operation_index=None) from exc
        raise AssertionError("unreachable")

    async def record_refusal(self, identity: UploadIdentity, result: TransactionResult) -> None:
        """Store the verdict over a refused transaction, in a transaction of its own."""
        try:
            async with self._pool.connection() as connection:
                await store_refusal(connection, identity, result)
        except psycopg.Error as exc:
            raise RetryLater("The verdict could not be stored.") from exc

    async def _apply_once(self, writes: list[Write], identity: UploadIdentity | None) -> TransactionResult:
        async with self._pool.connection() as connection, connection.transaction():
            if identity is not None:
                stored = await claim_upload(connection, identity, _SUCCESS)
                if stored is not None:
                    return stored
            for write in writes:
                await self._write(connection, write)
        return _SUCCESS

    async def _write(self, connection: Connection, write: Write) -> None:
        statement = statement_for(write, await self._columns_of(connection, write))
        if statement is None:
            return
        try:
            cursor = await connection.execute(statement.query, statement.parameters)
        except psycopg.Error as exc:
            if is_conflict(exc):
                raise
            if exc.sqlstate is not None and exc.sqlstate.startswith("42"):
                self._columns.pop(write.table, None)  # the table has changed since we looked
            raise verdict_over(exc, operation_index=write.index) from exc
        if cursor.rowcount == 0:
            await self._nothing_written(connection, write)

    async def _nothing_written(self, connection: Connection, write: Write) -> None:
        """The row is not there, or it is another user's. Only a PUT is refused: to the rest both look the same from outside."""
        if write.op is UpdateType.PUT:
            raise WriteRefused(
                "UNAUTHORIZED", f"The row of {write.table} belongs to another user.", operation_index=write.index
            )
        query = sql.SQL("SELECT 1 FROM {} WHERE id::text = %s").format(sql.Identifier(write.table))
        if await (await connection.execute(query, (write.id,))).fetchone() is not None:
            log.warning(
                "A %s reached for another user's row of %s",
                write.op,
                write.table,
                extra={"event": "backend.foreign_row", "table": write.table},
            )

    async def _columns_of(self, connection: Connection, write: Write) -> TableColumns:
        columns = self._columns.get(write.table)
        if columns is None or not write.data.keys() <= columns.keys():
            columns = self._columns[write.table] = await read_columns(connection, write.table)
        needed = {"id", write.owner[0]} if write.owner is not None else {"id"}
        if not needed <= columns.keys():
            missing = ", ".join(sorted(needed - columns.keys()))
            what = f"has no column {missing}" if columns else "does not exist"
            raise WriteRefused("SCHEMA_MISMATCH", f"The table {write.table} {what}.", operation_index=write.index)
        return columns
