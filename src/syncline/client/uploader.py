"""Sends local writes to the app's backend: one loop, woken by every reason there is to look at the queue."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable

from syncline.client.errors import ClientForked, ConnectionFailed, UploadNotCompleted
from syncline.client.retry import RetryPolicy, wait_s
from syncline.client.status_board import StatusSink
from syncline.client.upload_queue import UploadQueue
from syncline.client.write_checkpoint_watchdog import WriteCheckpointWatchdog

__all__ = ["Uploader"]

_log = logging.getLogger(__name__)


class Uploader:
    """The upload side of one connection (client SQLite reference, 9, "Upload side").

    `wake` may be called at any time and is never lost: a call during a pass leads to another pass. After a failure the loop tries again
    by itself, after a pause that grows with the failures in a row, or the one that the backend asked for. A burst of local writes does
    not shorten it: that would hammer a backend that is down.
    """

    def __init__(
        self,
        *,
        queue: UploadQueue,
        upload: Callable[[], Awaitable[None]],
        request_write_checkpoint: Callable[[], Awaitable[int]],
        renew_client_id: Callable[[], Awaitable[None]],
        finished: Callable[[], None],
        status: StatusSink,
        retry: RetryPolicy,
        network_retry: RetryPolicy,
        throttle_s: float,
        write_checkpoint_timeout_s: float,
        random_unit: Callable[[], float] = random.random,
    ) -> None:
        """`network_retry` is for a peer that could not be reached: trying often costs nobody anything. `random_unit` gives [0, 1)."""
        self._queue = queue
        self._upload = upload
        self._request_write_checkpoint = request_write_checkpoint
        self._renew_client_id = renew_client_id
        self._finished = finished
        self._status = status
        self._retry = retry
        self._network_retry = network_retry
        self._random_unit = random_unit
        self._failures = 0  # in a row
        self._cut_off = False  # the last failure was one of the network
        self._end_pause = asyncio.Event()
        self._throttle_s = throttle_s
        self._forked = False  # the last upload was refused as that of a copied file
        self._watchdog = WriteCheckpointWatchdog(timeout_s=write_checkpoint_timeout_s)
        self._wake = asyncio.Event()
        self._wake.set()  # connecting is a reason

    def wake(self) -> None:
        """There may be something to upload."""
        self._wake.set()

    def network_works(self) -> None:
        """The stream has brought something: look at the queue, and wait no longer for a network that is there again."""
        if self._cut_off:
            self._end_pause.set()
        self._wake.set()

    def retry_now(self) -> None:
        """Try again at once, whatever was waited for: the app wants it, or the device is online again."""
        self._end_pause.set()
        self._wake.set()

    async def run(self) -> None:
        """Upload until cancelled."""
        self._queue.on_wake(self.retry_now)
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
            self._queue.on_wake(None)
            self._publish(uploading=False, error=self._status.current.upload_error)

    async def _pass(self) -> None:
        """Empty the queue, then ask for the write checkpoint that lets downloads go on."""
        previous: int | None = None
        while True:
            head = await self._queue.head()
            if previous is not None and head != previous:  # something has moved: only this ends an error
                self._failures = 0
                self._publish(uploading=True, error=None)
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
            self._publish(uploading=True, error=self._status.current.upload_error)
            if not await self._upload_as_one_device():
                previous = None
                continue

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
        self._failures = 0
        self._publish(uploading=False, error=None)
        self._finished()
        return True

    async def _is_overdue(self) -> bool:
        awaited = await self._queue.awaited_write_checkpoint()
        return self._watchdog.observe(awaited, connected=self._status.current.connected, now_s=_now_s())

    async def _failed(self, error: Exception) -> None:
        """Show the error and make a pause, which `retry_now` ends, and `network_works` where the network was the reason."""
        self._failures += 1
        self._cut_off = isinstance(error, ConnectionFailed | OSError)
        asked_s = getattr(error, "retry_after_s", None)
        policy = self._network_retry if self._cut_off else self._retry
        pause_s = wait_s(
            policy,
            self._failures,
            asked_s=float(asked_s) if isinstance(asked_s, int | float) else None,
            unit=self._random_unit(),
        )
        _log.warning(
            "Upload failed, it is tried again in %.1f s: %s",
            pause_s,
            error,
            extra={"event": "upload_failed", "failures": self._failures, "pause_s": round(pause_s, 3)},
        )
        self._end_pause.clear()
        self._publish(uploading=False, error=error)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._end_pause.wait()
        self._cut_off = False

    def _publish(self, *, uploading: bool, error: Exception | None) -> None:
        self._status.publish_upload(uploading=uploading, error=error, queue_since=self._queue.head_since)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
