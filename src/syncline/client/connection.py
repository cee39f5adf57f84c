"""One `connect()`: everything that runs for it, from start to end."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from syncline.client.checkpoint_requests import REPEAT_S, CheckpointMode, CheckpointRequest, CheckpointRequests
from syncline.client.connector import BackendConnector
from syncline.client.core.retry import JITTER, RETRY_DELAY_MAX_S, RETRY_DELAY_S, RetryDelays, with_jitter
from syncline.client.core.stalls import STALL_REPORT_S, Wait
from syncline.client.core.status import SyncStatus
from syncline.client.credentials import CredentialCache
from syncline.client.errors import ConnectionFailed
from syncline.client.retry import RETRY_CAP_S, Exponential
from syncline.client.stall_watch import StallWatch
from syncline.client.status_board import StatusBoard, StatusGate
from syncline.client.sync_engine import SyncEngine
from syncline.client.sync_loop import CHECKPOINT_IDLE_TIMEOUT_S, KEEPALIVE_S, SyncLoop
from syncline.client.threads import Writer
from syncline.client.transport.base import READ_IDLE_TIMEOUT_S, TransportLimits
from syncline.client.transport.choice import TransportChoice, make_transport
from syncline.client.upload_queue import UploadQueue
from syncline.client.uploader import Uploader
from syncline.client.write_checkpoint_watchdog import WRITE_CHECKPOINT_TIMEOUT_S
from syncline.errors import ClientError

__all__ = [
    "JITTER",
    "RETRY_DELAY_S",
    "STOP_TIMEOUT_S",
    "UPLOAD_THROTTLE_S",
    "UPLOAD_TIMEOUT_S",
    "ConnectOptions",
    "Connection",
    "ConnectionLimits",
    "with_jitter",
]

UPLOAD_THROTTLE_S = 0.01  # seconds between two looks at the upload queue, so that a burst of writes goes together
UPLOAD_TIMEOUT_S = 300.0  # seconds for one call of upload_data, whatever the connector's own requests allow themselves
STOP_TIMEOUT_S = 5.0  # seconds that a connection may take to end; what is left of it then is abandoned

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """How long the parts of a connection may take, in seconds: for slow links, and for tests.

    `upload_timeout_s`: one call of upload_data. `checkpoint_idle_timeout_s`: a checkpoint in which no operation comes is asked for anew.
    `stall_report_s`: whatever takes longer is told in `SyncStatus.stalled`. `keepalive_s`: how often subscriptions and queue are looked at
    where the transport brings no keepalive lines. `checkpoint_repeat_s`: a checkpoint request of the app without an answer is repeated.
    """

    upload_timeout_s: float = UPLOAD_TIMEOUT_S
    checkpoint_idle_timeout_s: float = CHECKPOINT_IDLE_TIMEOUT_S
    stall_report_s: float = STALL_REPORT_S
    keepalive_s: float = KEEPALIVE_S
    checkpoint_repeat_s: float = REPEAT_S


@dataclass(frozen=True, slots=True)
class ConnectOptions:
    """How to connect. `retry_delays` is between two streams; times are seconds."""

    params: dict[str, Any] = field(default_factory=dict[str, Any])
    app_metadata: dict[str, str] = field(default_factory=dict[str, str])
    retry_delay_s: float = RETRY_DELAY_S
    retry_delay_max_s: float = RETRY_DELAY_MAX_S
    upload_throttle_s: float = UPLOAD_THROTTLE_S
    include_default_streams: bool = True
    checkpoint_mode: CheckpointMode = "auto"
    transport: TransportChoice = "http"
    read_idle_timeout_s: float = READ_IDLE_TIMEOUT_S
    write_checkpoint_timeout_s: float = WRITE_CHECKPOINT_TIMEOUT_S
    limits: ConnectionLimits = field(default_factory=ConnectionLimits)

    def __post_init__(self) -> None:
        """Raises ClientError for what the service would refuse again and again."""
        try:
            msgspec.json.encode(self.params)
        except (TypeError, ValueError, UnicodeEncodeError) as exc:
            raise ClientError(
                f"params cannot be written as JSON: {exc}", hint="Use text, numbers, lists, dicts."
            ) from exc
        wrong = [key for key, value in self.app_metadata.items() if not isinstance(value, str)]  # pyright: ignore[reportUnnecessaryIsInstance]  # the app's code
        if wrong:
            raise ClientError(f"app_metadata must be texts: {', '.join(wrong)}.", hint="Write str(value).")

    @property
    def retry_delays(self) -> RetryDelays:
        """The growing delays between two streams."""
        return RetryDelays(self.retry_delay_s, self.retry_delay_max_s)


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
        self._take_client_id = renew_client_id
        self._random_unit = random_unit
        self._upload = upload
        self._board = status
        self._status = StatusGate(status)
        self._nudged = asyncio.Event()
        self._upload_limit: asyncio.Timeout | None = None  # of the call of upload_data that runs, if it may be cut
        self._upload_was_cut = False
        self._stopped = False
        self._credentials = CredentialCache(connector)
        limits = TransportLimits(read_idle_timeout_s=options.read_idle_timeout_s)
        self._transport = make_transport(options.transport, limits=limits)
        self._stalls = StallWatch(self._status, report_after_s=options.limits.stall_report_s)
        self._checkpoints = CheckpointRequests(
            mode=options.checkpoint_mode,
            connector=connector,
            transport=self._transport,
            credentials=self._credentials,
            client_id=client_id,
            writer=writer,
            stalls=self._stalls,
            repeat_s=options.limits.checkpoint_repeat_s,
        )
        self._uploader = Uploader(
            queue=queue,
            upload=self._upload_once,
            request_write_checkpoint=self._checkpoints.for_upload,
            renew_client_id=self._renew_client_id,
            finished=self._upload_finished,
            status=self._status,
            retry=connector.upload_retry or _upload_retry(options.retry_delay_s, RETRY_CAP_S),
            network_retry=connector.upload_retry or _upload_retry(options.retry_delay_s, RETRY_DELAY_MAX_S),
            throttle_s=options.upload_throttle_s,
            write_checkpoint_timeout_s=options.write_checkpoint_timeout_s,
            random_unit=random_unit,
        )
        self._loop = SyncLoop(
            make_engine=make_engine,
            writer=writer,
            transport=self._transport,
            credentials=self._credentials,
            status=self._status,
            stalls=self._stalls,
            trigger_upload=self._uploader.network_works,
            jitter=self._jitter,
            checkpoint_idle_timeout_s=options.limits.checkpoint_idle_timeout_s,
            keepalive_s=options.limits.keepalive_s,
        )
        self._forget_listener: Callable[[], None] = lambda: None
        self._task: asyncio.Task[None] | None = None

    # -- start and end

    def start(self) -> None:
        """Begin; nothing is awaited."""
        self._forget_listener = self._board.listen(self._observe)
        self._transport.on_recovered(self._network_is_back)
        # In a context of its own: an app may connect inside of a write transaction, which these tasks are no part of.
        self._task = asyncio.create_task(self._run(), context=contextvars.Context())

    async def stop(self) -> None:
        """End everything that runs and close all sockets.

        Code of the app (the connector's) that does not end within STOP_TIMEOUT_S is left to itself: it can change nothing any more that
        this connection shows, and a new connection does not wait for it.
        """
        self._stopped = True
        self._forget_listener()
        self._status.close()
        self._checkpoints.end()
        await asyncio.shield(self._end())

    async def _end(self) -> None:
        if self._task is not None:
            self._task.cancel()
            _, running = await asyncio.wait({self._task}, timeout=STOP_TIMEOUT_S)
            if running:
                _log.warning(
                    "The connector does not end; it is left to itself.", extra={"event": "sync_stop_timed_out"}
                )
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self._transport.close()

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._supervise("download", self._loop.run))
            group.create_task(self._supervise("upload", self._uploader.run))
            group.create_task(self._supervise("checkpoint requests", self._checkpoints.run))
            group.create_task(self._stalls.run())

    async def _supervise(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run it, and run it again whenever it ends: nothing of a connection may stand still while the rest looks healthy."""
        restarts = 0
        while not self._stopped:
            try:
                await run()
            except Exception as exc:
                _log.exception("The %s of a connection failed.", name, extra={"event": "sync_restarted"})
                self._show_failure(name, exc)
            restarts += 1
            await self._wait(self._jitter(self._options.retry_delays.delay_s(restarts)))

    def _show_failure(self, name: str, error: Exception) -> None:
        current = self._status.current
        if name == "upload":
            self._status.publish_upload(uploading=False, error=error)
        elif name == "download":
            self._status.publish_download(_failed(current, error))

    # -- what others want of it

    def local_write(self) -> None:
        """The upload queue has changed."""
        self._uploader.wake()

    def subscriptions_changed(self) -> None:
        """Subscriptions have changed."""
        self._loop.subscriptions_changed()

    def notify_online(self) -> None:
        """The network may be back: try again now whatever waits for its next try."""
        if self._stopped:
            return  # a transport that is used for a later connection still knows this one
        self._nudged.set()  # wakes those who wait now
        self._nudged.clear()
        self._loop.retry_now()
        self._uploader.retry_now()

    async def request_checkpoint(self) -> CheckpointRequest:
        """Ask for the service's present state, and reconnect at once where that is what is missing."""
        if not self._status.current.connected:
            self.notify_online()
        return await self._checkpoints.for_app(self._status.current)

    # -- inside

    def _observe(self, status: SyncStatus) -> None:
        self._stalls.observe(status)
        self._checkpoints.observe(status)

    def _network_is_back(self) -> None:
        """Nothing came through for a while: what upload_data has sent may be lost, and its answer may never come. Begin again."""
        limit = self._upload_limit
        if limit is not None and not limit.expired():
            self._upload_limit, self._upload_was_cut = None, True
            limit.reschedule(asyncio.get_running_loop().time())
        self.notify_online()

    async def _upload_once(self) -> None:
        timeout_s = self._options.limits.upload_timeout_s
        limit = asyncio.timeout(timeout_s)
        # Never twice in a row: a slow upload must come to its end on a network that comes and goes.
        self._upload_limit, self._upload_was_cut = None if self._upload_was_cut else limit, False
        try:
            async with self._stalls.during(Wait.UPLOAD), limit:
                await self._upload()
        except TimeoutError as exc:
            if self._stopped or not limit.expired():
                raise
            if self._upload_was_cut:
                raise ConnectionFailed("The network was away during upload_data: it is called again.") from exc
            raise ConnectionFailed(
                f"upload_data did not return within {timeout_s:g} s; it was ended.",
                hint="Give its requests a timeout. The writes stay in the queue.",
            ) from exc
        finally:
            self._upload_limit = None
            if self._stopped:  # the connector has ignored that it was cancelled: another connection may upload by now
                raise asyncio.CancelledError

    def _upload_finished(self) -> None:
        self._loop.upload_finished()

    async def _renew_client_id(self) -> None:
        await self._take_client_id()
        self._loop.client_id_changed()

    def _jitter(self, delay_s: float) -> float:
        return with_jitter(delay_s, unit=self._random_unit())

    async def _wait(self, delay_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay_s):
                await self._nudged.wait()


def _upload_retry(first_s: float, cap_s: float) -> Exponential:
    return Exponential(first_s, max(first_s, cap_s))


def _failed(status: SyncStatus, error: Exception) -> SyncStatus:
    """A status of a client that is not connected, for this reason."""
    return replace(status, connected=False, connecting=False, progress=None, download_error=error)
