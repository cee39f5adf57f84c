"""From stored parts to the one database transaction: read part after part, so that a process never holds more than one of them.

Exactly once by the transaction's identity, whatever process applies it, and however often. First the parts are read to see that they are
what was announced; then they are read again, prepared as operations of any upload are, and written. A part that is gone meanwhile
(the server's crash empties their table) opens the upload again: the device sends what is missing.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

from syncline.backend.limits import STAGED_SECONDS_MAX, UNKNOWN_FAILURES_MAX
from syncline.backend.persisters.base import (
    RetryLater,
    StreamingPersister,
    UnknownFailure,
    Write,
    WriteContext,
    WriteRefused,
)
from syncline.backend.rule_failures import log_failure
from syncline.backend.staged.store import StagedStore, StagedUpload
from syncline.backend.verdicts import Attempt, refusal, retryable
from syncline.protocol.crud import CrudTransaction, ResultStatus, TransactionResult
from syncline.protocol.staged import ContentHasher, StagedPart, decode_part

__all__ = ["Applied", "PrepareWrites", "apply_staged"]

PrepareWrites = Callable[[Attempt], Awaitable[list[Write]]]
"""Hooks, mapper and policies, for a part as for a transaction. Raises WriteRefused, RetryLater."""

log = logging.getLogger(__name__)


class Applied:
    """The outcome of an attempt: the result, whether it is the verdict, and whether it is a failure of unknown cause."""

    def __init__(self, result: TransactionResult, *, failed: bool = False) -> None:
        self.result = result
        self.failed = failed

    @property
    def done(self) -> bool:
        """Whether the device has its verdict; else it sends or commits again."""
        return self.result.status in (ResultStatus.SUCCESS, ResultStatus.FATAL_ERROR)


class _PartsGone(RetryLater):
    """A part is no longer stored."""

    def __init__(self) -> None:
        super().__init__("Parts of the upload are gone; send them again.")


async def apply_staged(
    upload: StagedUpload,
    context: WriteContext,
    *,
    store: StagedStore,
    persister: StreamingPersister,
    prepare: PrepareWrites,
    seconds_max: float = STAGED_SECONDS_MAX,
) -> Applied:
    """Apply a committed upload; every failure is a result. A refusal is stored as the verdict over the transaction's identity."""
    attempt = _Attempt(upload, context, store, prepare)
    try:
        await attempt.check()
    except WriteRefused as exc:
        return Applied(refusal(exc))  # over these parts, not over the transaction that they were said to be
    except RetryLater as exc:
        return Applied(retryable(str(exc)))
    try:
        return Applied(await persister.apply_stream(attempt.writes, upload.identity, seconds_max=seconds_max))
    except WriteRefused as exc:
        return Applied(await _refused(attempt.placed(exc), upload, persister))
    except UnknownFailure as exc:
        return await _count(exc, upload, persister)
    except RetryLater as exc:
        return Applied(retryable(str(exc)))
    except Exception as exc:
        log_failure(exc, "A staged upload failed for an unknown reason")
        return await _count(UnknownFailure("The backend failed."), upload, persister)


class _Attempt:
    def __init__(self, upload: StagedUpload, context: WriteContext, store: StagedStore, prepare: PrepareWrites) -> None:
        self._upload = upload
        self._context = replace(context, client_id=upload.begin.client_id, identified=True)
        self._store = store
        self._prepare = prepare
        self._operations_before = 0  # of the part that is being applied

    async def check(self) -> None:
        """That the parts are the announced transaction. Raises WriteRefused (VALIDATION_ERROR), RetryLater."""
        hasher = ContentHasher()
        ids: list[int] = []  # lowest and highest
        async for part in self._parts():
            hasher.update(part.crud)
            found = [entry.client_op_id for entry in part.crud if entry.client_op_id is not None]
            ids = [min([*ids, *found]), max([*ids, *found])] if found else ids
            if self._upload.is_identified and len(found) != len(part.crud):
                raise WriteRefused("VALIDATION_ERROR", "Some operations of the upload have no id.")
        begin = self._upload.begin
        as_announced = (
            hasher.digest(begin.transaction_id) == begin.content_hash and hasher.operations == begin.operations
        )
        if not as_announced or (self._upload.is_identified and ids != [begin.first_op_id, begin.last_op_id]):
            raise WriteRefused(
                "VALIDATION_ERROR", "The parts of the upload are not the transaction that was announced."
            )

    async def writes(self) -> AsyncIterator[list[Write]]:
        """The writes of each part, in order."""
        self._operations_before = 0
        async for part in self._parts():
            transaction = CrudTransaction(part.crud, self._upload.begin.transaction_id)
            yield await self._prepare(Attempt(transaction, self._context, self._upload.identity))
            self._operations_before += len(part.crud)

    def placed(self, refused: WriteRefused) -> WriteRefused:
        """A refusal names the operation within its part; here, within the transaction."""
        if refused.operation_index is not None:
            refused.operation_index += self._operations_before
        return refused

    async def _parts(self) -> AsyncIterator[StagedPart]:
        for number, digest in enumerate(self._upload.manifest):
            body = await self._store.read_part(self._upload.id, number, digest)
            if body is None:
                raise _PartsGone
            yield decode_part(body)


async def _count(failure: UnknownFailure, upload: StagedUpload, persister: StreamingPersister) -> Applied:
    """Retryable, until it has failed so often that it would block its device for good."""
    if upload.failures < UNKNOWN_FAILURES_MAX:
        return Applied(retryable(str(failure)), failed=True)
    message = f"It has failed {upload.failures + 1} times for a reason that the backend does not know. {failure}"
    refused = WriteRefused(failure.error_code, message, operation_index=failure.operation_index)
    return Applied(await _refused(refused, upload, persister), failed=True)


async def _refused(refused: WriteRefused, upload: StagedUpload, persister: StreamingPersister) -> TransactionResult:
    """The verdict. The transaction itself stays on the device, as a dead letter: a letter here would have to hold it whole."""
    result = refusal(refused)
    if result.requires_client_handling:
        return result
    try:
        return await persister.record_refusal(upload.identity, result)
    except WriteRefused as exc:
        return refusal(exc)  # CLIENT_FORKED
    except RetryLater as exc:
        return retryable(str(exc))
