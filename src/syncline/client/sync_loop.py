"""Runs the sync machine: opens streams, feeds it what arrives, performs its instructions. Decides nothing.

One task owns the machine. What others want of it (the app, the uploader, the connector's credentials) are commands in its queue, which it
takes at any time: while a stream is open, while one is being opened, and in the pause between two streams.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from syncline.client.core import events as ev
from syncline.client.core import instructions as do
from syncline.client.core.stalls import Stalled, Wait
from syncline.client.credentials import CredentialCache
from syncline.client.errors import ConnectionFailed
from syncline.client.portions import Portions, lines_for_one_transaction
from syncline.client.stall_watch import StallWatch
from syncline.client.status_board import StatusSink
from syncline.client.sync_engine import SyncEngine
from syncline.client.threads import Writer
from syncline.client.transport.base import Transport
from syncline.protocol.requests import StreamRequest

__all__ = [
    "CHECKPOINT_IDLE_TIMEOUT_S",
    "KEEPALIVE_S",
    "LATE_LINE_S",
    "STREAM_PORTIONS_MAX",
    "TRANSACTION_MAX_S",
    "SyncLoop",
]

STREAM_PORTIONS_MAX = 16  # portions of lines that wait for the writer thread; then the socket waits
TRANSACTION_MAX_S = (
    0.5  # seconds that lines are stored in one transaction while more come: each commit writes many pages anew
)
CHECKPOINT_IDLE_TIMEOUT_S = 60.0  # seconds of a checkpoint in which no operation comes; then it is asked for anew
KEEPALIVE_S = 20.0  # seconds between two looks at subscriptions and queue where the transport brings no keepalive lines
LATE_LINE_S = 22.0  # seconds without a line after which a stream that should bring one is not trusted when the network has changed

_log = logging.getLogger(__name__)

_Edge = list[do.EdgeInstruction]
_Step = Callable[[SyncEngine], _Edge]
_Arriving = Portions[_Step]
"""What the stream brings: lines, and news of the stream itself."""


class SyncLoop:
    """The download side of one connection, from `run` until it is cancelled."""

    def __init__(
        self,
        *,
        make_engine: Callable[[], Awaitable[SyncEngine]],
        writer: Writer,
        transport: Transport,
        credentials: CredentialCache,
        status: StatusSink,
        stalls: StallWatch,
        trigger_upload: Callable[[], None],
        jitter: Callable[[float], float],
        checkpoint_idle_timeout_s: float = CHECKPOINT_IDLE_TIMEOUT_S,
        keepalive_s: float = KEEPALIVE_S,
    ) -> None:
        """`jitter` varies a delay in seconds."""
        self._make_engine = make_engine
        self._writer = writer
        self._transport = transport
        self._credentials = credentials
        self._status = status
        self._stalls = stalls
        self._trigger_upload = trigger_upload
        self._jitter = jitter
        self._checkpoint_idle_timeout_s = checkpoint_idle_timeout_s
        self._keepalive_s = keepalive_s
        self._commands: asyncio.Queue[_Step | None] = asyncio.Queue()  # None: the network may be another one now
        self._close: do.CloseStream | None = None
        self._request: StreamRequest | None = None
        self._prefetch: asyncio.Task[None] | None = None
        self._next_keepalive_s = 0.0

    def upload_finished(self) -> None:
        """The upload queue is empty and its write checkpoint is known."""
        self._commands.put_nowait(SyncEngine.upload_finished)

    def client_id_changed(self) -> None:
        """The device has a new client id."""
        self._commands.put_nowait(SyncEngine.follow_client_id)

    def subscriptions_changed(self) -> None:
        """The app subscribed or unsubscribed."""
        self._commands.put_nowait(SyncEngine.subscriptions_changed)

    def retry_now(self) -> None:
        """End a pause between two streams; open a stream anew that should have brought a line by now."""
        self._commands.put_nowait(None)

    async def run(self) -> None:
        """Keep a stream open, until cancelled."""
        async with self._stalls.during(Wait.LOCAL_DATABASE):
            engine = await self._make_engine()
        while True:
            close = await self._iterate(engine)
            if not close.reconnect_now:
                await self._pause(engine, self._jitter(close.delay_s))

    # -- one stream

    async def _iterate(self, engine: SyncEngine) -> do.CloseStream:
        """One stream, from the request to its end."""
        self._close = None
        while not self._commands.empty():  # what they would tell is read from the file now
            self._commands.get_nowait()
        try:
            await self._handle(engine, SyncEngine.start)
            assert self._request is not None
            await self._follow(engine, self._request)
        except Exception as exc:
            await self._failed(engine, exc)
        finally:
            self._stalls.end(Wait.CREDENTIALS, Wait.ANSWER, Wait.LINE)
            if self._prefetch is not None:
                self._prefetch.cancel()
                self._prefetch = None
        return self._close or do.CloseStream(delay_s=1.0)

    async def _failed(self, engine: SyncEngine, error: Exception) -> None:
        _log.warning("Sync stream failed: %s", error, extra={"event": "sync_stream_failed"})
        try:
            await self._handle(engine, lambda engine: engine.receive(ev.StreamFailed(error)))
        except Exception:
            _log.exception("The sync state could not be read.", extra={"event": "sync_engine_failed"})
            self._close = do.CloseStream(error=error, delay_s=1.0)

    async def _follow(self, engine: SyncEngine, request: StreamRequest) -> None:
        """Take commands and portions of the stream, whichever comes, until the machine closes the iteration."""
        portions = _Arriving(STREAM_PORTIONS_MAX)
        reader = asyncio.create_task(self._read(request, portions))
        portion = asyncio.create_task(portions.get())
        command = asyncio.create_task(self._commands.get())
        self._next_keepalive_s = _now_s() + self._keepalive_s
        try:
            while self._close is None:
                done, _ = await asyncio.wait(
                    {portion, command}, return_when=asyncio.FIRST_COMPLETED, timeout=self._patience_s()
                )
                if command in done:
                    await self._obey(engine, command.result())
                    command = asyncio.create_task(self._commands.get())
                elif portion in done:
                    await self._handle(engine, self._step(portion.result(), portions))
                    portion = asyncio.create_task(portions.get())
                else:
                    await self._look_at_the_clock(engine)
        finally:
            for task in (reader, portion, command):
                task.cancel()
            await asyncio.gather(reader, portion, command, return_exceptions=True)
            if command.done() and not command.cancelled():
                self._commands.put_nowait(command.result())  # it came at the last moment

    def _step(self, portion: list[bytes] | _Step, portions: _Arriving) -> _Step:
        """What the engine has to do next. Lines that arrive meanwhile go along: they are stored in one transaction."""
        if callable(portion):
            return portion
        following = lines_for_one_transaction(portions, self._writer)
        return lambda engine: engine.lines(portion, following)

    def _patience_s(self) -> float:
        """Seconds until `_look_at_the_clock` may have something to do."""
        until_keepalive_s = self._next_keepalive_s - _now_s()
        until_idle_s = self._checkpoint_idle_timeout_s - self._stalls.waited_s(Wait.CHECKPOINT)
        return max(0.0, min(until_keepalive_s, until_idle_s))

    async def _look_at_the_clock(self, engine: SyncEngine) -> None:
        if self._stalls.waited_s(Wait.CHECKPOINT) >= self._checkpoint_idle_timeout_s:
            raise Stalled(Wait.CHECKPOINT, self._checkpoint_idle_timeout_s)
        if _now_s() < self._next_keepalive_s:
            return
        self._next_keepalive_s = _now_s() + self._keepalive_s
        if not self._transport.keepalive_lines and self._status.current.connected:
            await self._handle(engine, lambda engine: engine.receive(ev.TimePassed()))

    async def _read(self, request: StreamRequest, portions: _Arriving) -> None:
        """Open the stream and queue what it brings, its end included."""
        try:
            async with self._stalls.during(Wait.CREDENTIALS):
                credentials = await self._credentials.get()
            self._stalls.begin(Wait.ANSWER)
            async with self._transport.stream(request, credentials) as arriving:
                self._stalls.end(Wait.ANSWER)
                await portions.put(lambda engine: engine.receive(ev.ConnectionOpened()))
                self._line_arrived()
                async for texts in arriving:
                    self._line_arrived()
                    if texts:
                        await portions.put(texts)
            end: ev.Event = ev.StreamEnded()
        except Exception as exc:
            _log.info("Sync stream ended: %s", exc, extra={"event": "sync_stream_ended"})
            end = ev.StreamFailed(exc)
        await portions.put(lambda engine: engine.receive(end))

    def _line_arrived(self) -> None:
        if self._transport.keepalive_lines:
            self._stalls.begin(Wait.LINE)

    # -- between two streams

    async def _pause(self, engine: SyncEngine, delay_s: float) -> None:
        """Wait, and take commands meanwhile: the app sees what it subscribes to at once."""
        ends_s = _now_s() + delay_s
        with contextlib.suppress(TimeoutError):
            while (left_s := ends_s - _now_s()) > 0:
                async with asyncio.timeout(left_s):
                    command = await self._commands.get()
                if command is None:
                    return
                try:
                    await self._handle(engine, command)
                except Exception as exc:  # the next stream begins from what is on disk, whatever this was
                    _log.warning("A command failed: %s", exc, extra={"event": "sync_command_failed"})

    # -- instructions

    async def _obey(self, engine: SyncEngine, command: _Step | None) -> None:
        if command is not None:
            await self._handle(engine, command)
        elif self._stalls.waited_s(Wait.LINE) >= LATE_LINE_S or self._stalls.waited_s(Wait.ANSWER) >= LATE_LINE_S:
            raise ConnectionFailed("The network has changed, and nothing has come for some time.", retry_after_s=0.0)

    async def _handle(self, engine: SyncEngine, step: _Step) -> None:
        async with self._stalls.during(Wait.LOCAL_DATABASE):
            edge = await self._writer.call(lambda _: step(engine))
        for instruction in edge:
            self._perform(instruction)

    def _perform(self, instruction: do.EdgeInstruction) -> None:
        match instruction:
            case do.OpenStream(request):
                self._request = request
            case do.CloseStream():
                self._close = instruction
            case do.PublishStatus(status):
                self._status.publish_download(status)
            case do.TriggerUpload():
                self._trigger_upload()
            case do.LogWarning(event, message):
                _log.warning(message, extra={"event": event})
            case do.FetchCredentials(expired):
                if expired:
                    self._credentials.invalidate()
                else:
                    self._prefetch = asyncio.create_task(self._prefetch_credentials())

    async def _prefetch_credentials(self) -> None:
        event: ev.Event = ev.TokenRefreshed()
        try:
            await self._credentials.prefetch()
        except Exception as exc:
            _log.warning("New credentials could not be fetched: %s", exc, extra={"event": "credentials_failed"})
            event = ev.TokenPrefetchFailed()
        self._commands.put_nowait(lambda engine: engine.receive(event))


def _now_s() -> float:
    return asyncio.get_running_loop().time()
