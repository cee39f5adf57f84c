"""The recipe's list of operations: `POST /api/powersync/upload`, always answered with 200 (write path reference, 1, D7)."""

from __future__ import annotations

from collections.abc import Sequence

from syncline.client.connectors.authorized import AuthorizedBackend
from syncline.client.connectors.dialect import RequestUploader
from syncline.client.connectors.upload_policy import UploadPolicy
from syncline.client.dead_letters import Refusal
from syncline.client.upload_queue import CrudTransaction

__all__ = ["OperationsUploader"]


class OperationsUploader(RequestUploader):
    """One transaction a request: `{"operations": [{id, op, table, opData}]}`, answered with `{"success": bool, "error"?: str}`.

    `success: false` is a refusal: the backend keeps no record of it, so that it becomes a dead letter here before it leaves the queue.
    """

    def __init__(self, path: str = "/api/powersync/upload") -> None:
        super().__init__()
        self._path = path

    async def post(
        self, transactions: Sequence[CrudTransaction], backend: AuthorizedBackend, *, policy: UploadPolicy
    ) -> Refusal | None:
        """See RequestUploader."""
        operations = [
            {"id": entry.id, "op": entry.op, "table": entry.table, "opData": entry.op_data}
            for transaction in transactions
            for entry in transaction.crud
        ]
        return await self.put_to(backend, "POST", self._path, {"operations": operations}, policy=policy)
