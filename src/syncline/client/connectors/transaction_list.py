"""Transactions as a list: `PUT /api/powersync/upload` with `{"transactions": [{op_id, ops}]}` (write path reference, 1, D2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from syncline.client.connectors.authorized import AuthorizedBackend
from syncline.client.connectors.backend_client import Answer
from syncline.client.connectors.dialect import RequestUploader
from syncline.client.connectors.outcomes import Outcome
from syncline.client.connectors.upload_policy import UploadPolicy
from syncline.client.connectors.write_api import outcome_of
from syncline.client.dead_letters import Refusal
from syncline.client.upload_queue import CrudTransaction
from syncline.errors import RequestInvalid
from syncline.protocol.crud import OPERATIONS_MAX, TRANSACTIONS_MAX, decode_upload_response

__all__ = ["TransactionsUploader"]


class TransactionsUploader(RequestUploader):
    """Whole transactions, several in a request.

    `op_id` is `crud:` and the first crud id of the transaction: the same for every repeat, and never used again on this device. (Not the
    transaction id: writers outside of this process share those.)
    """

    def __init__(
        self,
        path: str = "/api/powersync/upload",
        *,
        max_transactions: int = TRANSACTIONS_MAX,
        max_operations: int = OPERATIONS_MAX,
    ) -> None:
        super().__init__(max_transactions=max_transactions, max_operations=max_operations)
        self._path = path

    async def post(
        self, transactions: Sequence[CrudTransaction], backend: AuthorizedBackend, *, policy: UploadPolicy
    ) -> Refusal | list[Outcome] | None:
        """See RequestUploader."""
        value = {"transactions": [_wire(transaction) for transaction in transactions]}
        answer, refusal = await self.exchange(backend, "PUT", self._path, value, policy=policy)
        return refusal and (_outcomes_in(answer, len(transactions)) or refusal)


def _outcomes_in(answer: Answer, count: int) -> list[Outcome] | None:
    """The outcome of each transaction, where a backend tells them as the write API does: `results`, one for each."""
    try:
        results = decode_upload_response(answer.body).results
    except RequestInvalid:
        return None
    return [outcome_of(result) for result in results] if len(results) == count else None


def _wire(transaction: CrudTransaction) -> dict[str, Any]:
    return {
        "op_id": f"crud:{transaction.first_crud_id}",
        "ops": [
            {"op": entry.op, "table": entry.table, "id": entry.id, "data": entry.op_data} for entry in transaction.crud
        ],
    }
