"""One `connect()`: the sync loop and the uploader of one connector, from start to end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from syncline.client.connector import BackendConnector
from syncline.client.credentials import CredentialCache
from syncline.client.errors import AuthFailed
from syncline.client.status_board import StatusBoard
from syncline.client.sync_engine import SyncEngine
from syncline.client.sync_loop import SyncLoop
from syncline.client.threads import Writer
from syncline.client.transport.http import READ_IDLE_TIMEOUT_S, HttpTransport
from syncline.client.upload_queue import UploadQueue
from syncline.client.uploader import Uploader
from syncline.client.write_checkpoint_watchdog import WRITE_CHECKPOINT_TIMEOUT_S

__all__ = ["JITTER", "RETRY_DELAY_S", "UPLOAD_THROTTLE_S", "ConnectOptions", "Connection", "with_jitter"]

RETRY_DELAY_S = 5.0  # seconds before a failed stream or upload is tried again
UPLOAD_THROTTLE_S = 0.01  # seconds between two looks at the upload queue, so that a burst of writes goes together
JITTER = 0.1  # part of a delay by which it varies, so that clients do not come back all at once


@dataclass(frozen=True, slots=True)
class ConnectOptions:
    """How to connect."""

    params: dict[str, Any] = field(default_factory=dict[str, Any])
    app_metadata: dict[str, str] = field(default_factory=dict[str, str])
    retry_delay_s: float = RETRY_DELAY_S
    upload_throttle_s: float = UPLOAD_THROTTLE_S
    include_default_streams: bool = True
    read_idle_timeout_s: float = READ_IDLE_TIMEOUT_S
    write_checkpoint_timeout_s: float = WRITE_CHECKPOINT_TIMEOUT_S


class Connection:
    """Both sides of sync with one connector. `start` returns at once; `stop` waits until nothing runs any more."""

    def __init__(
        self,
        *,
        connector: BackendConnector,
        options: ConnectOptions,
        client_id: Callable[[], str],
        renew_client_id: Callable[[], Awaitable[None]],
        make_engine: Callable[[], Awaitable[SyncEngine]],
        upload: Callable[[], Awaitable[None]],
        writer: Writer,
        queue: UploadQueue,
        status: StatusBoard,
        random_unit: Callable[[], float] = random.random,
    ) -> None:
        self._options = options
        self._client_id = client_id
        self._take_client_id = renew_client_id
        self._random_unit = random_unit
        self._credentials = CredentialCache(connector)
        self._transport = HttpTransport(read_idle_timeout_s=options.read_idle_timeout_s)
        self._uploader = Uploader(
            queue=queue,
            upload=upload,
            request_write_checkpoint=self._request_write_checkpoint,
            renew_client_id=self._renew_client_id,
            finished=self._upload_finished,
            status=status,
            retry_pause=self._pause,
            throttle_s=options.upload_throttle_s,
            write_checkpoint_timeout_s=options.write_checkpoint_timeout_s,
        )
        self._loop = SyncLoop(
            make_engine=make_engine,
            writer=writer,
            transport=self._transport,
            credentials=self._credentials,
            status=status,
            trigger_upload=self._uploader.wake,
            retry_pause=self._pause,
        )
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin; nothing is awaited."""
        self._tasks = [asyncio.create_task(self._loop.run()), asyncio.create_task(self._uploader.run())]

    async def stop(self) -> None:
        """End both loops and close all sockets."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._transport.close()

    def local_write(self) -> None:
        """The upload queue has changed."""
        self._uploader.wake()

    def subscriptions_changed(self) -> None:
        """Subscriptions have changed."""
        self._loop.subscriptions_changed()

    def _upload_finished(self) -> None:
        self._loop.upload_finished()

    async def _renew_client_id(self) -> None:
        await self._take_client_id()
        self._loop.client_id_changed()

    async def _request_write_checkpoint(self) -> int:
        try:
            return await self._transport.write_checkpoint(self._client_id(), await self._credentials.get())
        except AuthFailed:
            # Once, with a new token: the kept one may just have expired.
            self._credentials.invalidate()
            return await self._transport.write_checkpoint(self._client_id(), await self._credentials.get())

    async def _pause(self, delay_s: float | None = None) -> None:
        delay = self._options.retry_delay_s if delay_s is None else delay_s
        await asyncio.sleep(with_jitter(delay, unit=self._random_unit()))


def with_jitter(delay_s: float, *, unit: float) -> float:
    """A delay in seconds, moved by up to JITTER of itself; `unit` is random in [0, 1)."""
    return delay_s * (1 + JITTER * (2 * unit - 1))
