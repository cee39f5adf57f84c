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
    Unsettled,
    failed,
    refusal_of_status,
)
from syncline.client.connectors.upload_policy import UploadPolicy
from syncline.client.dead_letters import Refusal
from syncline.client.errors import ClientForked, RetryableUploadError, ServiceError
from syncline.client.upload_queue import CrudTransaction
from syncline.errors import RequestInvalid
from syncline.protocol import crud

__all__ = ["CLIENT_FORKED", "WriteApiUploader", "wire_transaction"]

CLIENT_FORKED = "CLIENT_FORKED"  # error code: the ids of a transaction are known with other content

_UNREADABLE = frozenset({400, 422})  # the backend could not read the request: one of its transactions is the reason


class WriteApiUploader(TransactionUploader):
    """`POST /api/data` with up to 50 transactions. Their ids go along, so that a repeat has no second effect (design decision 12)."""

    def __init__(
        self,
        path: str = "/api/data",
        *,
        max_transactions: int = crud.TRANSACTIONS_MAX,
        max_operations: int = crud.OPERATIONS_MAX,
    ) -> None:
        super().__init__(max_transactions=min(max_transactions, crud.TRANSACTIONS_MAX), max_operations=max_operations)
        self._path = path

    async def send(
        self,
        transactions: Sequence[CrudTransaction],
        backend: AuthorizedBackend,
        *,
        client_id: str,
        policy: UploadPolicy,
    ) -> list[Outcome]:
        """See TransactionUploader."""
        outcomes = await self._post(transactions, backend, client_id)
        if outcomes is not None:
            return outcomes

        async def alone(transaction: CrudTransaction) -> Outcome:
            found = await self._post([transaction], backend, client_id)
            assert found is not None
            return found[0]

        return await one_by_one(transactions, alone, policy)  # the unreadable one is found so

    async def _post(
        self, transactions: Sequence[CrudTransaction], backend: AuthorizedBackend, client_id: str
    ) -> list[Outcome] | None:
        """The outcomes; None where a request with several transactions could not be read by the backend."""
        batch = crud.CrudBatch([wire_transaction(transaction) for transaction in transactions], client_id=client_id)
        answer = await backend.request("POST", self._path, body=msgspec.json.encode(batch))
        url = backend.url(self._path)
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
                return Rejected(refusal, closed=True)
            return LeftToApp(refusal)


def wire_transaction(transaction: CrudTransaction) -> crud.CrudTransaction:
    """A transaction as the write API takes it, with the ids by which a repeat is recognised (design decision 12)."""
    return crud.CrudTransaction(
        crud=[
            crud.CrudOperation(
                op=entry.op,
                table=entry.table,
                id=entry.id,
                op_data=entry.op_data,
                client_op_id=entry.client_id,
                transaction_id=entry.transaction_id,
                previous_values=entry.previous_values,
                metadata=entry.metadata,
            )
            for entry in transaction.crud
        ],
        transaction_id=transaction.transaction_id,
    )
