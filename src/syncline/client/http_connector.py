"""The ready connector for backends over HTTP: a way to sign in and a way to upload, joined. An app needs no connector of its own."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from syncline.client.connector import BackendConnector, Credentials
from syncline.client.connectors.authorized import AuthorizedBackend
from syncline.client.connectors.backend_client import Answer, BackendClient, RequestTimeouts
from syncline.client.connectors.credential_flows import ConfigAndToken, CredentialFlow, TokenEndpoint
from syncline.client.connectors.dialect import TransactionUploader, is_attempt, within_limits
from syncline.client.connectors.outcomes import Outcome, RequestTooLarge, Unsettled, failed
from syncline.client.connectors.settlement import plan_settlement
from syncline.client.connectors.upload_policy import UploadPolicy
from syncline.client.connectors.write_api import WriteApiUploader
from syncline.client.errors import CredentialsInvalid, NotSignedIn, ServiceError, UploadRejected
from syncline.client.retry import RETRY_AFTER_MAX_S
from syncline.client.token_stores import MemoryTokenStore, TokenStore
from syncline.client.upload_queue import CrudTransaction
from syncline.protocol import crud

if TYPE_CHECKING:
    from syncline.client.database import SyncDatabase

__all__ = ["BATCHES_PER_CALL_MAX", "RETRY_AFTER_MAX_S", "HttpConnector"]

BATCHES_PER_CALL_MAX = 20  # requests that go over one connection; then the uploader looks at the queue again

_log = logging.getLogger(__name__)


class HttpConnector(BackendConnector):
    """Asks the app's backend for tokens and sends it what was written.

    >>> await db.connect(HttpConnector("https://api.example.com"))

    `auth` says where the token comes from; without it `GET /api/auth/token`, or what `auth_path` and `method`, or `config_path` and
    `token_path`, name. The login token in `token_store` goes along as Bearer; `headers` go with every request (a session cookie, an API
    key); `user_id` is for backends with a development login. `uploader` is the dialect of the backend (the write API by default), `policy`
    what becomes of refused writes. A request of the write API holds up to `max_transactions` and `max_operations`, and never a part of a
    transaction (other uploaders take these options themselves). Uploads carry the sync token, or with `upload_token="login"` the login
    token.

    With `checkpoint_path` the backend makes the write checkpoints itself: it is asked for one when the queue is empty
    (`PUT {"client_id"}`, answered with `{"checkpoint"}`), never for each transaction. `ssl_context` is for certificates of an authority of
    your own, `proxy` the URL of an HTTP proxy.

    `rejected` counts refused transactions since the start.
    """

    def __init__(
        self,
        backend_url: str | None,
        auth: CredentialFlow | None = None,
        *,
        user_id: str | None = None,
        auth_path: str | None = None,
        method: str = "GET",
        config_path: str | None = None,
        token_path: str = "/api/auth/token",  # noqa: S107 - a path
        service_url: str | None = None,
        token_store: TokenStore | None = None,
        headers: Mapping[str, str] | None = None,
        uploader: TransactionUploader | None = None,
        max_transactions: int = crud.TRANSACTIONS_MAX,
        max_operations: int = crud.OPERATIONS_MAX,
        upload_token: Literal["sync", "login"] = "sync",  # noqa: S107 - which one
        policy: UploadPolicy | None = None,
        checkpoint_path: str | None = None,
        timeouts: RequestTimeouts | None = None,
        ssl_context: ssl.SSLContext | None = None,
        proxy: str | None = None,
    ) -> None:
        self._client: BackendClient | None = None
        if backend_url is not None:
            self._client = BackendClient(
                backend_url, headers=headers, timeouts=timeouts, ssl_context=ssl_context, proxy=proxy
            )
        params = {} if user_id is None else {"user_id": user_id}
        if auth is None and config_path is not None:
            auth = ConfigAndToken(config_path, token_path, params=params)
        self._auth = auth or TokenEndpoint(
            auth_path or token_path, method=method, params=params, service_url=service_url
        )
        self.token_store = token_store or MemoryTokenStore()
        self._uploader = uploader or WriteApiUploader(max_transactions=max_transactions, max_operations=max_operations)
        self._upload_token = upload_token
        self._policy = policy or UploadPolicy()
        self._checkpoint_path = checkpoint_path
        self._credentials: Credentials | None = None
        self._logins = 0  # sign-ins and sign-outs: what was fetched for another user is not kept
        self._signed_out = False
        # Less than the uploader's own bound while the backend finds our requests too large (413).
        self._transactions_max = self._uploader.max_transactions
        self._one_upload = asyncio.Lock()  # an app may call upload_data beside the client's own loop
        self._attempts: tuple[int, int] = (0, 0)  # (first crud id, failures in a row of the backend at it)
        self.rejected = 0

    # -- who the user is

    async def fetch_credentials(self) -> Credentials | None:
        """Fresh credentials; None when nobody is signed in. Raises ConnectionFailed, ServiceError, CredentialsInvalid."""
        logins = self._logins
        fetched = None if self._signed_out else await self._auth.fetch(self._client, self.token_store)
        if logins != self._logins:  # signed in or out meanwhile: these are another user's
            return await self.fetch_credentials()
        self._credentials = fetched
        return fetched

    async def login(self, token: str) -> None:
        """Keep the app's own login token: it goes along as Bearer when credentials are fetched."""
        await self.token_store.set(token)
        self._forget()
        self._signed_out = False

    async def logout(self) -> None:
        """Forget the login token and the credentials: until the next `login`, nobody is signed in. The database is left alone."""
        self._signed_out = True
        self._forget()
        await self.token_store.clear()

    async def authenticated_fetch(
        self,
        method: str,
        path: str,
        *,
        value: Any = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """A request of the app's own to its backend, with the token of the uploads; `value` goes as JSON.

        A token that is refused is replaced once. Any other status is in the answer (`status`, `json()`, `message`). `path` may not lead
        to another host: the token is for the backend. Raises NotSignedIn, AuthFailed, ConnectionFailed.
        """
        client = self._backend()
        url = client.url(path)
        if not (url + "/").startswith(client.base_url + "/"):
            raise CredentialsInvalid(
                "An authenticated request goes to the backend only.", hint=f"The backend is {client.base_url}."
            )
        async with client.exchange() as exchange:
            authorized = AuthorizedBackend(client, exchange, token=self._token, drop=self._drop_token)
            return await authorized.request(method, path, value=value, params=params, headers=headers)

    # -- uploads

    async def upload_data(self, db: SyncDatabase) -> None:
        """Send the oldest transactions, and take off the queue the prefix that the backend has settled; again, while there are more."""
        client = self._backend()
        async with self._one_upload, client.exchange() as exchange:
            authorized = AuthorizedBackend(client, exchange, token=self._token, drop=self._drop_token)
            for _ in range(BATCHES_PER_CALL_MAX):
                waiting = await db.get_crud_transactions(self._transactions_max + 1)
                chosen = within_limits(
                    waiting, max_transactions=self._transactions_max, max_operations=self._uploader.max_operations
                )
                if not chosen:
                    return
                await self._upload_batch(db, authorized, chosen, last=len(chosen) == len(waiting))

    async def _upload_batch(
        self, db: SyncDatabase, authorized: AuthorizedBackend, chosen: list[CrudTransaction], *, last: bool
    ) -> None:
        started = time.monotonic()
        outcomes: list[Outcome]
        client_id = await db.get_client_id()
        try:
            outcomes = await self._uploader.send(chosen, authorized, client_id=client_id, policy=self._policy)
        except (RequestTooLarge, UploadRejected):  # of one of them: the others are not to wait for it
            if len(chosen) == 1:
                raise
            self._transactions_max = len(chosen) // 2
            return
        except ServiceError as exc:
            outcomes = [Unsettled(exc, counts=is_attempt(exc))]
        self._transactions_max = min(self._uploader.max_transactions, 2 * self._transactions_max)
        await self._settle(chosen, outcomes, authorized=authorized, client_id=client_id, last=last, started=started)

    async def _settle(
        self,
        sent: list[CrudTransaction],
        results: list[Outcome],
        *,
        authorized: AuthorizedBackend,
        client_id: str,
        last: bool,
        started: float,
    ) -> None:
        """Complete the longest settled prefix first, then raise for what stopped it."""
        plan = await plan_settlement(sent, results, self._policy, exhausted=self._is_exhausted)
        write_checkpoint = None
        if self._checkpoint_path is not None and last and len(plan.settled) == len(sent):
            write_checkpoint = await self._write_checkpoint(self._checkpoint_path, authorized, client_id)
        await plan.carry_out(write_checkpoint)
        self.rejected += len(plan.rejections)
        _log_upload(sent, settled=len(plan.settled), rejected=len(plan.rejections), seconds=time.monotonic() - started)
        await plan.tell(self._policy)
        if plan.failure is not None:
            raise plan.failure

    async def _write_checkpoint(self, path: str, authorized: AuthorizedBackend, client_id: str) -> int:
        """A write checkpoint of the backend's own making. Raises ServiceError: what was uploaded is then sent again."""
        answer = await authorized.request("PUT", path, value={"client_id": client_id})
        if not answer.ok:
            raise failed(answer, authorized.url(path))
        document = answer.json()
        number = document.get("checkpoint") if isinstance(document, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]  # of any JSON
        if isinstance(number, str) and number.isdecimal():
            number = int(number)
        if not isinstance(number, int) or number < 1:
            raise ServiceError(
                f"{authorized.url(path)} did not answer with a checkpoint.",
                status_code=answer.status,
                hint='It must be {"checkpoint": "1"}, a number that grows.',
            )
        return number

    def _is_exhausted(self, transaction: CrudTransaction) -> bool:
        """Count one more failure of the backend at a transaction; whether it was one too many."""
        crud_id, failures = self._attempts
        failures = failures + 1 if crud_id == transaction.first_crud_id else 1
        self._attempts = (transaction.first_crud_id, failures)
        return self._policy.max_attempts is not None and failures >= self._policy.max_attempts

    # -- inside

    def _backend(self) -> BackendClient:
        if self._client is None:
            raise CredentialsInvalid(
                "This connector has no backend to send writes to.",
                hint="Give it a backend_url. The writes stay in the queue.",
            )
        return self._client

    async def _token(self) -> str:
        """The Bearer token of requests to the backend. Raises NotSignedIn."""
        if self._upload_token == "login":  # noqa: S105 - no password
            token = await self.token_store.get()
            if token is None:
                raise NotSignedIn
            return token
        kept = self._credentials
        if kept is None or not self._auth.keeps or kept.is_expired(datetime.now(UTC)):
            kept = await self.fetch_credentials()
        if kept is None:
            raise NotSignedIn
        return kept.token

    def _drop_token(self) -> None:
        self._credentials = None

    def _forget(self) -> None:
        self._logins += 1
        self._credentials = None


def _log_upload(sent: list[CrudTransaction], *, settled: int, rejected: int, seconds: float) -> None:
    """One line for each request with writes: counts and names, never values."""
    operations = sum(len(transaction.crud) for transaction in sent)
    tables = sorted({entry.table for transaction in sent for entry in transaction.crud})
    _log.info(
        "Uploaded %d operations in %d of %d transactions, %d refused, in %.0f ms (%s).",
        operations,
        settled,
        len(sent),
        rejected,
        seconds * 1000,
        ", ".join(tables),
        extra={
            "event": "upload_finished" if settled == len(sent) else "upload_stopped",
            "operations": operations,
            "transactions": len(sent),
            "settled": settled,
            "rejected": rejected,
            "tables": tables,
            "duration_ms": round(seconds * 1000, 1),
        },
    )
