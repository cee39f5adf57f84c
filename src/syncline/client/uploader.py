"""Sends local writes to the app's backend: one loop, woken by every reason there is to look at the queue."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from syncline.client.errors import ClientForked, RetryableUploadError, ServiceError, UploadNotCompleted
from syncline.client.status_board import StatusBoard
from syncline.client.upload_queue import UploadQueue
from syncline.client.write_checkpoint_watchdog import WriteCheckpointWatchdog

__all__ = ["Uploader"]

_log = logging.getLogger(__name__)


class Uploader:
    """The upload side of one connection (client SQLite reference, 9, "Upload side").

    `wake` may be called at any time and is never lost: a call during a pass leads to another pass. After a failure the loop tries again
    by itself, after the retry delay or the delay that the backend asked for.
    """

    def __init__(
        self,
        *,
        queue: UploadQueue,
        upload: Callable[[], Awaitable[None]],
        request_write_checkpoint: Callable[[], Awaitable[int]],
        renew_client_id: Callable[[], Awaitable[None]],
        finished: Callable[[], None],
        status: StatusBoard,
        retry_pause: Callable[[float | None], Awaitable[None]],
        throttle_s: float,
        write_checkpoint_timeout_s: float,
    ) -> None:
        self._queue = queue
        self._upload = upload
        self._request_write_checkpoint = request_write_checkpoint
        self._renew_client_id = renew_client_id
        self._finished = finished
        self._status = status
        self._retry_pause = retry_pause
        self._throttle_s = throttle_s
        self._forked = False  # the last upload was refused as that of a copied file
        self._watchdog = WriteCheckpointWatchdog(timeout_s=write_checkpoint_timeout_s)
        self._wake = asyncio.Event()
        self._wake.set()  # connecting is a reason

    def wake(self) -> None:
        """There may be something to upload."""
        self._wake.set()

    async def run(self) -> None:
        """Upload until cancelled."""
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._watchdog.pause_s(now_s=_now_s())):
                        await self._wake.wait()
                self._wake.clear()
                try:
                    await self._pass()
                except Exception as exc:
                    await self._failed(exc)
                    self._wake.set()
                else:
                    # Writes of a burst go together: the pass for the last one starts after the pause, never is it skipped.
                    await asyncio.sleep(self._throttle_s)
        finally:
            self._status.publish_upload(uploading=False, error=self._status.current.upload_error)

    async def _pass(self) -> None:
        """Empty the queue, then ask for the write checkpoint that lets downloads go on."""
        previous: int | None = None
        while True:
            head = await self._queue.head()
            if head is None:
                if await self._acknowledge():
                    return
                continue
            if head == previous:
                raise UploadNotCompleted(
                    "upload_data returned, but the first entry of the queue is still there.",
                    hint="Call `await transaction.complete()` for each transaction that the backend has taken.",
                )
            previous = head
            self._status.publish_upload(uploading=True, error=self._status.current.upload_error)
            if not await self._upload_as_one_device():
                previous = None
                continue
            self._status.publish_upload(uploading=True, error=None)

    async def _upload_as_one_device(self) -> bool:
        """Upload; False where the device had to take a new client id instead. Raises ClientForked the second time in a row.

        A new id cannot be known to the backend: being refused again is the backend's fault, and must not make a hot loop.
        """
        try:
            await self._upload()
        except ClientForked as exc:
            if self._forked:
                raise
            self._forked = True
            _log.warning("Taking a new client id: %s", exc, extra={"event": "client_forked"})
            await self._renew_client_id()
            return False
        self._forked = False
        return True

    async def _acknowledge(self) -> bool:
        """Store a write checkpoint for what was uploaded. False where something was written meanwhile: upload that first."""
        sequence = await self._queue.sequence_to_acknowledge()
        if sequence is None and await self._is_overdue():
            _log.warning(
                "A write checkpoint did not come; asking for a new one.", extra={"event": "write_checkpoint_overdue"}
            )
            sequence = await self._queue.sequence()
        if sequence is not None:
            write_checkpoint = await self._request_write_checkpoint()
            if not await self._queue.set_target(write_checkpoint, sequence=sequence):
                return False
            await self._is_overdue()  # the time of the new one begins
        self._status.publish_upload(uploading=False, error=None)
        self._finished()
        return True

    async def _is_overdue(self) -> bool:
        awaited = await self._queue.awaited_write_checkpoint()
        return self._watchdog.observe(awaited, connected=self._status.current.connected, now_s=_now_s())

    async def _failed(self, error: Exception) -> None:
        _log.warning("Upload failed, it is tried again: %s", error, extra={"event": "upload_failed"})
        self._status.publish_upload(uploading=False, error=error)
        delay = error.retry_after_s if isinstance(error, RetryableUploadError | ServiceError) else None
        await self._retry_pause(delay)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
