"""A connector for the write API (write path reference, 2.3): enough for a backend built with `syncline.backend`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec

from syncline.client.connector import BackendConnector, Credentials
from syncline.client.errors import (
    ClientForked,
    ConnectionFailed,
    NotSignedIn,
    RetryableUploadError,
    ServiceError,
    UploadRejected,
)
from syncline.client.upload_queue import CrudTransaction
from syncline.errors import RequestInvalid
from syncline.protocol import crud

if TYPE_CHECKING:
    from syncline.client.database import SyncDatabase

__all__ = ["REQUEST_TIMEOUT_S", "RETRY_AFTER_MAX_S", "HttpConnector"]

REQUEST_TIMEOUT_S = 60.0  # seconds for one request to the backend
RETRY_AFTER_MAX_S = 300.0  # seconds: the longest wait that a backend can ask for with Retry-After

_CLIENT_FORKED = "CLIENT_FORKED"  # error code: the ids of a transaction are known with other content
_HINTS = {
    403: "The writes stay in the queue. Compare the user's rights and the token's claims with what the backend wants.",
    413: "One transaction alone is too large for the backend: raise its limit on the size of a request.",
}

_log = logging.getLogger(__name__)


class _TokenAnswer(msgspec.Struct):
    token: str
    powersync_url: str


class HttpConnector(BackendConnector):
    """`GET /api/auth/token` for credentials, `POST /api/data` for uploads.

    `user_id` is for backends with a development login; otherwise `headers` carry what the backend knows its user by (a session cookie).
    `rejected` counts transactions that the backend refused for good and keeps itself.
    """

    def __init__(self, backend_url: str, *, user_id: str | None = None, headers: dict[str, str] | None = None) -> None:
        self._backend_url = backend_url.rstrip("/")
        self._params = {} if user_id is None else {"user_id": user_id}
        self._headers = headers or {}
        self._token: str | None = None
        self._transactions_max = crud.TRANSACTIONS_MAX  # less while the backend finds our requests too large (413)
        self.rejected = 0

    async def fetch_credentials(self) -> Credentials | None:
        """Ask the backend for a token. None on 401: nobody is signed in. Raises ConnectionFailed, ServiceError."""
        url = f"{self._backend_url}/api/auth/token"
        status, body, _ = await self._request("GET", url, params=self._params, headers=self._headers)
        if status == 401:
            self._token = None
            return None
        if status != 200:
            raise ServiceError(f"{url} answered HTTP {status}.", status_code=status)
        try:
            answer = msgspec.json.decode(body, type=_TokenAnswer)
        except (msgspec.ValidationError, msgspec.DecodeError) as exc:
            raise ServiceError(
                f"{url} did not answer with a token.", status_code=status, hint="It must be {token, powersync_url}."
            ) from exc
        self._token = answer.token
        return Credentials(answer.powersync_url, answer.token)

    async def upload_data(self, db: SyncDatabase) -> None:
        """Send the oldest transactions in one request, and take off the queue the prefix that the backend has settled."""
        transactions = await db.get_crud_transactions(self._transactions_max)
        chosen = _within_limits(transactions)
        if not chosen:
            return
        batch = crud.CrudBatch([_wire(transaction) for transaction in chosen], client_id=await db.get_client_id())
        try:
            response = await self._send(msgspec.json.encode(batch))
        except ServiceError as exc:
            if exc.status_code != 413 or len(chosen) == 1:
                raise
            self._transactions_max = len(chosen) // 2
            await self.upload_data(db)
            return
        self._transactions_max = min(crud.TRANSACTIONS_MAX, 2 * self._transactions_max)
        if len(response.results) != len(chosen):
            raise ServiceError(
                f"The backend answered with {len(response.results)} results for {len(chosen)} transactions.",
                status_code=200,
                hint="Nothing was taken off the queue. Every transaction needs one result.",
            )
        await self._settle(chosen, response.results)

    async def _settle(self, sent: list[CrudTransaction], results: list[crud.TransactionResult]) -> None:
        """Complete the longest settled prefix first, then raise for what stopped it."""
        settled: CrudTransaction | None = None
        failure: Exception | None = None
        for transaction, result in zip(sent, results, strict=True):
            failure = self._verdict(transaction, result)
            if failure is not None:
                break
            settled = transaction
        if settled is not None:
            await settled.complete()
        if failure is not None:
            raise failure

    def _verdict(self, transaction: CrudTransaction, result: crud.TransactionResult) -> Exception | None:
        """What keeps a transaction in the queue; None when it is settled."""
        failed = result.failed_operation
        text = result.message or (failed.message if failed else "") or "no message"
        code = failed.error_code if failed else "UNCLASSIFIED_ERROR"
        match result.status:
            case crud.ResultStatus.SUCCESS:
                return None
            case crud.ResultStatus.FATAL_ERROR if code == _CLIENT_FORKED:
                return ClientForked()
            case crud.ResultStatus.FATAL_ERROR if result.requires_client_handling is False:
                self.rejected += 1
                _log.error(
                    "The backend rejected a transaction for good (%s): %s",
                    code,
                    text,
                    extra={"event": "upload_rejected", "code": code, "first_crud_id": transaction.first_crud_id},
                )
                return None
            case crud.ResultStatus.FATAL_ERROR:
                return UploadRejected(f"The backend wants a decision about a transaction ({code}): {text}", code=code)
            case crud.ResultStatus.RETRYABLE_ERROR:
                wait = None if result.retry_after_ms is None else max(0, result.retry_after_ms) / 1000
                return RetryableUploadError(f"The backend cannot take a transaction now: {text}", retry_after_s=wait)
            case crud.ResultStatus.NOT_ATTEMPTED:
                return RetryableUploadError("The backend did not attempt a transaction.")

    async def _send(self, body: bytes) -> crud.UploadResponse:
        """Post a batch; a refused token is replaced once. Raises NotSignedIn, ConnectionFailed, ServiceError, RetryableUploadError."""
        url = f"{self._backend_url}/api/data"
        status, answer, retry_after_s = await self._post(url, body)
        if status == 401:
            self._token = None
            status, answer, retry_after_s = await self._post(url, body)
        if status != 200:
            raise ServiceError(
                f"{url} answered HTTP {status}{_message_of(answer)}",
                status_code=status,
                hint=_HINTS.get(status, ""),
                retry_after_s=retry_after_s,
            )
        try:
            return crud.decode_upload_response(answer)
        except RequestInvalid as exc:
            raise ServiceError(
                f"{url} did not answer as the write API does.", status_code=status, hint="Nothing was completed."
            ) from exc

    async def _post(self, url: str, body: bytes) -> tuple[int, bytes, float | None]:
        if self._token is None:
            await self.fetch_credentials()
        if self._token is None:
            raise NotSignedIn
        headers = {**self._headers, "content-type": "application/json", "authorization": f"Bearer {self._token}"}
        return await self._request("POST", url, data=body, headers=headers)

    async def _request(self, method: str, url: str, **options: Any) -> tuple[int, bytes, float | None]:
        """Status, body, and the seconds to wait where the answer has Retry-After. Raises ConnectionFailed."""
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.request(method, url, **options) as response,
            ):
                return response.status, await response.read(), _retry_after(response.headers.get("Retry-After"))
        except (aiohttp.ClientError, OSError, TimeoutError) as exc:
            raise ConnectionFailed(f"The backend {self._backend_url} cannot be reached: {type(exc).__name__}") from exc


def _within_limits(transactions: list[CrudTransaction]) -> list[CrudTransaction]:
    """As many whole transactions as one request may hold; the first is always sent, or the queue would never move."""
    chosen: list[CrudTransaction] = []
    operations = 0
    for transaction in transactions[: crud.TRANSACTIONS_MAX]:
        operations += len(transaction.crud)
        if chosen and operations > crud.OPERATIONS_MAX:
            break
        chosen.append(transaction)
    return chosen


def _wire(transaction: CrudTransaction) -> crud.CrudTransaction:
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


def _retry_after(header: str | None) -> float | None:
    """Seconds of a Retry-After header; None without one, and for its form as a date, which needs two clocks that agree."""
    if header is None or not header.strip().isdecimal():
        return None
    return min(float(header), RETRY_AFTER_MAX_S)


def _message_of(body: bytes) -> str:
    """The backend's own message, where the body is `{message}`; HTML pages of gateways are left out."""
    try:
        message = msgspec.json.decode(body, type=dict[str, Any]).get("message")
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError):
        return "."
    return f": {message}" if isinstance(message, str) else "."
