"""A service that speaks RSocket over WebSockets and says what a test tells it to; its frames are counted."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any

import bson
from aiohttp import web

from syncline.protocol.rsocket.frames import (
    REQUEST_N_MAX,
    Cancel,
    Error,
    ErrorCode,
    Frame,
    Keepalive,
    Payload,
    Request,
    RequestN,
    Setup,
    decode_frame,
    encode_frame,
)
from tests.support.web_server import serving

__all__ = ["ScriptedWebSocket", "serve_websocket"]


@dataclass(eq=False)
class _Peer:
    socket: web.WebSocketResponse
    credits: int = 0
    stream_id: int = 0
    more: asyncio.Event = field(default_factory=asyncio.Event)


class ScriptedWebSocket:
    """`lines` go to every new stream as far as they are asked for; `refuse_setup` and `fail` are error texts.

    `conversation` makes more lines from the request. With `fragment_bytes` lines are sent in parts.
    """

    def __init__(self) -> None:
        self.url = ""
        self.lines: list[dict[str, Any]] = []
        self.frames: list[Frame] = []
        self.headers: list[dict[str, str]] = []
        self.refuse_setup: list[str] = []
        self.refuse_upgrade: list[int] = []
        self.fail: list[str] = []
        self.raw: list[bytes | str] = []  # sent instead of lines
        self.fragment_bytes: int | None = None
        self.echoes = True
        self.asks_for_life = False
        self.lines_sent = 0
        self.lines_allowed = 0
        self.conversation: Callable[[dict[str, Any]], AsyncGenerator[dict[str, Any]]] | None = None
        self._open: set[_Peer] = set()

    @property
    def open_streams(self) -> int:
        """How many streams are open now."""
        return len(self._open)

    def frames_of(self, kind: type[Frame]) -> list[Any]:
        """What came of one kind."""
        return [frame for frame in self.frames if isinstance(frame, kind)]

    @property
    def requests(self) -> list[dict[str, Any]]:
        """The bodies of all stream requests."""
        return [json.loads(frame.data) for frame in self.frames_of(Request)]

    async def send(self, *lines: dict[str, Any]) -> None:
        """Send lines to all open streams, when they have asked for them."""
        for peer in list(self._open):
            for line in lines:
                await self._line(peer, line)

    async def end(self, *, complete: bool = True) -> None:
        """End all open streams: with COMPLETE, or by closing the socket without a word."""
        for peer in list(self._open):
            if complete:
                await peer.socket.send_bytes(encode_frame(Payload(peer.stream_id, complete=True)))
            await peer.socket.close()

    async def upgrade(self, request: web.Request) -> web.StreamResponse:
        """GET /sync/stream."""
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        if self.refuse_upgrade:
            return web.Response(status=self.refuse_upgrade.pop(0), text="<html>", content_type="text/html")
        socket = web.WebSocketResponse(compress=True)
        await socket.prepare(request)
        peer = _Peer(socket)
        sending: asyncio.Task[None] | None = None
        try:
            async for message in socket:
                frame = decode_frame(message.data)
                self.frames.append(frame)
                if isinstance(frame, Request):
                    peer.stream_id = frame.stream_id
                    self._open.add(peer)
                    sending = asyncio.create_task(self._serve(peer, json.loads(frame.data)))
                await self._take(peer, frame)
        finally:
            self._open.discard(peer)
            if sending is not None:
                sending.cancel()
        return socket

    async def _take(self, peer: _Peer, frame: Frame) -> None:
        match frame:
            case Setup() if self.refuse_setup:
                error = Error(0, ErrorCode.REJECTED_SETUP, self.refuse_setup.pop(0))
                await peer.socket.send_bytes(encode_frame(error))
                await peer.socket.close()
            case Request(initial_n=n) | RequestN(n=n):
                self.lines_allowed += n
                peer.credits = min(peer.credits + n, REQUEST_N_MAX)
                peer.more.set()
            case Keepalive(respond=True) if self.echoes:
                await peer.socket.send_bytes(encode_frame(Keepalive(respond=False, data=frame.data)))
            case Cancel():
                self._open.discard(peer)
            case _:
                pass

    async def _serve(self, peer: _Peer, request: dict[str, Any]) -> None:
        if self.fail:
            error = Error(peer.stream_id, ErrorCode.APPLICATION_ERROR, self.fail.pop(0))
            await peer.socket.send_bytes(encode_frame(error))
            return
        if self.asks_for_life:
            await peer.socket.send_bytes(encode_frame(Keepalive(respond=True, data=b"alive?")))
        for raw in self.raw:
            await (peer.socket.send_str(raw) if isinstance(raw, str) else peer.socket.send_bytes(raw))
        for line in self.lines:
            await self._line(peer, line)
        if self.conversation is not None:
            async for line in self.conversation(request):
                await self._line(peer, line)

    async def _line(self, peer: _Peer, line: dict[str, Any]) -> None:
        while not peer.credits:
            peer.more.clear()
            await peer.more.wait()
        peer.credits -= 1
        self.lines_sent += 1
        data = bson.encode(_as_sent(line))
        size = self.fragment_bytes or len(data)
        parts = [data[start : start + size] for start in range(0, len(data), size)]
        for i, part in enumerate(parts):
            payload = Payload(peer.stream_id, data=part, next=not i, follows=i < len(parts) - 1)
            await peer.socket.send_bytes(encode_frame(payload))


def _as_sent(value: Any) -> Any:
    """Numbers as the service writes them in BSON: those beyond 32 bits are doubles."""
    if isinstance(value, dict):
        return {key: _as_sent(inner) for key, inner in value.items()}  # pyright: ignore[reportUnknownVariableType]  # of any JSON
    if isinstance(value, list):
        return [_as_sent(inner) for inner in value]  # pyright: ignore[reportUnknownVariableType]  # of any JSON
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**31) <= value < 2**31:
        return float(value)
    return value


@contextlib.asynccontextmanager
async def serve_websocket(
    service: ScriptedWebSocket | None = None, *, routes: Callable[[web.Application], None] = lambda _: None
) -> AsyncGenerator[ScriptedWebSocket]:
    """Run a scripted service on a free port of 127.0.0.1; `routes` adds what is asked for over plain HTTP."""
    service = service or ScriptedWebSocket()
    app = web.Application()
    app.router.add_get("/sync/stream", service.upgrade)
    routes(app)
    async with serving(app) as service.url:
        try:
            yield service
        finally:
            for peer in list(service._open):
                await peer.socket.close()
