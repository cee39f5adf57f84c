"""Changes grouped by table: `POST /api/powersync/upload` with `{"changes": {table: [...]}}` (write path reference, 1, D3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from syncline.client.connectors.authorized import AuthorizedBackend
from syncline.client.connectors.dialect import RequestUploader
from syncline.client.connectors.upload_policy import UploadPolicy
from syncline.client.dead_letters import Refusal
from syncline.client.errors import UploadRejected
from syncline.client.upload_queue import CrudTransaction
from syncline.protocol.crud import OPERATIONS_MAX, UpdateType

__all__ = ["TableBatchUploader"]


class TableBatchUploader(RequestUploader):
    """One list of changes for each table, in the order of the writes within a table; the order across tables is lost.

    This dialect knows no PATCH. `patch` says what becomes of one: `refuse` (default) raises UploadRejected and keeps it in the queue;
    `upsert` sends it as a PUT of the changed columns, which can bring a deleted row back with those columns alone; `keep` sends
    `"type": "PATCH"`, for backends that understand it.
    """

    def __init__(
        self,
        path: str = "/api/powersync/upload",
        *,
        patch: Literal["refuse", "upsert", "keep"] = "refuse",
        max_transactions: int = 1,
        max_operations: int = OPERATIONS_MAX,
    ) -> None:
        super().__init__(max_transactions=max_transactions, max_operations=max_operations)
        if patch not in ("refuse", "upsert", "keep"):
            raise ValueError(f"patch is {patch!r}; it can be refuse, upsert or keep.")
        self._path = path
        self._patch = patch

    async def post(
        self, transactions: Sequence[CrudTransaction], backend: AuthorizedBackend, *, policy: UploadPolicy
    ) -> Refusal | None:
        """See RequestUploader. Raises UploadRejected for a PATCH that is not to be sent."""
        changes: dict[str, list[dict[str, Any]]] = {}
        for transaction in transactions:
            for entry in transaction.crud:
                change: dict[str, Any] = {"type": self._type(entry.op), "id": entry.id}
                if entry.op is not UpdateType.DELETE:
                    change["data"] = entry.op_data or {}
                changes.setdefault(entry.table, []).append(change)
        return await self.put_to(backend, "POST", self._path, {"changes": changes}, policy=policy)

    def _type(self, op: UpdateType) -> str:
        if op is not UpdateType.PATCH or self._patch == "keep":
            return op
        if self._patch == "upsert":
            return UpdateType.PUT
        raise UploadRejected(
            "An update (PATCH) cannot be sent in table batches.",
            hint='TableBatchUploader(patch="upsert") sends it as an upsert, which can bring deleted rows back; patch="keep" as a PATCH.',
        )
