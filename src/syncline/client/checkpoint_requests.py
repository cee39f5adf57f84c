"""Asking the service "tell me when you are past this moment", in both forms that services know (protocol reference, 5.1 and 5.3).

The uploader asks after each emptied queue, so that the gate opens once our writes have come back; the app asks for `trigger_sync`. In
mode `requests` the device chooses the numbers and can repeat a request that was lost; in mode `legacy` the service counts. `auto`
begins with the first and falls back to the second where a service answers 404.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Literal, TypeVar
from weakref import WeakValueDictionary

import apsw

from syncline.client.checkpoint_ids import CheckpointIds
from syncline.client.connector import BackendConnector, Credentials
from syncline.client.core.retry import RetryDelays
from syncline.client.core.stalls import Wait
from syncline.client.core.status import SyncStatus
from syncline.client.credentials import CredentialCache
from syncline.client.errors import AuthFailed, Disconnected, ServiceError
from syncline.client.local.connection import write_transaction
from syncline.client.stall_watch import StallWatch
from syncline.client.threads import Writer
from syncline.client.transport.base import Transport
from syncline.errors import RemoteProtocolError

__all__ = ["REPEAT_MAX_S", "REPEAT_S", "CheckpointMode", "CheckpointRequest", "CheckpointRequests"]

CheckpointMode = Literal["auto", "requests", "legacy"]

REPEAT_S = 15.0  # seconds without an answer in the stream after which a request of the app is repeated
REPEAT_MAX_S = 240.0  # seconds that this grows to: a repeated request must not push its own moment ahead for ever
_TRIES_MAX = 3  # numbers that are tried until one is greater than the service's own

_CUSTOM_HINT = (
    "If the sync config makes write checkpoints of its own (custom write checkpoints), pass the backend's number to "
    "`transaction.complete(write_checkpoint)`."
)

_log = logging.getLogger(__name__)

T = TypeVar("T")


class CheckpointRequest:
    """One request of the app, made with `await db.request_checkpoint()`. `request_id` is its number."""

    def __init__(self, status: SyncStatus) -> None:
        self.request_id: int | None = None
        self._known_errors = (status.download_error, status.upload_error)
        self._applied = 0
        self._stale = status.applied_write_checkpoint  # of earlier requests; a service that counts may have begun anew
        self._over = asyncio.Event()
        self._error: Exception | None = None

    @property
    def is_synced(self) -> bool:
        """Whether the service's state at the time of the request is in the app's tables."""
        return self._over.is_set() and self._error is None

    async def wait_for_sync(self, timeout: float | None = None) -> None:
        """Wait until what the service's source held at the time of the request is in the app's tables, our own writes included.

        Raises TimeoutError, Disconnected, and what has gone wrong with the download or the upload since the request; the client goes on
        trying, and the same request can be waited for again.
        """
        async with asyncio.timeout(timeout):
            await self._over.wait()
        if self._error is not None:
            error = self._error
            if not isinstance(error, Disconnected):  # the client goes on trying
                self._error = None
                self._over.clear()
            raise error

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more to wait for."""
        return self._over.is_set()

    def observe(self, status: SyncStatus) -> None:
        """Take a new status."""
        if status.applied_write_checkpoint != self._stale:
            self._stale = None
            self._applied = max(self._applied, status.applied_write_checkpoint or 0)
        self.check()
        if self._over.is_set():
            return
        errors = (status.download_error, status.upload_error)
        news = [error for error in errors if error is not None and error not in self._known_errors]
        self._known_errors = errors
        if news and self.request_id is not None:
            self.fail(news[0])

    def check(self) -> None:
        """Whether what was heard so far ends it."""
        if self.request_id is not None and self._applied >= self.request_id and not self._over.is_set():
            self._over.set()

    def fail(self, error: Exception) -> None:
        """Let those who wait know."""
        self._error = error
        self._over.set()


class CheckpointRequests:
    """All requests of one connection. Lives in the event loop; numbers are taken in the writer thread."""

    def __init__(
        self,
        *,
        mode: CheckpointMode,
        connector: BackendConnector,
        transport: Transport,
        credentials: CredentialCache,
        client_id: Callable[[], str],
        writer: Writer,
        stalls: StallWatch,
        repeat_s: float = REPEAT_S,
    ) -> None:
        self._numbered = mode != "legacy"
        self._may_fall_back = mode == "auto"
        # Backends that pass requests on themselves (client API reference, 3) answer with the number that counts.
        self._post_for_us: Callable[[str, int], Awaitable[int]] | None = getattr(
            connector, "post_checkpoint_request", None
        )
        self._transport = transport
        self._credentials = credentials
        self._client_id = client_id
        self._writer = writer
        self._stalls = stalls
        self._repeat = RetryDelays(repeat_s, max(repeat_s, REPEAT_MAX_S))
        self._seeded_for: str | None = None  # client id whose number at the service we know
        self._lock = asyncio.Lock()  # numbers are posted in their order
        self._waiting: WeakValueDictionary[int, CheckpointRequest] = WeakValueDictionary()  # the app may drop its own
        self._order = count()
        self._asked = asyncio.Event()

    async def for_upload(self) -> int:
        """The number that the gate has to wait for, now that the queue is empty. Repeats the one that it waits for already."""
        async with self._lock, self._stalls.during(Wait.CHECKPOINT_REQUEST):
            awaited = await self._writer.call(lambda connection: CheckpointIds(connection).awaited())
            return await self._request(awaited)

    async def for_app(self, status: SyncStatus) -> CheckpointRequest:
        """Make a request of the app. Raises what the service's answer, or the way to it, raises."""
        request = CheckpointRequest(status)
        self._waiting[next(self._order)] = (
            request  # before its number is known: the stream may be faster than the answer
        )
        async with self._lock, self._stalls.during(Wait.CHECKPOINT_REQUEST):
            request.request_id = await self._request(None)
        request.check()
        self._asked.set()
        return request

    def observe(self, status: SyncStatus) -> None:
        """Take a new status."""
        for request in list(self._waiting.values()):
            request.observe(status)

    def end(self) -> None:
        """The connection ends: nobody will hear of these requests any more."""
        for request in list(self._waiting.values()):
            if not request.is_over:
                request.fail(Disconnected())

    async def run(self) -> None:
        """Repeat requests that stay without an answer (their record may be lost), until cancelled."""
        while True:
            self._asked.clear()
            await self._asked.wait()
            repeats = 0
            while pending := [
                request for request in self._waiting.values() if not request.is_over and request.request_id
            ]:
                repeats += 1
                await asyncio.sleep(self._repeat.delay_s(repeats))
                if not all(request.is_over for request in pending):
                    await self._repeat_for(pending)

    async def _repeat_for(self, pending: list[CheckpointRequest]) -> None:
        newest = max(request.request_id or 0 for request in pending)
        _log.info("A checkpoint request is repeated.", extra={"event": "checkpoint_request_repeated"})
        try:
            async with self._lock:
                number = await self._request(newest if self._numbered else None)
        except Exception as exc:
            _log.warning("A checkpoint request failed: %s", exc, extra={"event": "checkpoint_request_failed"})
            return
        if number < newest:  # a service that counts has begun anew
            for request in pending:
                request.request_id = number

    async def _request(self, repeated: int | None) -> int:
        if self._numbered:
            try:
                return await self._numbered_request(repeated)
            except ServiceError as exc:
                if not self._may_fall_back or exc.status_code not in (404, 405):
                    raise _with_hint(exc) from exc
                _log.info(
                    "The service is too old for checkpoint requests; using write checkpoints.",
                    extra={"event": "checkpoint_requests_unknown"},
                )
                self._numbered = False
        try:
            return await self._authorized(
                lambda credentials: self._transport.write_checkpoint(self._client_id(), credentials)
            )
        except ServiceError as exc:
            raise _with_hint(exc) from exc

    async def _numbered_request(self, repeated: int | None) -> int:
        client_id = self._client_id()
        if self._seeded_for != client_id:
            first = await self._writer.call(lambda connection: CheckpointIds(connection).to_seed())
            await self._adopt(await self._post(client_id, first))
            self._seeded_for = client_id
        if repeated is not None:
            await self._adopt(await self._post(client_id, repeated))
            return repeated  # where the service has a greater one, that was asked for later: it will do as well
        for _ in range(_TRIES_MAX):
            number = await self._writer.call(_take)
            stored = await self._post(client_id, number)
            if stored == number:
                return number
            await self._adopt(stored)  # another copy of this file took numbers meanwhile: ours was ignored
        raise RemoteProtocolError("The service does not take the numbers of checkpoint requests.")

    async def _post(self, client_id: str, number: int) -> int:
        if self._post_for_us is not None:
            return await self._post_for_us(client_id, number)
        return await self._authorized(
            lambda credentials: self._transport.request_checkpoint(client_id, number, credentials)
        )

    async def _adopt(self, stored: int) -> None:
        await self._writer.call(lambda connection: _seed(connection, stored))

    async def _authorized(self, call: Callable[[Credentials], Awaitable[T]]) -> T:
        try:
            return await call(await self._credentials.get())
        except AuthFailed:
            # Once, with a new token: the kept one may just have expired.
            self._credentials.invalidate()
            return await call(await self._credentials.get())


def _take(connection: apsw.Connection) -> int:
    with write_transaction(connection, local_writes=False):
        return CheckpointIds(connection).take()


def _seed(connection: apsw.Connection, stored: int) -> None:
    with write_transaction(connection, local_writes=False):
        CheckpointIds(connection).seed(stored)


def _with_hint(error: ServiceError) -> ServiceError:
    if error.status_code == 400 and not error.hint:
        error.hint = _CUSTOM_HINT
    return error
