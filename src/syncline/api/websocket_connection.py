"""The runner of one WebSocket: performs the instructions of the RSocket machine with streams and the socket. It decides nothing.

One task reads, each stream has a task of its own, and writing is one frame after the other, in the order in which the machine gave
them. Nothing is buffered here: while a write waits for the client, whoever wants to write waits as well.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, MutableMapping
from typing import Any

from syncline.api.answers import Receive, Send
from syncline.api.limits import MESSAGE_TIMEOUT_S, MESSAGES_IN_A_ROW_MAX
from syncline.api.rsocket_payloads import decode_setup
from syncline.api.websocket_stream import SOMETHING_WRONG, ConnectionLost, Peer, Shared, StreamRun, told_text
from syncline.auth.verifier import parse_authorization
from syncline.errors import ShuttingDown, SynclineError
from syncline.protocol.rsocket.connection import (
    CheckSetup,
    Close,
    ConnectionEvent,
    ConnectionInstruction,
    GoOn,
    MessageReceived,
    OpenStream,
    SendFrame,
    ServerConnection,
    SetupAccepted,
    SetupRefused,
    Stopping,
    StopStream,
    TextReceived,
    TimePassed,
)
from syncline.protocol.rsocket.frames import Setup

__all__ = ["WebSocketConnection"]

log = logging.getLogger(__name__)


class WebSocketConnection:
    """One connection, accepted already. `run` returns when it has ended; `stop` completes its streams and ends it.

    `agent` is the user agent of the upgrade's headers; browsers cannot set it, and SETUP may name another. `stopping` says that the
    service stops already: the client is told so at once.
    """

    def __init__(self, shared: Shared, receive: Receive, send: Send, *, agent: str, stopping: bool = False) -> None:
        self._shared = shared
        self._receive_message = receive
        self._send_message = send
        self._agent = agent
        self._machine = ServerConnection(shared.rsocket_limits, now_s=time.monotonic())
        self._peer: Peer | None = None
        self._streams: dict[int, StreamRun] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._writing = asyncio.Lock()
        self._stopping = stopping
        self._has_ended = False  # `run` has returned
        self._waiting: asyncio.Future[None] | None = None  # for that; made by `stop`

    @property
    def is_set_up(self) -> bool:
        """Whether the client has shown a valid token."""
        return self._peer is not None

    async def stop(self, *, timeout_s: float) -> None:
        """Complete the streams, close, and return when that is done; after `timeout_s` whatever the client does."""
        if self._has_ended:
            return
        self._stopping = True
        ended = self._waiting = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout_s):
                await self._happened(Stopping())
                await asyncio.shield(ended)
        except (TimeoutError, ConnectionLost):
            self._give_up()
            await ended

    async def run(self) -> None:
        """Serve the connection until it ends, whoever ends it. Reading is this task's work."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                if self._stopping:
                    await self._happened(Stopping())
                await self._read()
                for stream in self._streams.values():
                    stream.stop()
        except* ConnectionLost as lost:
            log.info("Connection lost: %s", lost.exceptions[0], extra={"event": "sync.lost"})
        except* Exception:
            log.exception("A connection failed", extra={"event": "sync.crash"})
        finally:
            if self._peer is not None:
                self._shared.places.give_back()
            self._has_ended = True
            if self._waiting is not None and not self._waiting.done():
                self._waiting.set_result(None)

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        assert self._tasks is not None, "the connection runs"
        return self._tasks.create_task(work)

    def _give_up(self) -> None:
        """End everything: a failure of one task of the group ends the others."""
        losing = _lose("it did not take its last frames")
        try:
            self._start(losing)
        except RuntimeError:  # it is ending already
            losing.close()

    async def _read(self) -> None:
        """Until the client is gone, or the machine has closed. `stop` closes in a task of its own, and ends this by the disconnect."""
        handled = 0
        while not self._machine.is_closed or self._stopping:
            event = await self._next_event()
            if event is None:
                return
            await self._happened(event)
            handled += 1
            if handled % MESSAGES_IN_A_ROW_MAX == 0:
                await asyncio.sleep(0)  # messages that are there already are taken without a pause

    async def _next_event(self) -> ConnectionEvent | None:
        """What happens next; None when the client is gone."""
        until_tick_s = None if self._machine.is_closed else self._machine.next_tick_s - time.monotonic()
        try:
            async with asyncio.timeout(until_tick_s):
                message = await self._receive_message()
        except TimeoutError:
            return TimePassed(time.monotonic())
        if message["type"] == "websocket.disconnect":
            return None
        data: bytes | None = message.get("bytes")
        return TextReceived() if data is None else MessageReceived(data, time.monotonic())

    async def _happened(self, event: ConnectionEvent) -> None:
        """Tell the machine, and do what it says."""
        await self._perform(self._machine.receive(event))

    async def _perform(self, instructions: list[ConnectionInstruction]) -> None:
        for instruction in instructions:
            match instruction:
                case SendFrame(message):
                    await self._send({"type": "websocket.send", "bytes": message})
                case CheckSetup(setup):
                    await self._happened(await self._check(setup))
                case OpenStream():
                    self._open(instruction)
                case GoOn(stream_id):
                    self._streams[stream_id].go_on()
                case StopStream(stream_id):
                    self._stop_stream(stream_id)
                case Close(code, reason):
                    log.info("Connection closed: %s", reason, extra={"event": "sync.disconnect", "code": code})
                    await self._send({"type": "websocket.close", "code": code})

    def _open(self, opened: OpenStream) -> None:
        assert self._peer is not None, "streams are opened after SETUP"
        stream_id = opened.stream_id
        stream = StreamRun(
            self._shared,
            self._peer,
            opened,
            shares_place=not self._streams,
            wanted_lines=lambda: self._machine.credits(stream_id),
            happened=self._happened,
        )
        self._streams[stream_id] = stream
        stream.task = self._start(self._serve(stream))

    async def _serve(self, stream: StreamRun) -> None:
        last = await stream.serve()
        self._streams.pop(stream.stream_id, None)
        await self._happened(last)

    def _stop_stream(self, stream_id: int) -> None:
        stream = self._streams.pop(stream_id, None)
        if stream is not None:  # else it came to its end while an earlier instruction was performed
            stream.stop("shutdown" if self._stopping else "client")

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        """Raises ConnectionLost when the client has gone, or there is no room for MESSAGE_TIMEOUT_S.

        The server cuts a client that takes nothing at all long before that; a slow one may need its time for a large row.
        """
        async with self._writing:
            try:
                async with asyncio.timeout(MESSAGE_TIMEOUT_S):
                    await self._send_message(message)
            except TimeoutError as exc:
                raise ConnectionLost("the client reads nothing") from exc
            except (
                OSError,
                RuntimeError,
            ) as exc:  # the server raises RuntimeError when it has closed for an error itself
                raise ConnectionLost("the client has gone") from exc

    async def _check(self, setup: Setup) -> SetupAccepted | SetupRefused:
        """Find out who connects, and whether there is a place."""
        try:
            metadata = decode_setup(setup)
            token_text = parse_authorization(metadata.token)
            await self._shared.verifier.verify(token_text, now_s=time.time())
            if self._stopping:
                raise ShuttingDown("The service is stopping.")
            self._shared.places.take()
        except SynclineError as exc:
            return SetupRefused(told_text(exc))
        except Exception:
            log.exception("A connection could not be checked", extra={"event": "sync.crash"})
            return SetupRefused(SOMETHING_WRONG)
        agent = metadata.user_agent or self._agent
        self._peer = Peer(token_text, agent, setup.metadata_mime_type, setup.data_mime_type)
        return SetupAccepted(time.monotonic())


async def _lose(why: str) -> None:
    raise ConnectionLost(why)
