"""A connector whose backend is in memory: the write API without HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from syncline.client.connector import BackendConnector, Credentials
from syncline.client.connectors.write_api import wire_transaction
from syncline.client.errors import ClientForked, RetryableUploadError, ServiceError
from syncline.client.upload_queue import CrudTransaction
from syncline.protocol import crud
from syncline.testing.link import Link, RequestKind

if TYPE_CHECKING:
    from syncline.client.database import SyncDatabase
    from syncline.testing.service import MemoryService

__all__ = ["ENDPOINT", "MemoryConnector"]

ENDPOINT = "http://service.in-memory"  # never connected to


class MemoryConnector(BackendConnector):
    """One signed-in user of a service in memory. `claims` go into the token beside `sub`.

    `refused` holds the verdicts over transactions that the backend refused for good; these are taken off the queue.
    """

    def __init__(
        self, service: MemoryService, user_id: str, *, claims: Mapping[str, Any] | None = None, link: Link | None = None
    ) -> None:
        self._service = service
        self._claims = dict(claims or {})
        self.user_id: str | None = user_id
        """None: nobody is signed in."""
        self.link = link or Link()
        self.transactions_max = crud.TRANSACTIONS_MAX
        self.refused: list[crud.TransactionResult] = []

    async def fetch_credentials(self) -> Credentials | None:
        """A new token, or None where nobody is signed in."""
        await self.link.before(RequestKind.TOKEN)
        if self.user_id is None:
            return None
        token = self._service.issue_token(self.user_id, claims=self._claims)
        await self.link.after(RequestKind.TOKEN)
        return Credentials(ENDPOINT, token)

    async def upload_data(self, db: SyncDatabase) -> None:
        """Send the oldest transactions, and take off the queue the prefix that the backend has settled."""
        transactions = await db.get_crud_transactions(self.transactions_max)
        if not transactions or self.user_id is None:
            return
        response = await self.send(self.body(transactions, await db.get_client_id()))
        await self._settle(transactions, response.results)

    def body(self, transactions: Sequence[CrudTransaction], client_id: str) -> bytes:
        """The request for these transactions."""
        return msgspec.json.encode(
            crud.CrudBatch([wire_transaction(transaction) for transaction in transactions], client_id)
        )

    async def send(self, body: bytes) -> crud.UploadResponse:
        """One request to the backend."""
        assert self.user_id is not None
        await self.link.before(RequestKind.UPLOAD)
        response: crud.UploadResponse | None = None
        for _ in range(self.link.deliveries(RequestKind.UPLOAD)):
            response = await self._service.upload(body, self.user_id, self._claims)
        await self.link.after(RequestKind.UPLOAD)
        assert response is not None
        return response

    async def _settle(self, sent: list[CrudTransaction], results: list[crud.TransactionResult]) -> None:
        if len(sent) != len(results):
            raise ServiceError(f"{len(results)} results for {len(sent)} transactions.", status_code=200)
        settled: CrudTransaction | None = None
        failure: Exception | None = None
        for transaction, result in zip(sent, results, strict=True):
            failure = self._verdict(result)
            if failure is not None:
                break
            settled = transaction
        if settled is not None:
            await settled.complete()
        if failure is not None:
            raise failure

    def _verdict(self, result: crud.TransactionResult) -> Exception | None:
        """What keeps a transaction in the queue; None when it is settled."""
        match result.status:
            case crud.ResultStatus.SUCCESS:
                return None
            case crud.ResultStatus.FATAL_ERROR if result.requires_client_handling:
                return ClientForked()
            case crud.ResultStatus.FATAL_ERROR:
                self.refused.append(result)
                return None
            case crud.ResultStatus.RETRYABLE_ERROR:
                wait = None if result.retry_after_ms is None else result.retry_after_ms / 1000
                return RetryableUploadError(result.message or "Try again later.", retry_after_s=wait)
            case crud.ResultStatus.NOT_ATTEMPTED:
                return RetryableUploadError("The backend did not attempt a transaction.")
