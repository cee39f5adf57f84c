"""The transactions of one request in as few round trips as they allow: pipelines for those that need no look at the database in between.

What goes through a pipeline has the effect that it would have had alone (`pipeline`: only a prefix is ever committed). What fails there is
applied again alone, which has the last word: error codes, the failed operation, repeats, forks, columns that have changed, conflicts.
So a batch has one meaning, whichever way its transactions went. Transactions whose writes meet a conflict strategy, a hook or a procedure
go alone from the beginning, and so do the first ones of a table, by which its columns are read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec
import psycopg
from psycopg_pool import AsyncConnectionPool

from syncline.backend.limits import PIPELINE_WRITES_MAX
from syncline.backend.ownership import RowSecurity
from syncline.backend.persisters.base import RetryLater, Upload, UploadIdentity, UploadOutcome, Write, WriteRefused
from syncline.backend.persisters.postgres.columns import TableColumns
from syncline.backend.persisters.postgres.errors import CONFLICTS, PASSING
from syncline.backend.persisters.postgres.groups import runs_of
from syncline.backend.persisters.postgres.guards import parent_guards
from syncline.backend.persisters.postgres.pipeline import (
    Command,
    Connection,
    Pipeline,
    PipelinedTransaction,
    PipelineOutcome,
    Query,
)
from syncline.backend.persisters.postgres.row_security import settings_of
from syncline.backend.persisters.postgres.shapes import WriteShapes, encoded, shape_key
from syncline.backend.persisters.postgres.uploads import CLAIM_SQL
from syncline.protocol.crud import ResultStatus, TransactionResult

__all__ = ["BatchPipeline"]

_SUCCESS = TransactionResult(ResultStatus.SUCCESS)
_SUCCESS_JSON = msgspec.json.encode(_SUCCESS)
_CLAIM = Query(CLAIM_SQL)
_SET = Query("SELECT set_config($1::text, $2::text, true)")

OneByOne = Callable[[Upload, int], Awaitable[TransactionResult]]
"""Applies one transaction alone; the number is that of attempts that a conflict has ended already. Raises WriteRefused, RetryLater."""


class BatchPipeline:
    """Applies batches through the pool's connections. `columns` are the tables known by now, kept by the persister."""

    def __init__(
        self,
        pool: AsyncConnectionPool[Connection],
        *,
        columns: Mapping[str, TableColumns],
        row_security: RowSecurity | None,
        prepares: bool,
        transaction_seconds_max: float,
    ) -> None:
        self._pool = pool
        self._columns = columns
        self._row_security = row_security
        self._transaction_seconds_max = transaction_seconds_max
        self._pipeline = Pipeline(prepares=prepares)
        self._shapes = WriteShapes()

    async def apply(self, uploads: Sequence[Upload], one_by_one: OneByOne) -> list[UploadOutcome]:
        """Apply transactions in order, up to the first that does not go through; its outcome is the last one.

        A pipeline holds as many as are left. Behind one that failed it begins anew with one, and with none behind a repeat: after a lost
        answer a whole batch is one.
        """
        outcomes: list[UploadOutcome] = []
        window = len(uploads)
        while len(outcomes) < len(uploads):
            conflicts = 0
            planned = await self._planned(uploads[len(outcomes) : len(outcomes) + window])
            if planned:
                run = await self._run(planned)
                outcomes += [_SUCCESS] * run.committed
                if run.committed == len(planned):
                    window = min(2 * window, len(uploads))
                    continue
                if (failure := _settled(run)) is not None:
                    return [*outcomes, failure]
                conflicts = int(run.sqlstate in CONFLICTS)
                window = 0
            outcome = await _outcome(one_by_one(uploads[len(outcomes)], conflicts))
            outcomes.append(outcome)
            if not isinstance(outcome, TransactionResult) or outcome.status is not ResultStatus.SUCCESS:
                return outcomes
            if window < len(uploads):
                window = 0 if outcome.deduplicated else max(1, 2 * window)
        return outcomes

    async def _run(self, planned: list[PipelinedTransaction]) -> PipelineOutcome:
        try:
            async with self._pool.connection() as connection:
                return await self._pipeline.run(connection, planned, seconds_max=self._transaction_seconds_max)
        except psycopg.Error:  # no connection to be had
            return PipelineOutcome(0, lost=True)

    async def _planned(self, uploads: Sequence[Upload]) -> list[PipelinedTransaction]:
        """The first transactions of a batch that can go through a pipeline, with PIPELINE_WRITES_MAX writes or one transaction."""
        planned: list[PipelinedTransaction] = []
        writes = 0
        for upload in uploads:
            writes += len(upload.writes)
            if planned and writes > PIPELINE_WRITES_MAX:
                break
            try:
                planned.append(await self._plan(upload))
            except (WriteRefused, ValueError, LookupError):  # found out again, and told, where it goes alone
                break
        return planned

    async def _plan(self, upload: Upload) -> PipelinedTransaction:
        """The commands of a transaction. Raises LookupError where it has to go alone, and WriteRefused or ValueError for a value."""
        commands: list[Command] = []
        identity, writes = upload.identity, upload.writes
        if identity is not None:
            commands.append(Command(_CLAIM, _claim_parameters(identity)))
        if self._row_security is not None and writes:
            for name, value in settings_of(self._row_security, writes[0].context):
                commands.append(Command(_SET, encoded([name, value])))
        if not all(map(_is_plain, writes)):
            raise LookupError
        for run in runs_of(writes, [shape_key(write) for write in writes]) if len(writes) > 1 else [writes]:
            commands += self._commands(run)
            if len(writes) > PIPELINE_WRITES_MAX:
                await asyncio.sleep(0)  # others have their turn between the parts of a large one
        return PipelinedTransaction(commands, None if identity is None else (identity.user_id, identity.client_id))

    def _commands(self, run: Sequence[Write]) -> list[Command]:
        """The commands of writes of one shape, together where the table allows it."""
        if not run:
            return []
        first = run[0]
        columns = self._columns[first.table]
        parents = {guard.table: self._columns[guard.table] for guard in parent_guards(first.parent)}
        if len(run) > 1 and columns.rows_are_alone and self._row_security is None:
            return self._shapes.group_commands(run, columns, parents)
        return [command for write in run for command in self._shapes.commands(write, columns, parents)]


def _is_plain(write: Write) -> bool:
    """Whether nobody has to look at the row, or at the connection, before or after the write."""
    return (
        write.conflict is None
        and write.procedure is None
        and not write.only_new
        and write.context.operation_hooks is None
    )


def _claim_parameters(identity: UploadIdentity) -> list[bytes | None]:
    first, last = str(identity.first_crud_id), str(identity.last_crud_id)
    texts = encoded([identity.user_id, identity.client_id, first, last, identity.content_hash])
    return [*texts, _SUCCESS_JSON]


def _settled(run: PipelineOutcome) -> RetryLater | None:
    """The outcome that a second try would not change; None where the transaction is to be applied alone."""
    if run.late:
        return RetryLater("The database did not finish the write in time.")
    passing = run.sqlstate is not None and run.sqlstate.startswith(PASSING) and run.sqlstate not in CONFLICTS
    if run.lost or passing:
        return RetryLater("The database cannot take the write at the moment.")
    return None


async def _outcome(applying: Awaitable[TransactionResult]) -> UploadOutcome:
    try:
        return await applying
    except Exception as exc:  # what came before is not to be lost with it
        return exc
