"""Two RSocket clients for tests of the service: the package `rsocket`, as it comes, and one that sends any bytes it is told to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import aiohttp
import bson
from reactivestreams.subscriber import Subscriber
from rsocket.payload import Payload as TheirPayload
from rsocket.request_handler import BaseRequestHandler
from rsocket.rsocket_client import RSocketClient
from rsocket.transports.aiohttp_websocket import TransportAioHttpClient

from syncline.protocol.rsocket.frames import (
    Error,
    Frame,
    FrameType,
    Payload,
    Request,
    Setup,
    decode_frame,
    encode_frame,
)
from syncline.testing.waiting import eventually

__all__ = ["RSocketPeer", "RawPeer", "StreamReader", "raw_peer", "rsocket_peer"]

JSON = "application/json"
ROUTE = b'{"path":"/sync/stream"}'
decode_bson: Any = bson.decode  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  # the library has no types


def as_json(line: dict[str, Any]) -> dict[str, Any]:
    """A line of BSON as it would be in JSON: whole numbers are no doubles."""
    return json.loads(
        json.dumps(line), parse_float=lambda text: int(float(text)) if float(text).is_integer() else float(text)
    )


class StreamReader(Subscriber):
    """What came of one stream. `asked` counts the lines that were asked for; with `one_by_one` each line asks for the next."""

    def __init__(self, asked: int, *, one_by_one: bool = False) -> None:
        self.lines: list[dict[str, Any]] = []
        self.asked = asked
        self.error: Exception | None = None
        self.is_complete = False
        self._one_by_one = one_by_one
        self._subscription: Any = None

    def on_subscribe(self, subscription: Any) -> None:
        self._subscription = subscription

    def on_next(self, value: Any, is_complete: bool = False) -> None:
        assert len(self.lines) < self.asked, "more lines than were asked for"
        self.lines.append(as_json(decode_bson(value.data)))
        self.is_complete |= is_complete
        if self._one_by_one and not is_complete:
            self.ask_for(1)

    def on_error(self, exception: Exception) -> None:
        self.error = exception

    def on_complete(self) -> None:
        self.is_complete = True

    def ask_for(self, n: int) -> None:
        self.asked += n
        self._subscription.request(n)

    def cancel(self) -> None:
        self._subscription.cancel()

    def count(self, kind: str) -> int:
        return sum(kind in line for line in self.lines)

    def entries(self) -> list[dict[str, Any]]:
        return [entry for line in self.lines if "data" in line for entry in line["data"]["data"]]

    async def until(self, kind: str, times: int = 1) -> None:
        await eventually(lambda: self.count(kind) >= times or self.error, what=f"{times} {kind}", timeout_s=20)
        assert self.error is None, self.error


class _Handler(BaseRequestHandler):
    """Notes errors of the connection."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__()
        self._errors = errors

    async def on_error(self, error_code: Any, payload: Any) -> None:
        self._errors.append(f"{error_code.name} {payload.data.decode()}")


class RSocketPeer:
    """A connection by the package `rsocket`."""

    def __init__(self, client: Any, errors: list[str]) -> None:
        self._client = client
        self.errors = errors

    def request(self, n: int, *, one_by_one: bool = False, **body: Any) -> StreamReader:
        reader = StreamReader(n, one_by_one=one_by_one)
        payload = TheirPayload(json.dumps({"raw_data": True, **body}).encode(), ROUTE)
        self._client.request_stream(payload).initial_request_n(n).subscribe(reader)
        return reader


@asynccontextmanager
async def rsocket_peer(base_url: str, bearer: str, *, fragment_bytes: int | None = None) -> AsyncGenerator[RSocketPeer]:
    """Connect, as the official clients do: the token in the metadata of SETUP, JSON both ways, keepalives."""
    errors: list[str] = []
    setup = TheirPayload(None, json.dumps({"token": f"Token {bearer}", "user_agent": "rsocket-py"}).encode())

    async def transports() -> AsyncGenerator[TransportAioHttpClient, Any]:
        yield TransportAioHttpClient(f"{base_url}/sync/stream")

    client: Any = RSocketClient(
        transports(),
        handler_factory=lambda: _Handler(errors),  # pyright: ignore[reportArgumentType]  # a class or a function
        setup_payload=setup,
        keep_alive_period=timedelta(seconds=0.2),
        max_lifetime_period=timedelta(seconds=30),
        fragment_size_bytes=fragment_bytes,
    )
    async with client:
        yield RSocketPeer(client, errors)


class RawPeer:
    """A connection that sends what it is told, and keeps what comes."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.frames: list[Frame] = []
        self._reading: asyncio.Task[None] | None = None

    @property
    def response_headers(self) -> Any:
        """Those of the answer to the upgrade."""
        return self.socket._response.headers  # pyright: ignore[reportPrivateUsage]  # there is no other way to it

    async def send(self, frame: Frame | bytes) -> None:
        await self.socket.send_bytes(frame if isinstance(frame, bytes) else encode_frame(frame))

    async def set_up(self, bearer: str, *, lifetime_ms: int = 90_000) -> None:
        metadata = json.dumps({"token": f"Token {bearer}"}).encode()
        await self.send(Setup(20_000, lifetime_ms, JSON, JSON, metadata))

    async def request(self, stream_id: int, n: int, **body: Any) -> None:
        data = json.dumps({"raw_data": True, **body}).encode()
        await self.send(Request(stream_id, FrameType.REQUEST_STREAM, n, ROUTE, data))

    def lines(self, stream_id: int) -> list[dict[str, Any]]:
        mine = [f for f in self.frames if isinstance(f, Payload) and f.stream_id == stream_id and f.next]
        return [as_json(decode_bson(frame.data)) for frame in mine]

    def is_complete(self, stream_id: int) -> bool:
        return any(isinstance(f, Payload) and f.stream_id == stream_id and f.complete for f in self.frames)

    def error(self, stream_id: int) -> Error | None:
        return next((f for f in self.frames if isinstance(f, Error) and f.stream_id == stream_id), None)

    async def until_error(self, stream_id: int) -> Error:
        await eventually(lambda: self.error(stream_id) is not None)
        error = self.error(stream_id)
        assert error is not None
        return error

    async def until(self, stream_id: int, kind: str, times: int = 1) -> None:
        await eventually(
            lambda: sum(kind in line for line in self.lines(stream_id)) >= times, what=f"{times} {kind}", timeout_s=20
        )

    def read(self) -> None:
        """Begin to read; until then whatever comes waits in the network."""
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for message in self.socket:
            self.frames.append(decode_frame(message.data))

    async def until_closed(self) -> int | None:
        """The code with which the service closed."""
        assert self._reading is not None
        async with asyncio.timeout(20):
            await self._reading
        return self.socket.close_code


@asynccontextmanager
async def raw_peer(base_url: str, *, compress: int = 15, reads: bool = True) -> AsyncGenerator[RawPeer]:
    """Connect without a word. `compress` is the window to offer for permessage-deflate, 0 for none."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{base_url}/sync/stream", compress=compress, max_msg_size=0) as socket,
    ):
        peer = RawPeer(socket)
        if reads:
            peer.read()
        yield peer
