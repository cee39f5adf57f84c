"""Staged uploads of a backend: what its routes do, and the tasks that apply.

A task belongs to the process that got the commit. Should the process die, its lease on the upload ends, and whichever process is asked for
the verdict next goes on. Two processes at it would still have one effect: the transaction's identity sees to that.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from datetime import UTC, datetime
from typing import Any

from syncline.backend.limits import STAGED_APPLIED_AT_ONCE_MAX, STAGED_LEASE_SECONDS, STAGED_PART_BYTES
from syncline.backend.persisters.base import RetryLater, StreamingPersister, WriteContext
from syncline.backend.staged.applying import Applied, PrepareWrites, apply_staged
from syncline.backend.staged.store import StagedNotPossible, StagedStore, StagedUpload
from syncline.backend.tokens import AuthenticatedUser
from syncline.protocol.crud import TransactionResult
from syncline.protocol.staged import StagedBegin, StagedState, StagedStatus, decode_part, hash_of_part

__all__ = ["StagedUploads", "staged_uploads_of"]

log = logging.getLogger(__name__)


class StagedUploads:
    """Begin, parts, commit, verdict. Methods raise RetryLater, StagedNotPossible and StagedFull; None is an upload that is not there."""

    def __init__(
        self,
        store: StagedStore,
        persister: StreamingPersister,
        prepare: PrepareWrites,
        *,
        part_bytes: int = STAGED_PART_BYTES,
        lease_seconds: float = STAGED_LEASE_SECONDS,
        at_once_max: int = STAGED_APPLIED_AT_ONCE_MAX,
    ) -> None:
        self._store = store
        self._persister = persister
        self._prepare = prepare
        self._part_bytes = part_bytes
        self._lease_seconds = lease_seconds
        self._at_once_max = at_once_max
        self._holder = str(uuid.uuid4())  # this process
        self._running: dict[str, asyncio.Task[None]] = {}

    async def close(self) -> None:
        """End the tasks: what they have not committed is rolled back, and another process goes on."""
        running = [*self._running.values()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def begin(self, begin: StagedBegin, user: AuthenticatedUser) -> StagedStatus:
        """The staged upload of a transaction, new or begun before."""
        upload = await self._store.begin(user.user_id, begin)
        return await self._status(await self._kept_going(upload, user))

    async def status(self, upload_id: str, user: AuthenticatedUser) -> StagedStatus | None:
        """What became of it; one whose process has died is applied here."""
        upload = await self._store.get(upload_id, user.user_id)
        return None if upload is None else await self._status(await self._kept_going(upload, user))

    async def put_part(self, upload_id: str, number: int, body: bytes, user: AuthenticatedUser) -> bool | None:
        """Store a part; False where the upload takes no parts any more. Raises RequestInvalid for what is no part."""
        decode_part(body)
        if await self._store.put_part(upload_id, user.user_id, number, hash_of_part(body), body):
            return True
        return None if await self._store.get(upload_id, user.user_id) is None else False

    async def commit(
        self, upload_id: str, manifest: tuple[str, ...], user: AuthenticatedUser
    ) -> StagedStatus | list[int] | None:
        """Have the parts applied, unless that was done before; the numbers of parts that are missing."""
        upload = await self._store.get(upload_id, user.user_id)
        if upload is None:
            return None
        if upload.state is StagedState.OPEN:
            stored = await self._store.parts(upload_id)
            missing = [number for number, digest in enumerate(manifest) if stored.get(number) != digest]
            if missing or not manifest:
                return missing
            await self._store.commit(upload_id, manifest)
        return await self.status(upload_id, user)

    async def _kept_going(self, upload: StagedUpload, user: AuthenticatedUser) -> StagedUpload:
        """Apply what is to be applied and nobody applies."""
        if upload.state is not StagedState.APPLYING or upload.id in self._running:
            return upload
        if len(self._running) >= self._at_once_max:
            return upload  # the device asks again
        task = asyncio.get_running_loop().create_task(self._apply(upload, user), name=f"staged upload {upload.id}")
        self._running[upload.id] = task
        task.add_done_callback(lambda _: self._running.pop(upload.id, None))
        return upload

    async def _apply(self, upload: StagedUpload, user: AuthenticatedUser) -> None:
        started_s = time.monotonic()
        try:
            if not await self._store.lease(upload.id, self._holder, self._lease_seconds):
                return
            context = WriteContext(user.user_id, user.claims, received_at=datetime.now(UTC))
            holding = asyncio.create_task(self._hold(upload.id))
            try:
                applied = await apply_staged(
                    upload, context, store=self._store, persister=self._persister, prepare=self._prepare
                )
            finally:
                holding.cancel()
                await asyncio.gather(holding, return_exceptions=True)
            await self._store.settle(upload.id, self._holder, applied.result, done=applied.done, failed=applied.failed)
        except asyncio.CancelledError:
            with contextlib.suppress(RetryLater, StagedNotPossible):  # let the next process begin at once
                await self._store.lease(upload.id, self._holder, 0)
            raise
        except (RetryLater, StagedNotPossible):
            return  # logged; the lease ends, and the next question for the verdict starts it again
        _log(upload, applied, time.monotonic() - started_s)

    async def _hold(self, upload_id: str) -> None:
        """Prolong the lease while the transaction runs."""
        while True:
            await asyncio.sleep(self._lease_seconds / 4)
            with contextlib.suppress(RetryLater):
                await self._store.lease(upload_id, self._holder, self._lease_seconds)

    async def _status(self, upload: StagedUpload) -> StagedStatus:
        parts = await self._store.parts(upload.id) if upload.state is StagedState.OPEN else dict[int, str]()
        return StagedStatus(
            id=upload.id, state=upload.state, part_bytes=self._part_bytes, parts=parts, result=_shown(upload)
        )


def staged_uploads_of(persister: Any, prepare: PrepareWrites) -> StagedUploads | None:
    """The staged uploads of a backend whose persister keeps some (`staged_store`) and applies streams; None for others."""
    store: StagedStore | None = getattr(persister, "staged_store", None)
    return None if store is None else StagedUploads(store, persister, prepare)


def _shown(upload: StagedUpload) -> TransactionResult | None:
    """The verdict, or of an open upload the error that may pass; nothing while it is applied (again)."""
    return None if upload.state is StagedState.APPLYING else upload.result


def _log(upload: StagedUpload, applied: Applied, seconds: float) -> None:
    """Counts and codes; never values."""
    failed = applied.result.failed_operation
    log.log(
        logging.INFO if failed is None and applied.done else logging.WARNING,
        "Staged upload %s",
        applied.result.status,
        extra={
            "event": "backend.staged_upload",
            "user_id": upload.user_id,
            "client_id": upload.begin.client_id or "",
            "status": str(applied.result.status),
            "operations": upload.begin.operations,
            "parts": len(upload.manifest),
            "error_code": failed.error_code if failed else "",
            "deduplicated": applied.result.deduplicated,
            "ms": round(seconds * 1000, 1),
        },
    )
