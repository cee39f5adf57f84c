"""A client of the WebSocket endpoint in memory: what a server and an RSocket client would do, step by step."""

from __future__ import annotations

import asyncio
import json
from collections.abc import MutableMapping
from typing import Any

import bson

from syncline.protocol.rsocket.frames import (
    Error,
    Frame,
    FrameType,
    Payload,
    Request,
    RequestN,
    Setup,
    decode_frame,
    encode_frame,
)
from syncline.testing.waiting import eventually
from tests.unit.api.world import World, token

JSON, BSON = "application/json", "application/bson"
TIMEOUT_S = 5.0


class WebSocketPeer:
    """One connection to `world.app`. `takes` is cleared while the client reads nothing."""

    def __init__(self, world: World, *, path: str = "/sync/stream", agent: str = "test-agent") -> None:
        self.frames: list[Frame] = []
        self.accepted = asyncio.Event()
        self.close_code: int | None = None
        self.refused_status: int | None = None
        self.takes = asyncio.Event()
        self.takes.set()
        self._arrived = asyncio.Condition()
        self._messages: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
        self._messages.put_nowait({"type": "websocket.connect"})
        scope = {"type": "websocket", "path": path, "headers": [(b"user-agent", agent.encode())]}
        self.task = asyncio.create_task(world.app(scope, self._messages.get, self._send))

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        await self.takes.wait()
        async with self._arrived:
            match message["type"]:
                case "websocket.accept":
                    self.accepted.set()
                case "websocket.send":
                    self.frames.append(decode_frame(message["bytes"]))
                case "websocket.close":
                    self.close_code = message["code"]
                    self._messages.put_nowait({"type": "websocket.disconnect", "code": self.close_code})
                case "websocket.http.response.start":
                    self.refused_status = message["status"]
                case _:
                    pass
            self._arrived.notify_all()

    def sends(self, frame: Frame | bytes) -> None:
        message = frame if isinstance(frame, bytes) else encode_frame(frame)
        self._messages.put_nowait({"type": "websocket.receive", "bytes": message})

    def sends_text(self, text: str) -> None:
        self._messages.put_nowait({"type": "websocket.receive", "text": text})

    def leaves(self) -> None:
        self._messages.put_nowait({"type": "websocket.disconnect", "code": 1006})

    def sets_up(self, bearer: str | None = None, *, mime_type: str = JSON, metadata: object = None) -> None:
        who = metadata if metadata is not None else {"token": f"Token {bearer or token()}", "user_agent": "sdk/1"}
        self.sends(Setup(20_000, 90_000, mime_type, mime_type, metadata=encoded(who, mime_type)))

    def requests(
        self, stream_id: int = 1, n: int = 100, *, path: str = "/sync/stream", mime_type: str = JSON, **body: Any
    ) -> None:
        metadata, data = encoded({"path": path}, mime_type), encoded(body, mime_type)
        self.sends(Request(stream_id, FrameType.REQUEST_STREAM, n, metadata, data))

    def asks_for(self, n: int, stream_id: int = 1) -> None:
        self.sends(RequestN(stream_id, n))

    def lines(self, stream_id: int = 1) -> list[dict[str, Any]]:
        return [
            bson.decode(frame.data)  # pyright: ignore[reportUnknownMemberType]  # the library has no types
            for frame in self.frames
            if isinstance(frame, Payload) and frame.stream_id == stream_id and frame.next
        ]

    def is_complete(self, stream_id: int = 1) -> bool:
        return any(isinstance(f, Payload) and f.stream_id == stream_id and f.complete for f in self.frames)

    def error(self, stream_id: int) -> Error | None:
        found = [frame for frame in self.frames if isinstance(frame, Error) and frame.stream_id == stream_id]
        assert len(found) <= 1
        return found[0] if found else None

    async def until_error(self, stream_id: int = 0) -> Error:
        await eventually(lambda: self.error(stream_id), timeout_s=TIMEOUT_S)
        error = self.error(stream_id)
        assert error is not None
        return error

    async def until_lines(self, count: int, stream_id: int = 1) -> None:
        await eventually(lambda: len(self.lines(stream_id)) >= count, timeout_s=TIMEOUT_S)

    async def until(self, kind: str, times: int = 1, stream_id: int = 1) -> None:
        await eventually(
            lambda: sum(kind in line for line in self.lines(stream_id)) >= times, timeout_s=TIMEOUT_S, what=kind
        )

    async def until_complete(self, stream_id: int = 1) -> None:
        await eventually(lambda: self.is_complete(stream_id), timeout_s=TIMEOUT_S)

    async def until_answered(self) -> None:
        """Return when everything sent so far has been handled: a keepalive comes back after it."""
        before = len(self.frames)
        self.sends(bytes.fromhex("00000000 0c80 0000000000000000") + b"probe")
        await eventually(lambda: any(getattr(f, "data", b"") == b"probe" for f in self.frames[before:]))

    async def until_over(self) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            await self.task


def encoded(value: object, mime_type: str) -> bytes:
    if isinstance(value, bytes):
        return value
    if mime_type == BSON:
        assert isinstance(value, dict)
        return bson.encode(value)  # pyright: ignore[reportUnknownArgumentType]  # the library has no types
    return json.dumps(value).encode()


async def connected(world: World, bearer: str | None = None) -> WebSocketPeer:
    peer = WebSocketPeer(world)
    peer.sets_up(bearer)
    await peer.until_answered()
    return peer
