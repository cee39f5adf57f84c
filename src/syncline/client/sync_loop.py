"""Runs the sync machine: opens streams, feeds it what arrives, performs its instructions. Decides nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from syncline.client.core import events as ev
from syncline.client.core import instructions as do
from syncline.client.credentials import CredentialCache
from syncline.client.status_board import StatusBoard
from syncline.client.sync_engine import SyncEngine
from syncline.client.threads import Writer
from syncline.client.transport.http import HttpTransport
from syncline.protocol.requests import StreamRequest

__all__ = ["STREAM_PORTIONS_MAX", "SyncLoop"]

STREAM_PORTIONS_MAX = 16  # portions of lines that wait for the writer thread; then the socket waits

_log = logging.getLogger(__name__)

_Edge = list[do.EdgeInstruction]
_Portion = list[bytes] | Callable[[SyncEngine], _Edge]
"""What the stream brings: lines, or news of the stream itself."""


class SyncLoop:
    """The download side of one connection, from `run` until it is cancelled."""

    def __init__(
        self,
        *,
        make_engine: Callable[[], Awaitable[SyncEngine]],
        writer: Writer,
        transport: HttpTransport,
        credentials: CredentialCache,
        status: StatusBoard,
        trigger_upload: Callable[[], None],
        retry_pause: Callable[[], Awaitable[None]],
    ) -> None:
        self._make_engine = make_engine
        self._writer = writer
        self._transport = transport
        self._credentials = credentials
        self._status = status
        self._trigger_upload = trigger_upload
        self._retry_pause = retry_pause
        self._commands: asyncio.Queue[Callable[[SyncEngine], _Edge]] = asyncio.Queue()
        self._close: do.CloseStream | None = None
        self._request: StreamRequest | None = None
        self._prefetch: asyncio.Task[None] | None = None

    def upload_finished(self) -> None:
        """The upload queue is empty and its write checkpoint is known."""
        self._commands.put_nowait(SyncEngine.upload_finished)

    def client_id_changed(self) -> None:
        """The device has a new client id."""
        self._commands.put_nowait(SyncEngine.follow_client_id)

    def subscriptions_changed(self) -> None:
        """The app subscribed or unsubscribed."""
        self._commands.put_nowait(SyncEngine.subscriptions_changed)

    async def run(self) -> None:
        """Keep a stream open, until cancelled; then publish the status of a client that is not connected."""
        engine = await self._make_engine()
        try:
            while True:
                close = await self._iterate(engine)
                if not close.reconnect_now:
                    await self._retry_pause()
        finally:
            edge = await asyncio.shield(self._writer.call(lambda _: engine.receive(ev.Stopped())))
            for instruction in edge:
                if isinstance(instruction, do.PublishStatus):
                    self._status.publish_download(instruction.status)

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
            if self._prefetch is not None:
                self._prefetch.cancel()
                self._prefetch = None
        return self._close or do.CloseStream()

    async def _failed(self, engine: SyncEngine, error: Exception) -> None:
        _log.warning("Sync stream failed: %s", error, extra={"event": "sync_stream_failed"})
        try:
            await self._handle(engine, lambda engine: engine.receive(ev.StreamFailed(error)))
        except Exception:
            _log.exception("The sync state could not be read.", extra={"event": "sync_engine_failed"})
            self._close = do.CloseStream(error=error)

    async def _follow(self, engine: SyncEngine, request: StreamRequest) -> None:
        """Take commands and portions of the stream, whichever comes, until the machine closes the iteration."""
        portions: asyncio.Queue[_Portion] = asyncio.Queue(STREAM_PORTIONS_MAX)
        reader = asyncio.create_task(self._read(request, portions))
        portion = asyncio.create_task(portions.get())
        command = asyncio.create_task(self._commands.get())
        try:
            while self._close is None:
                done, _ = await asyncio.wait({portion, command}, return_when=asyncio.FIRST_COMPLETED)
                if command in done:
                    await self._handle(engine, command.result())
                    command = asyncio.create_task(self._commands.get())
                elif portion in done:
                    await self._handle(engine, _step(portion.result(), portions))
                    portion = asyncio.create_task(portions.get())
        finally:
            for task in (reader, portion, command):
                task.cancel()
            await asyncio.gather(reader, portion, command, return_exceptions=True)

    async def _read(self, request: StreamRequest, portions: asyncio.Queue[_Portion]) -> None:
        """Open the stream and queue what it brings, its end included."""
        try:
            credentials = await self._credentials.get()
            async with self._transport.stream(request, credentials) as arriving:
                await portions.put(lambda engine: engine.receive(ev.ConnectionOpened()))
                async for texts in arriving:
                    await portions.put(texts)
            end: ev.Event = ev.StreamEnded()
        except Exception as exc:
            _log.info("Sync stream ended: %s", exc, extra={"event": "sync_stream_ended"})
            end = ev.StreamFailed(exc)
        await portions.put(lambda engine: engine.receive(end))

    async def _handle(self, engine: SyncEngine, step: Callable[[SyncEngine], _Edge]) -> None:
        for instruction in await self._writer.call(lambda _: step(engine)):
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
        try:
            await self._credentials.prefetch()
        except Exception as exc:
            _log.warning("New credentials could not be fetched: %s", exc, extra={"event": "credentials_failed"})
            return
        with contextlib.suppress(asyncio.QueueFull):
            self._commands.put_nowait(lambda engine: engine.receive(ev.TokenRefreshed()))


def _step(portion: _Portion, waiting: asyncio.Queue[_Portion]) -> Callable[[SyncEngine], _Edge]:
    """What the engine has to do next. Lines that have arrived meanwhile go along: they are stored in one transaction."""
    if callable(portion):
        return portion
    texts = portion
    while not waiting.empty():
        following = waiting.get_nowait()
        if callable(following):
            return lambda engine: _then(engine, engine.lines(texts), following)
        texts += following
    return lambda engine: engine.lines(texts)


def _then(engine: SyncEngine, edge: _Edge, following: Callable[[SyncEngine], _Edge]) -> _Edge:
    """Go on, unless the lines have closed the iteration: news of its stream are nobody's then."""
    closed = any(isinstance(instruction, do.CloseStream) for instruction in edge)
    return edge if closed else edge + following(engine)
