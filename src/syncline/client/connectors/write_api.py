"""The write API (write path reference, 2.3): batches with a verdict for each transaction, and their operations' identity."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from syncline.client.connectors.authorized import AuthorizedBackend
from syncline.client.connectors.dialect import TransactionUploader, one_by_one
from syncline.client.connectors.outcomes import (
    Accepted,
    LeftToApp,
    Outcome,
    Rejected,
    RequestTooLarge,
    Unsettled,
    failed,
    refusal_of_status,
)
from syncline.client.connectors.staged import StagedSender
from syncline.client.connectors.upload_policy import UploadPolicy
from syncline.client.crud import CrudEntry
from syncline.client.dead_letters import Refusal
from syncline.client.errors import ClientForked, RetryableUploadError, ServiceError
from syncline.client.upload_queue import CrudTransaction
from syncline.errors import RequestInvalid
from syncline.protocol import crud
from syncline.protocol.staged import STAGED_PATH

__all__ = ["CLIENT_FORKED", "STAGED_ABOVE_BYTES", "WriteApiUploader", "wire_operation", "wire_transaction"]

CLIENT_FORKED = "CLIENT_FORKED"  # error code: the ids of a transaction are known with other content

STAGED_ABOVE_BYTES = 8 * 1024 * 1024  # bytes of a request above which its one transaction goes in parts

_UNREADABLE = frozenset({400, 422})  # the backend could not read the request: one of its transactions is the reason


class WriteApiUploader(TransactionUploader):
    """`POST /api/data` with up to 50 transactions. Their ids go along, so that a repeat has no second effect (design decision 12).

    A single transaction of more than `staged_above_bytes`, or of more operations than a request may have, or that is answered with 413,
    goes by the routes below `staged_path`, in parts. A backend without them gets it in one request. None: always in one request.
    """

    def __init__(
        self,
        path: str = "/api/data",
        *,
        max_transactions: int = crud.TRANSACTIONS_MAX,
        max_operations: int = crud.OPERATIONS_MAX,
        staged_path: str | None = STAGED_PATH,
        staged_above_bytes: int = STAGED_ABOVE_BYTES,
    ) -> None:
        super().__init__(max_transactions=min(max_transactions, crud.TRANSACTIONS_MAX), max_operations=max_operations)
        self._path = path
        self._staged = None if staged_path is None else StagedSender(staged_path, part_bytes_max=staged_above_bytes)
        self._staged_above_bytes = staged_above_bytes

    async def send(
        self,
        transactions: Sequence[CrudTransaction],
        backend: AuthorizedBackend,
        *,
        client_id: str,
        policy: UploadPolicy,
    ) -> list[Outcome]:
        """See TransactionUploader."""
        outcomes = await self._post(transactions, backend, client_id, policy)
        if outcomes is not None:
            return outcomes

        async def alone(transaction: CrudTransaction) -> Outcome:
            found = await self._post([transaction], backend, client_id, policy)
            assert found is not None
            return found[0]

        return await one_by_one(transactions, alone, policy)  # the unreadable one is found so

    async def _post(
        self,
        transactions: Sequence[CrudTransaction],
        backend: AuthorizedBackend,
        client_id: str,
        policy: UploadPolicy,
    ) -> list[Outcome] | None:
        """The outcomes; None where a request with several transactions could not be read by the backend."""
        url = backend.url(self._path)
        body = _body(transactions, client_id)
        if self._is_large(transactions, len(body)):
            body = b""  # it would stay in memory meanwhile
            if len(transactions) > 1:  # smaller groups, until each fits or goes in parts
                raise RequestTooLarge(f"A request to {url} would be large.", status_code=413)
            outcome = await self._in_parts(transactions[0], backend, client_id, policy)
            if outcome is not None:
                return [outcome]
            body = _body(transactions, client_id)
        size = len(body)
        answer = await backend.request("POST", self._path, body=body)
        if answer.status == 413 and len(transactions) == 1:
            body = b""
            outcome = await self._in_parts(transactions[0], backend, client_id, policy)
            if outcome is not None:
                self._staged_above_bytes = min(self._staged_above_bytes, size - 1)  # something on the way takes no more
                return [outcome]
        if answer.status in _UNREADABLE and answer.message and not answer.is_page:
            if len(transactions) > 1:
                return None
            refusal = refusal_of_status(answer)
            assert refusal is not None
            return [Rejected(refusal)]
        if answer.status != 200:
            raise failed(answer, url)
        try:
            response = crud.decode_upload_response(answer.body)
        except RequestInvalid as exc:
            raise ServiceError(
                f"{url} did not answer as the write API does, but with {answer.describe()}.",
                status_code=answer.status,
                hint="Nothing was taken off the queue.",
            ) from exc
        if len(response.results) != len(transactions):
            raise ServiceError(
                f"The backend answered with {len(response.results)} results for {len(transactions)} transactions.",
                status_code=200,
                hint="Nothing was taken off the queue. Every transaction needs one result.",
            )
        return [outcome_of(result) for result in response.results]

    def _is_large(self, transactions: Sequence[CrudTransaction], size: int) -> bool:
        """Whether a request of so many bytes had better not be sent."""
        if self._staged is None:
            return False
        operations = sum(len(transaction.crud) for transaction in transactions)
        return size > self._staged_above_bytes or operations > max(self.max_operations, crud.OPERATIONS_MAX)

    async def _in_parts(
        self, transaction: CrudTransaction, backend: AuthorizedBackend, client_id: str, policy: UploadPolicy
    ) -> Outcome | None:
        """The outcome of a transaction that goes in parts; None where the backend takes none."""
        if self._staged is None:
            return None
        result = await self._staged.send(
            transaction, lambda: map(wire_operation, transaction.crud), backend, client_id=client_id
        )
        if result is None:
            return None
        outcome = outcome_of(result)
        if isinstance(outcome, Rejected):
            # The backend keeps no letter of so large a transaction: the device makes one, whatever the policy says of others.
            return Rejected(outcome.refusal, closed=policy.backend_keeps_refusals is not True)
        return outcome


def _body(transactions: Sequence[CrudTransaction], client_id: str) -> bytes:
    return msgspec.json.encode(crud.CrudBatch([wire_transaction(each) for each in transactions], client_id=client_id))


def outcome_of(result: crud.TransactionResult) -> Outcome:
    """What a verdict of the write API means for the queue."""
    operation = result.failed_operation
    text = result.message or (operation.message if operation else "") or "no message"
    match result.status:
        case crud.ResultStatus.SUCCESS:
            return Accepted()
        case crud.ResultStatus.RETRYABLE_ERROR:
            wait_s = None if result.retry_after_ms is None else max(0, result.retry_after_ms) / 1000
            error = RetryableUploadError(f"The backend cannot take a transaction now: {text}", retry_after_s=wait_s)
            return Unsettled(error, counts=True)
        case crud.ResultStatus.NOT_ATTEMPTED:
            error = RetryableUploadError("The backend did not attempt a transaction.")
            return Unsettled(error, not_attempted=True)
        case crud.ResultStatus.FATAL_ERROR:
            refusal = Refusal(
                operation.error_code if operation else "UNCLASSIFIED_ERROR",
                text,
                details=operation.details if operation else None,
                operation_index=operation.operation_index if operation else None,
            )
            if refusal.code == CLIENT_FORKED:
                return Unsettled(ClientForked())
            # A backend that does not say that it is done with the transaction leaves it to the app.
            if result.requires_client_handling is False:
                return Rejected(refusal, closed=True, kept=result.dead_lettered)
            return LeftToApp(refusal)


def wire_transaction(transaction: CrudTransaction) -> crud.CrudTransaction:
    """A transaction as the write API takes it, with the ids by which a repeat is recognised (design decision 12)."""
    return crud.CrudTransaction(
        crud=[wire_operation(entry) for entry in transaction.crud],
        transaction_id=transaction.transaction_id,
    )


def wire_operation(entry: CrudEntry) -> crud.CrudOperation:
    """One of its operations."""
    return crud.CrudOperation(
        op=entry.op,
        table=entry.table,
        id=entry.id,
        op_data=entry.op_data,
        client_op_id=entry.client_id,
        transaction_id=entry.transaction_id,
        previous_values=entry.previous_values,
        metadata=entry.metadata,
    )
