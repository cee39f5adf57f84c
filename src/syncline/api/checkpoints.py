"""Write checkpoints: tell me when replication has passed my writes (protocol reference, section 5).

Requests that arrive together share one look at the source's head. The record is stored before the marker is written, so that
replication cannot pass the marker before there is something to be reached.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

from syncline.api.limits import CHECKPOINT_BATCH_MAX
from syncline.errors import (
    NoActiveSyncConfig,
    RequestInvalid,
    SourceUnavailable,
    StorageError,
    StorageUnavailable,
    SyncError,
)
from syncline.protocol.requests import CLIENT_ID_CHARACTERS_MAX
from syncline.replication.source import SourceHead
from syncline.storage.base import StorageReader, WriteCheckpoints

__all__ = [
    "CHECKPOINT_REQUEST_ID_MAX",
    "CLIENT_ID_CHARACTERS_MAX",
    "ReplicationWait",
    "RequestExpiry",
    "WriteCheckpointBatcher",
    "client_id_of",
    "request_id_of",
]

log = logging.getLogger(__name__)

CHECKPOINT_REQUEST_ID_MAX = 2**63 - 1
SAFE_INTEGER_MAX = 2**53 - 1  # JSON numbers above it are not exact everywhere
EXPIRY_INTERVAL_S = 60.0  # seconds between two looks for checkpoint requests that have expired
PASSED_POLL_S = 0.05  # seconds between two looks for `/write-checkpoint.json`
PASSED_TIMEOUT_S = 50.0  # seconds that it waits at most


def client_id_of(fields: dict[str, Any], *, required: bool = False) -> str | None:
    """The client's id among a request's fields; None where there is none. Raises RequestInvalid."""
    client_id = fields.get("client_id")
    if client_id is None and not required:
        return None
    if not isinstance(client_id, str):
        raise RequestInvalid(["client_id must be a text" if "client_id" in fields else "client_id is missing"])
    if len(client_id) > CLIENT_ID_CHARACTERS_MAX:
        raise RequestInvalid([f"client_id has more than {CLIENT_ID_CHARACTERS_MAX} characters"])
    return client_id or None


def request_id_of(fields: dict[str, Any]) -> int:
    """The id of a checkpoint request: a text of digits, or a safe integer. Raises RequestInvalid."""
    value = fields.get("checkpoint_request_id")
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 40:
        number = int(value)
    elif isinstance(value, int) and not isinstance(value, bool) and abs(value) <= SAFE_INTEGER_MAX:
        number = value
    elif value is None:
        raise RequestInvalid(["checkpoint_request_id is missing"])
    else:
        raise RequestInvalid(["checkpoint_request_id must be a text of digits, or a safe integer"])
    if not 1 <= number <= CHECKPOINT_REQUEST_ID_MAX:
        raise RequestInvalid([f"checkpoint_request_id must be 1 to {CHECKPOINT_REQUEST_ID_MAX}"])
    return number


@dataclass(slots=True)
class _Wish:
    """What one request asks for: the next number, or (with a request id) to store the client's own."""

    user_key: str
    request_id: int | None
    answer: asyncio.Future[int]


class WriteCheckpointBatcher:
    """Creates write checkpoints in batches. `run` does the work; `create` and `request` wait for its result."""

    def __init__(self, *, head: SourceHead, write_checkpoints: WriteCheckpoints) -> None:
        self._head = head
        self._write_checkpoints = write_checkpoints
        self._waiting: asyncio.Queue[_Wish] = asyncio.Queue(CHECKPOINT_BATCH_MAX)

    async def create(self, user_key: str) -> int:
        """The user's next write checkpoint. Raises SourceUnavailable or StorageUnavailable, TooManyWaiting."""
        return await self._ask(user_key, None)

    async def request(self, user_key: str, request_id: int) -> int:
        """Store an id that the client chose, unless a greater one is stored; the stored id. Raises as `create`."""
        return await self._ask(user_key, request_id)

    async def run(self) -> None:
        """Serve requests until cancelled. The look at the head begins after the last request of its batch has arrived."""
        while True:
            batch = [await self._waiting.get()]
            while not self._waiting.empty() and len(batch) < CHECKPOINT_BATCH_MAX:
                batch.append(self._waiting.get_nowait())
            batch = [wish for wish in batch if not wish.answer.done()]  # some may have gone meanwhile
            if not batch:
                continue
            try:
                await self._serve(batch)
            except Exception as exc:
                _fail(batch, exc)

    async def _ask(self, user_key: str, request_id: int | None) -> int:
        wish = _Wish(user_key, request_id, asyncio.get_running_loop().create_future())
        try:
            self._waiting.put_nowait(wish)
        except asyncio.QueueFull as exc:
            raise TooManyWaiting("Too many write checkpoint requests are waiting.") from exc
        return await wish.answer

    async def _serve(self, batch: list[_Wish]) -> None:
        position = await self._head.head()
        counted = [wish for wish in batch if wish.request_id is None]
        values = await self._write_checkpoints.create([wish.user_key for wish in counted], position)
        results = list(zip(counted, values, strict=True))
        for wish in batch:
            if wish.request_id is not None:
                stored = await self._write_checkpoints.request(wish.user_key, wish.request_id, position)
                results.append((wish, stored))
        await self._head.emit_marker()
        for wish, value in results:
            if not wish.answer.done():
                wish.answer.set_result(value)


class TooManyWaiting(SyncError):
    """As many write checkpoint requests wait as may: the source answers slowly."""

    code = "PSYNC_S2304"
    status = 429


def _fail(batch: list[_Wish], exc: Exception) -> None:
    log.warning("Write checkpoints could not be made: %s", exc, extra={"event": "api.write_checkpoint_error"})
    for wish in batch:
        if not wish.answer.done():
            error = (
                StorageUnavailable("Bucket storage does not answer; try again.")
                if isinstance(exc, StorageError)
                else SourceUnavailable("The source's position could not be read; try again.")
            )
            error.__cause__ = exc
            wish.answer.set_exception(error)


class RequestExpiry:
    """Deletes checkpoint requests that were not stored or repeated for `retention_s` seconds."""

    def __init__(self, write_checkpoints: WriteCheckpoints, *, retention_s: float) -> None:
        self._write_checkpoints = write_checkpoints
        self._retention_s = retention_s

    async def run(self, *, interval_s: float = EXPIRY_INTERVAL_S) -> None:
        """Look again and again until cancelled. Failures of storage are logged, and it is looked again later."""
        while True:
            try:
                expired = await self._write_checkpoints.expire_requests(older_than_s=self._retention_s)
                if expired:
                    log.info("%d checkpoint requests have expired", expired, extra={"event": "api.requests_expired"})
            except Exception as exc:
                log.warning("Checkpoint requests could not be expired: %s", exc, extra={"event": "api.expiry_error"})
            await asyncio.sleep(interval_s)


class ReplicationWait:
    """`GET /write-checkpoint.json` of very old SDKs: answers once replication has passed what is committed now (5.2)."""

    def __init__(self, *, head: SourceHead, reader: StorageReader, timeout_s: float = PASSED_TIMEOUT_S) -> None:
        self._head = head
        self._reader = reader
        self._timeout_s = timeout_s

    async def passed(self) -> int:
        """The op id of a checkpoint that holds everything committed before this call.

        Raises NoActiveSyncConfig, SourceUnavailable, and NotReplicatedInTime after `timeout_s`.
        """
        head = await self._head.head()
        await self._head.emit_marker()
        try:
            async with asyncio.timeout(self._timeout_s):
                while True:
                    version = await self._reader.active_version()
                    checkpoint = await self._reader.checkpoint(version.number) if version else None
                    if checkpoint is None:
                        raise NoActiveSyncConfig("No sync config is active yet.")
                    if checkpoint.position >= head:
                        return checkpoint.op_id
                    await asyncio.sleep(PASSED_POLL_S)
        except TimeoutError as exc:
            raise NotReplicatedInTime("Replication has not passed the write in time; try again.") from exc


class NotReplicatedInTime(SyncError):
    """Replication lags behind by more than a request may wait."""

    code = "PSYNC_S2001"
