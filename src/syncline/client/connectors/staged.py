"""Sending one transaction that is larger than a request may be: staged uploads (`syncline.protocol.staged`).

Nothing is remembered between attempts: the backend says which parts it has, and the same entries always give the same parts. So an attempt
that was cut anywhere, or whose program has ended, goes on where it was. One part is in memory at a time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from syncline.client.connectors.authorized import AuthorizedBackend
from syncline.client.connectors.backend_client import Answer
from syncline.client.connectors.outcomes import failed
from syncline.client.errors import RetryableUploadError, ServiceError
from syncline.client.upload_queue import CrudTransaction
from syncline.protocol.crud import CrudOperation, TransactionResult
from syncline.protocol.staged import (
    STAGED_FULL,
    STAGED_PATH,
    ContentHasher,
    StagedBegin,
    StagedCommit,
    StagedState,
    StagedStatus,
    cut_into_parts,
    hash_of_part,
)

__all__ = ["PART_BYTES_MAX", "PART_BYTES_MIN", "VERDICT_WAIT_S", "StagedSender"]

T = TypeVar("T")

VERDICT_WAIT_S = 120.0  # seconds that one attempt waits for a verdict; the next one goes on waiting
PART_BYTES_MIN = 64 * 1024  # bytes below which a part is not made smaller: what says 413 to it takes nothing
PART_BYTES_MAX = (
    1_000_000  # bytes of one part, whatever the backend wishes: the event loop encodes and sends one in milliseconds
)
_COMMITS_MAX = 3  # commits of one attempt: parts may get lost in between, but not again and again
_POLL_FIRST_S = 0.1
_POLL_MAX_S = 5.0

_NO_ROUTE = frozenset({404, 405, 501})  # to the first request: a backend without staged uploads

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Whole:
    """A transaction on its way: what was announced of it, and its operations, made anew for each pass."""

    begin: StagedBegin
    operations: Callable[[], Iterator[CrudOperation]]


class _PartTooLarge(Exception):
    """Something on the way takes no request of this size."""


class StagedSender:
    """Sends transactions to the routes below `path`, one at a time. `part_bytes_max` bounds the body of one request."""

    def __init__(
        self,
        path: str = STAGED_PATH,
        *,
        part_bytes_max: int = PART_BYTES_MAX,
        verdict_wait_s: float = VERDICT_WAIT_S,
    ) -> None:
        self._path = path
        self._part_bytes_max = min(part_bytes_max, PART_BYTES_MAX)
        self._verdict_wait_s = verdict_wait_s

    async def send(
        self,
        transaction: CrudTransaction,
        operations: Callable[[], Iterator[CrudOperation]],
        backend: AuthorizedBackend,
        *,
        client_id: str,
    ) -> TransactionResult | None:
        """The verdict over a transaction; None where the backend has no staged uploads.

        Raises RetryableUploadError, ServiceError, ConnectionFailed, NotSignedIn, AuthFailed: it stays in the queue then, and the next
        attempt goes on.
        """
        whole = await _announced(transaction, operations, client_id)
        answer = await backend.request("POST", self._path, value=whole.begin)
        if answer.status in _NO_ROUTE:
            return None
        status = _read(answer, backend.url(self._path), StagedStatus)
        part_bytes = min(status.part_bytes, self._part_bytes_max)
        while status.state is StagedState.OPEN:
            try:
                status = await self._bring(whole, status, part_bytes, backend)
                break
            except _PartTooLarge:
                part_bytes //= 2
                _log.info("Parts of %d bytes are too large", 2 * part_bytes, extra={"event": "upload_part_too_large"})
        return await self._verdict(status, backend)

    async def _bring(
        self, whole: _Whole, status: StagedStatus, part_bytes: int, backend: AuthorizedBackend
    ) -> StagedStatus:
        """Send what is missing, and commit. Raises _PartTooLarge."""
        path = f"{self._path}/{status.id}"
        stored = dict(status.parts)
        for _ in range(_COMMITS_MAX):
            manifest: list[str] = []
            for number, part in enumerate(cut_into_parts(whole.operations(), part_bytes)):
                digest = hash_of_part(part)
                manifest.append(digest)
                if stored.get(number) != digest:
                    await _put(backend, f"{path}/{number}", part, may_shrink=part_bytes > PART_BYTES_MIN)
                    stored[number] = digest
                await asyncio.sleep(0)  # the app's event loop goes on
            answer = await backend.request("POST", f"{path}/commit", value=StagedCommit(manifest))
            if answer.status != 409:
                return _read(answer, backend.url(path), StagedStatus)
            stored.clear()
            found = await backend.request("GET", path)
            stored |= _read(found, backend.url(path), StagedStatus).parts
        raise RetryableUploadError("The backend loses parts of a staged upload.")

    async def _verdict(self, status: StagedStatus, backend: AuthorizedBackend) -> TransactionResult:
        """Ask until the backend is done. Raises RetryableUploadError where that takes too long, or has failed for now."""
        path = f"{self._path}/{status.id}"
        deadline_s = time.monotonic() + self._verdict_wait_s
        pause_s = _POLL_FIRST_S
        while status.state is StagedState.APPLYING:
            if time.monotonic() > deadline_s:
                raise RetryableUploadError("The backend is still applying a large transaction.")
            await asyncio.sleep(pause_s)
            pause_s = min(_POLL_MAX_S, 1.5 * pause_s)
            status = _read(await backend.request("GET", path), backend.url(path), StagedStatus)
        if status.result is None:
            raise RetryableUploadError("The backend has opened a staged upload again.")
        return status.result


async def _announced(
    transaction: CrudTransaction, operations: Callable[[], Iterator[CrudOperation]], client_id: str
) -> _Whole:
    hasher = ContentHasher()
    for count, operation in enumerate(operations()):
        hasher.update([operation])
        if count % 1000 == 999:
            await asyncio.sleep(0)
    begin = StagedBegin(
        content_hash=hasher.digest(transaction.transaction_id),
        operations=hasher.operations,
        client_id=client_id,
        first_op_id=transaction.first_crud_id,
        last_op_id=transaction.last_crud_id,
        transaction_id=transaction.transaction_id,
    )
    return _Whole(begin, operations)


async def _put(backend: AuthorizedBackend, path: str, part: bytes, *, may_shrink: bool) -> None:
    answer = await backend.request("PUT", path, body=part)
    if answer.status == 413 and may_shrink and _code(answer) != STAGED_FULL:
        raise _PartTooLarge
    if answer.status in (404, 409):
        raise RetryableUploadError("A staged upload is no longer open; it is looked at again.")
    if not answer.ok:
        raise failed(answer, backend.url(path))


def _read(answer: Answer, url: str, expected: type[T]) -> T:
    """The answer as a message. Raises ServiceError for everything else."""
    if answer.status == 404:
        raise RetryableUploadError("A staged upload is gone; it is begun again.")
    if not answer.ok:
        raise failed(answer, url)
    try:
        return msgspec.json.decode(answer.body, type=expected)
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise ServiceError(
            f"{url} did not answer as staged uploads do, but with {answer.describe()}.",
            status_code=answer.status,
            hint="Nothing was taken off the queue.",
        ) from exc


def _code(answer: Answer) -> str:
    try:
        document = answer.json()
    except ServiceError:
        return ""
    code = document.get("code") if isinstance(document, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]  # of any JSON
    return code if isinstance(code, str) else ""
