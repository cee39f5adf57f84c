"""The persister for databases that SQLAlchemy knows: one database transaction per client transaction, the answer after the COMMIT."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable

from sqlalchemy.ext.asyncio import AsyncEngine

from syncline.backend.dead_letters.letters import DeadLetterLimits
from syncline.backend.limits import POOL_CONNECTIONS_MAX, TRANSACTION_SECONDS_MAX
from syncline.backend.persisters.base import RetryLater, UploadIdentity, Write, one_batch
from syncline.backend.persisters.sqlalchemy.catalog import Catalog
from syncline.backend.persisters.sqlalchemy.databases import database_of
from syncline.backend.persisters.sqlalchemy.dead_letters import SQLAlchemyDeadLetters
from syncline.backend.persisters.sqlalchemy.engines import make_engine
from syncline.backend.persisters.sqlalchemy.own_tables import OwnTables, make_tables
from syncline.backend.persisters.sqlalchemy.retention import StoredVerdicts, drop_old_uploads, drop_surplus
from syncline.backend.persisters.sqlalchemy.runner import TransactionRunner
from syncline.backend.persisters.sqlalchemy.transaction import SQLAlchemyTransaction
from syncline.backend.persisters.sqlalchemy.uploads import claim_upload, count_checkpoint
from syncline.protocol.crud import ResultStatus, TransactionResult

__all__ = ["SQLAlchemyPersister"]

_SUCCESS = TransactionResult(ResultStatus.SUCCESS)


class SQLAlchemyPersister:
    """Writes to one database, through an engine of the app's or one made from a URL.

    An engine of the app's is used as it is, and not disposed of by `close`; docs/howto/backend-databases.md says what it must have.
    A URL names an async driver: `mysql+asyncmy://…`, `sqlite+aiosqlite:///…`, `postgresql+psycopg://…`. The database user needs SELECT,
    INSERT, UPDATE and DELETE on the tables and on `syncline_uploads` and `syncline_devices`, which are made where it may.
    `dead_letter_limits` says how many refused transactions are kept.
    """

    def __init__(
        self,
        engine: AsyncEngine | str,
        *,
        connections_max: int = POOL_CONNECTIONS_MAX,
        transaction_seconds_max: float = TRANSACTION_SECONDS_MAX,
        dead_letter_limits: DeadLetterLimits | None = None,
    ) -> None:
        self._is_ours = isinstance(engine, str)
        if isinstance(engine, str):
            engine = make_engine(engine, connections_max=connections_max, seconds_max=transaction_seconds_max)
        database = database_of(engine, is_prepared=self._is_ours)
        self._runner = TransactionRunner(engine, database, seconds_max=transaction_seconds_max)
        self._engine = engine
        self._catalog = Catalog(database)
        self._tables: OwnTables | None = None
        self._stored = StoredVerdicts()
        self._counts_checkpoints = False
        self.dead_letters = SQLAlchemyDeadLetters(self._runner, lambda: self._own, limits=dead_letter_limits)

    async def open(self) -> None:
        """Connect, and make the tables of verdicts and devices.

        Raises SQLAlchemyError where the database cannot be reached, ConfigError where the user may not make the tables or where the
        connections have settings with which values would be lost.
        """
        database = self._runner.database
        async with self._runner.engine.connect() as connection:
            await database.prepare(connection)
        self._tables = OwnTables(database)
        await make_tables(self._runner.engine, self._tables.uploads, self._tables.devices)
        async with self._runner.transaction() as connection:
            await drop_old_uploads(connection, self._tables)

    async def close(self) -> None:
        """Close all connections of an engine that was made here."""
        if self._is_ours:
            await self._engine.dispose()

    async def apply(self, writes: list[Write], identity: UploadIdentity | None) -> TransactionResult:
        """Apply all writes in one transaction; see `syncline.backend.persisters.base.Persister`."""
        return await self.apply_stream(lambda: one_batch(writes), identity)

    async def apply_stream(
        self,
        writes: Callable[[], AsyncIterator[list[Write]]],
        identity: UploadIdentity | None,
        *,
        seconds_max: float | None = None,
    ) -> TransactionResult:
        """Apply batches of writes in one transaction; see `syncline.backend.persisters.base.StreamingPersister`."""
        fresh: set[str] = set()

        async def once() -> TransactionResult:
            return await self._apply_once(writes(), identity, fresh)

        result = await self._runner.judged(once, seconds_max=seconds_max)
        if identity is not None and self._stored.count(identity):
            await self._drop_surplus(identity)
        return result

    async def record_refusal(self, identity: UploadIdentity, result: TransactionResult) -> TransactionResult:
        """Store the verdict over a refused transaction, in a transaction of its own; see `Persister`."""

        async def once() -> TransactionResult:
            async with self._runner.transaction() as connection:
                return await claim_upload(connection, self._runner.database, self._own, identity, result) or result

        return await self._runner.run(once, failure="The verdict could not be stored.")

    async def next_checkpoint(self, user_id: str, client_id: str) -> int:
        """Count the write checkpoint of a user's device up by one; see `Persister`."""

        async def once() -> int:
            if not self._counts_checkpoints:  # most backends never ask for one
                await make_tables(self._runner.engine, self._own.checkpoints)
                self._counts_checkpoints = True
            async with self._runner.transaction() as connection:
                return await count_checkpoint(connection, self._runner.database, self._own, user_id, client_id)

        return await self._runner.run(once, failure="The checkpoint could not be counted.")

    @property
    def _own(self) -> OwnTables:
        assert self._tables is not None, "open() comes first"
        return self._tables

    async def _apply_once(
        self, batches: AsyncIterator[list[Write]], identity: UploadIdentity | None, fresh: set[str]
    ) -> TransactionResult:
        """One attempt. `fresh` names the tables whose columns were read for this upload; more are added."""
        async with self._runner.transaction() as connection:
            transaction = SQLAlchemyTransaction(connection, self._runner.database, self._catalog, self._own, fresh)
            if identity is not None:
                stored = await transaction.claim(identity, _SUCCESS)
                if stored is not None:
                    return stored
            async for writes in batches:
                for write in writes:
                    await transaction.write_or_look_again(write)
        return _SUCCESS

    async def _drop_surplus(self, identity: UploadIdentity) -> None:
        """The upload has gone through: a failure here is logged, and can wait."""

        async def once() -> None:
            async with self._runner.transaction() as connection:
                await drop_surplus(connection, self._own, identity)

        with contextlib.suppress(RetryLater):
            await self._runner.run(once, failure="Old verdicts could not be dropped.")
