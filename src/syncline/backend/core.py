"""The write API without a framework: an upload in, verdicts out (write path reference, 2.3).

Each client transaction is one database transaction. The first that fails ends the batch, unless it was refused for good and
`on_fatal` is "skip". Nothing is ever silently lost: what was refused is told to the client with a code, and logged.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

from syncline.backend.changes import ChangeFeed
from syncline.backend.limits import CLIENT_ID_CHARACTERS_MAX, RETRY_AFTER_MS
from syncline.backend.persisters.base import (
    CLIENT_FORKED,
    Persister,
    RetryLater,
    UploadIdentity,
    WriteContext,
    WriteRefused,
)
from syncline.backend.policies import TablePolicy, TableRules
from syncline.backend.tokens import AuthenticatedUser, BackendAuth
from syncline.errors import ConfigError, RequestInvalid
from syncline.protocol.crud import (
    CrudBatch,
    CrudTransaction,
    FailedOperation,
    ResultStatus,
    TransactionResult,
    UploadResponse,
    content_hash,
    decode_upload,
)

__all__ = ["SyncBackend"]

log = logging.getLogger(__name__)


class SyncBackend:
    """Takes uploads for the tables that have a policy. `on_fatal` says what follows a refused transaction of a batch.

    `change_feed` is for devices that poll instead of opening a sync stream.
    """

    def __init__(
        self,
        *,
        persister: Persister,
        auth: BackendAuth,
        tables: Mapping[str, TablePolicy],
        on_fatal: Literal["stop", "skip"] = "stop",
        change_feed: ChangeFeed | None = None,
    ) -> None:
        if not tables:
            raise ConfigError(
                "The backend has no table policies, so every upload would be refused.",
                hint='SyncBackend(tables={"lists": TablePolicy(owner="owner_id")}, …)',
            )
        self.persister = persister
        self.auth = auth
        self.change_feed = change_feed
        self._tables = dict(tables)
        self._rules = TableRules(self._tables)
        self._on_fatal = on_fatal

    async def open(self) -> None:
        """Connect to the database. Call once before the first upload."""
        await self.persister.open()

    async def close(self) -> None:
        """Close the database connections."""
        await self.persister.close()

    async def handle_upload(self, body: bytes, user: AuthenticatedUser) -> UploadResponse | TransactionResult:
        """Apply an upload: a batch gets one result per transaction, in order; the first form (one transaction alone) gets its result.

        Raises RequestInvalid for a body that is neither.
        """
        upload = decode_upload(body)
        if isinstance(upload, CrudTransaction):
            return (await self._apply_batch(CrudBatch([upload]), user)).results[0]
        return await self._apply_batch(upload, user)

    async def next_checkpoint(self, client_id: str, user: AuthenticatedUser) -> int:
        """Count a custom write checkpoint up, for the user of the token and this device. Raises RetryLater."""
        return await self.persister.next_checkpoint(user.user_id, client_id[:CLIENT_ID_CHARACTERS_MAX])

    async def _apply_batch(self, batch: CrudBatch, user: AuthenticatedUser) -> UploadResponse:
        if batch.client_id is not None and len(batch.client_id) > CLIENT_ID_CHARACTERS_MAX:
            raise RequestInvalid([f"client_id is longer than {CLIENT_ID_CHARACTERS_MAX} characters"])
        results: list[TransactionResult] = []
        stopped = False
        for transaction in batch.transactions:
            if stopped:
                results.append(TransactionResult(ResultStatus.NOT_ATTEMPTED))
                continue
            result = await self._apply(transaction, batch.client_id, user)
            results.append(result)
            settled = result.status is ResultStatus.FATAL_ERROR and not result.requires_client_handling
            stopped = result.status is not ResultStatus.SUCCESS and not (settled and self._on_fatal == "skip")
        return UploadResponse(results)

    async def _apply(
        self, transaction: CrudTransaction, client_id: str | None, user: AuthenticatedUser
    ) -> TransactionResult:
        identity = _identity(transaction, client_id, user)
        try:
            context = _context(identity, client_id, user, datetime.now(UTC))
            writes = [self._rules.write(index, entry, context) for index, entry in enumerate(transaction.crud)]
            result = await self.persister.apply(writes, identity)
        except WriteRefused as exc:
            result = await self._record(identity, _refusal(exc))
        except RetryLater as exc:
            result = TransactionResult(ResultStatus.RETRYABLE_ERROR, message=str(exc), retry_after_ms=RETRY_AFTER_MS)
        _log_result(result, transaction, user)
        return result

    async def _record(self, identity: UploadIdentity | None, result: TransactionResult) -> TransactionResult:
        """Keep the verdict, so that a repeat hears the same; an earlier verdict wins, for policies may have changed since.

        Where it cannot be kept, a repeat is judged again: no harm, so no failure.
        """
        if identity is None or result.requires_client_handling:
            return result
        try:
            return await self.persister.record_refusal(identity, result)
        except WriteRefused as exc:
            return _refusal(exc)
        except RetryLater:
            log.warning("A refusal could not be recorded", extra={"event": "backend.refusal_not_recorded"})
            return result


def _context(
    identity: UploadIdentity | None, client_id: str | None, user: AuthenticatedUser, received_at: datetime
) -> WriteContext:
    return WriteContext(user.user_id, user.claims, client_id, received_at, identified=identity is not None)


def _identity(transaction: CrudTransaction, client_id: str | None, user: AuthenticatedUser) -> UploadIdentity | None:
    """None for clients that send no ids: official SDKs. Their writes are idempotent by construction."""
    ids = [entry.client_op_id for entry in transaction.crud if entry.client_op_id is not None]
    if client_id is None or len(ids) != len(transaction.crud):
        return None
    return UploadIdentity(user.user_id, client_id, min(ids), max(ids), content_hash(transaction))


def _refusal(exc: WriteRefused) -> TransactionResult:
    """The verdict. A forked device's writes are good ones under a wrong identity: it must keep them and send them again."""
    return TransactionResult(
        ResultStatus.FATAL_ERROR,
        message=exc.message,
        requires_client_handling=exc.error_code == CLIENT_FORKED,
        failed_operation=FailedOperation(
            exc.error_code, exc.message, details=exc.details, operation_index=exc.operation_index
        ),
    )


def _log_result(result: TransactionResult, transaction: CrudTransaction, user: AuthenticatedUser) -> None:
    """Counts, names and codes; never values."""
    level = logging.INFO if result.status is ResultStatus.SUCCESS else logging.WARNING
    log.log(
        level,
        "Upload %s",
        result.status,
        extra={
            "event": "backend.upload",
            "user_id": user.user_id,
            "status": str(result.status),
            "operations": len(transaction.crud),
            "tables": ",".join(sorted({entry.table for entry in transaction.crud})),
            "error_code": result.failed_operation.error_code if result.failed_operation else "",
            "deduplicated": result.deduplicated,
        },
    )
