"""Running database transactions: their beginning, their time, further attempts at those that a conflict ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from syncline.backend.limits import CONFLICT_ATTEMPTS_MAX
from syncline.backend.persisters.base import RetryLater
from syncline.backend.persisters.sqlalchemy.databases import Database
from syncline.backend.persisters.sqlalchemy.transaction import ColumnsOutdated

__all__ = ["TransactionRunner"]

log = logging.getLogger(__name__)

_T = TypeVar("_T")


class TransactionRunner:
    """Transactions on an engine. `seconds_max` is the time of one, with all attempts and the wait for a connection."""

    def __init__(self, engine: AsyncEngine, database: Database, *, seconds_max: float) -> None:
        level = database.isolation_level
        self.engine = engine if level is None else engine.execution_options(isolation_level=level)
        self.database = database
        self._seconds_max = seconds_max

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[AsyncConnection]:
        """One transaction, committed at the end."""
        async with self.database.alone(), self.engine.connect() as connection, connection.begin():
            await self.database.begin(connection)
            yield connection

    async def judged(self, once: Callable[[], Awaitable[_T]], *, seconds_max: float | None = None) -> _T:
        """What `once` returns, in as many attempts as it takes. The database's errors become WriteRefused or RetryLater."""
        try:
            return await self._within(seconds_max or self._seconds_max, once)
        except SQLAlchemyError as exc:
            log.warning(
                "The database ended an upload: %s", type(exc).__name__, extra={"event": "backend.database_error"}
            )
            raise self.database.verdict_over(exc, operation_index=None) from exc

    async def run(self, once: Callable[[], Awaitable[_T]], *, failure: str) -> _T:
        """The same for what is nobody's fault but the database's: all its errors become RetryLater, with `failure` as text."""
        try:
            return await self._within(self._seconds_max, once)
        except SQLAlchemyError as exc:
            log.warning("%s (%s)", failure, type(exc).__name__, extra={"event": "backend.database_error"})
            raise RetryLater(failure) from exc

    async def _within(self, seconds_max: float, once: Callable[[], Awaitable[_T]]) -> _T:
        try:
            async with asyncio.timeout(seconds_max):
                return await self._attempts(once)
        except TimeoutError as exc:
            log.warning("The database did not finish in time", extra={"event": "backend.database_timeout"})
            raise RetryLater("The database did not finish the write in time.") from exc

    async def _attempts(self, once: Callable[[], Awaitable[_T]]) -> _T:
        """Attempts, until the transaction goes through or no further one can help."""
        attempt = 1
        while True:
            try:
                return await once()
            except ColumnsOutdated:
                continue  # ends: a table is outdated once only
            except DBAPIError as exc:
                if not self.database.is_conflict(exc) or attempt >= CONFLICT_ATTEMPTS_MAX:
                    raise
                attempt += 1
