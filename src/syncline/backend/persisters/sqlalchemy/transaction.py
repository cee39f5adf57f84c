"""A client transaction's database transaction: judging writes by the current row, performing them, claiming verdicts."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from syncline.backend.hooks import OperationHooks
from syncline.backend.limits import CONFLICT_ATTEMPTS_MAX
from syncline.backend.persisters.base import RetryLater, UploadIdentity, Write, WriteRefused
from syncline.backend.persisters.judging import Judged, judged_by, needed_columns
from syncline.backend.persisters.sqlalchemy.catalog import Catalog
from syncline.backend.persisters.sqlalchemy.databases import Database
from syncline.backend.persisters.sqlalchemy.own_tables import OwnTables
from syncline.backend.persisters.sqlalchemy.statements import Statements
from syncline.backend.persisters.sqlalchemy.tables import Table, known_column
from syncline.backend.persisters.sqlalchemy.uploads import claim_upload
from syncline.backend.rule_failures import rule_failed
from syncline.protocol.crud import TransactionResult, UpdateType

__all__ = ["ColumnsOutdated", "SQLAlchemyTransaction"]

log = logging.getLogger(__name__)

_PERHAPS_OUTDATED = frozenset({"SCHEMA_MISMATCH", "INVALID_DATA"})  # refusals that a changed table may be the reason of


class ColumnsOutdated(Exception):
    """A refusal by columns that were read earlier: look at the table again before telling the client."""


class SQLAlchemyTransaction:
    """See `syncline.backend.persisters.base.OpenTransaction`. `fresh` names the tables that were read for this upload; more are added."""

    def __init__(
        self, connection: AsyncConnection, database: Database, catalog: Catalog, tables: OwnTables, fresh: set[str]
    ) -> None:
        self._connection = connection
        self._database = database
        self._catalog = catalog
        self._tables = tables
        self._fresh = fresh

    @property
    def connection(self) -> AsyncConnection:
        """The connection, inside the transaction: its end is not the procedure's to decide."""
        return self._connection

    async def claim(self, identity: UploadIdentity, verdict: TransactionResult) -> TransactionResult | None:
        """Store a verdict in this transaction, or find the one that is stored. Raises WriteRefused, SQLAlchemyError."""
        return await claim_upload(self._connection, self._database, self._tables, identity, verdict)

    async def write_or_look_again(self, write: Write) -> None:
        """Write; a refusal that outdated columns may be the reason of asks for another attempt, with columns read anew."""
        try:
            await self.write(write)
        except WriteRefused as exc:
            if exc.error_code not in _PERHAPS_OUTDATED or write.table in self._fresh:
                raise
            self._catalog.forget()  # of parents and records too
            self._fresh.add(write.table)
            raise ColumnsOutdated from exc

    async def write(self, write: Write) -> None:
        """Write one row, with the records of its conflict strategy.

        Raises WriteRefused and RetryLater, and DBAPIError for a conflict with another transaction (try again).
        """
        if write.procedure is not None:  # a call is no row, and has no hooks; the rows that it writes have
            await self._run_procedure(write)
            return
        hooks = write.context.operation_hooks or OperationHooks()
        try:
            await hooks.before(self._connection, write, passing=(SQLAlchemyError,))
            for record in await self._write_row(write):
                await self.write(record)
            await hooks.after(self._connection, write, passing=(SQLAlchemyError,))
        except SQLAlchemyError as exc:
            raise self._verdict_over(exc, write) from exc

    async def _write_row(self, write: Write) -> tuple[Write, ...]:
        """Judge the write by the current row where its table asks for that, perform what becomes of it; the records to write."""
        table = await self._catalog.table_of(self._connection, write, self._fresh)
        parents = await self._catalog.parents_of(self._connection, write, self._fresh)

        def statements(of: Write) -> Statements:
            return Statements(self._database, of, table, parents)

        for _ in range(CONFLICT_ATTEMPTS_MAX):
            judged = await self._judge(write, statements(write), table)
            done = judged.write is None or await self._perform(judged.write, statements)
            if done or not judged.inserts:
                return judged.records
        raise RetryLater("Others write the same row.")

    async def _judge(self, write: Write, statements: Statements, table: Table) -> Judged:
        """Ask the write's strategy. The row that it sees is locked until the transaction ends."""
        if write.conflict is None:
            return Judged(write)
        names = needed_columns(write, write.conflict)
        if not names:
            return judged_by(write.conflict, write, None, row_exists=None)
        columns = [known_column(write, table, name) for name in names]
        row = (await self._connection.execute(statements.current(columns))).first()
        current: dict[str, Any] | None = None
        if row is not None and row[0] == 1:
            current = {
                column.name: self._database.device_value(value, column)
                for column, value in zip(columns, row[1:], strict=True)
            }
        return judged_by(write.conflict, write, current, row_exists=row is not None)

    async def _perform(self, write: Write, statements_of: Callable[[Write], Statements]) -> bool:
        """Write the row; whether one was found or made. Raises WriteRefused, SQLAlchemyError."""
        statements = statements_of(write)
        await self._check_parent(write, statements)
        if write.op is UpdateType.PUT:
            return await self._put(write, statements)
        statement = statements.changing() if write.op is UpdateType.PATCH else statements.deleting()
        if statement is None:
            return True
        if (await self._connection.execute(statement)).rowcount > 0:
            return True
        if await self._is_foreign(write, statements):
            log.warning(
                "A %s reached for another user's row of %s",
                write.op,
                write.table,
                extra={"event": "backend.foreign_row", "table": write.table},
            )
        return False

    async def _put(self, write: Write, statements: Statements) -> bool:
        """Make the row, or change the one that is there; again where it went between the two."""
        for _ in range(CONFLICT_ATTEMPTS_MAX):
            if await self._database.insert_new(
                self._connection, statements.table, statements.inserted(), statements.by_id()
            ):
                return True
            if write.only_new:
                if await self._is_foreign(write, statements):
                    raise _of_another(write)
                return False
            changing = statements.replacing()
            if changing is not None and (await self._connection.execute(changing)).rowcount > 0:
                return True
            whose = (await self._connection.execute(statements.whose_row())).scalar()
            if whose == 0:
                raise _of_another(write)
            if whose == 1 and changing is None:
                return True
        raise RetryLater("Others write the same row.")

    async def _is_foreign(self, write: Write, statements: Statements) -> bool:
        return write.guarded and (await self._connection.execute(statements.whose_row())).scalar() == 0

    async def _check_parent(self, write: Write, statements: Statements) -> None:
        """The parent that a write names must be the user's. One that is not there looks the same from outside."""
        guard = write.parent
        if guard is None or (write.op is not UpdateType.PUT and guard.column not in write.data):
            return
        named = write.data.get(guard.column)
        if named is not None and (await self._connection.execute(statements.parent(guard, named))).first() is not None:
            return
        message = f"{guard.column} of {write.table} must name a row of {guard.table} that is the user's."
        raise WriteRefused("UNAUTHORIZED", message, operation_index=write.index)

    async def _run_procedure(self, write: Write) -> None:
        assert write.procedure is not None
        try:
            await write.procedure(self)
        except SQLAlchemyError as exc:
            raise self._verdict_over(exc, write) from exc
        except (WriteRefused, RetryLater, ColumnsOutdated):
            raise
        except Exception as exc:  # a bug of the app, or it passes
            raise rule_failed(exc, write.table) from exc

    def _verdict_over(self, exc: SQLAlchemyError, write: Write) -> Exception:
        if isinstance(exc, DBAPIError) and self._database.is_conflict(exc):
            return exc
        return self._database.verdict_over(exc, operation_index=write.index)


def _of_another(write: Write) -> WriteRefused:
    return WriteRefused(
        "UNAUTHORIZED", f"The row of {write.table} belongs to another user.", operation_index=write.index
    )
