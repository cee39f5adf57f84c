"""The server's WebSocket protocol in memory, against the client half of the library `websockets`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.uri import parse_uri

from syncline.service import websocket_protocol as module
from syncline.service.websocket_protocol import (
    COMPRESSED_BYTES_MIN,
    FIRST_MESSAGE_BYTES_MAX,
    FRAGMENTS_MAX,
    INFLATED_STEP_BYTES,
    StreamWebSocketProtocol,
)
from syncline.testing.waiting import eventually

MESSAGE_BYTES_MAX = 1024 * 1024


class MemoryTransport(asyncio.Transport):
    """What the server writes, and whether it reads."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.unsent = 0
        self.reading = True
        self.closing = self.ended = False
        self.aborted = asyncio.Event()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.aborted.set()

    def get_write_buffer_size(self) -> int:
        return self.unsent


class Exchange:
    """A client that is connected to an app which does what the test says, through `events` and `send`."""

    def __init__(self, offer: list[ClientPerMessageDeflateFactory] | None) -> None:
        self.transport = MemoryTransport()
        self.client = ClientProtocol(parse_uri("ws://test/sync/stream"), extensions=offer, max_size=None)
        self.received: list[bytes] = []
        self.finish = asyncio.Event()
        self.accepted = asyncio.Event()
        self.app_receive: Any = None
        self.app_send: Any = None
        config = Config(
            self._app,
            ws=StreamWebSocketProtocol,
            ws_max_size=MESSAGE_BYTES_MAX,
            ws_ping_interval=None,
            interface="asgi3",
            proxy_headers=False,
            log_config=None,
        )
        config.load()
        self.server = StreamWebSocketProtocol(config, ServerState(), {}, asyncio.get_running_loop())
        self.server.connection_made(self.transport)

    async def _app(self, _scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        self.app_receive, self.app_send = receive, send
        self.accepted.set()
        await self.finish.wait()

    async def connect(self) -> Response:
        self.client.send_request(self.client.connect())
        self.pass_on()
        await asyncio.wait_for(self.accepted.wait(), 5)
        [response] = self.pass_back()
        assert isinstance(response, Response)
        return response

    def pass_on(self) -> None:
        """What the client has to send, in one piece."""
        self.server.data_received(b"".join(self.client.data_to_send()))

    def pass_back(self) -> list[Any]:
        data = bytes(self.transport.written)
        self.transport.written.clear()
        self.client.receive_data(data)
        assert self.client.parser_exc is None
        return self.client.events_received()

    async def trust(self) -> None:
        """Have the app take a first message, and one more, which it asks for only of those whom it has accepted."""
        for _ in range(2):
            self.client.send_binary(b"SETUP")
            self.pass_on()
            await self.app_receive()

    async def until_over(self) -> None:
        self.finish.set()
        await eventually(lambda: not self.server.tasks)


@pytest.fixture
async def exchange() -> AsyncGenerator[Exchange]:
    made = Exchange([ClientPerMessageDeflateFactory(client_max_window_bits=True)])
    yield made
    await made.until_over()


def data_of(events: list[Any]) -> list[bytes]:
    return [bytes(event.data) for event in events if isinstance(event, Frame) and event.opcode is Opcode.BINARY]


async def test_nothing_is_kept_between_two_messages_in_either_direction(exchange: Exchange) -> None:
    response = await exchange.connect()
    extensions = response.headers["Sec-WebSocket-Extensions"]
    assert "server_no_context_takeover" in extensions
    assert "client_no_context_takeover" in extensions


@pytest.mark.parametrize("window_bits", [9, 12, 15, None])
async def test_messages_arrive_as_they_were_sent_and_long_ones_are_compressed(window_bits: int | None) -> None:
    exchange = Exchange([ClientPerMessageDeflateFactory(server_max_window_bits=window_bits)])
    await exchange.connect()
    line = b'{"id":"%d","name":"something that repeats"}'
    for message in (
        b"",
        b"x" * (COMPRESSED_BYTES_MIN - 1),
        b"x" * COMPRESSED_BYTES_MIN,
        b"".join(line % i for i in range(40_000)),
    ):
        await exchange.app_send({"type": "websocket.send", "bytes": message})
        size = len(exchange.transport.written)
        assert size < len(message) / 3 if len(message) >= COMPRESSED_BYTES_MIN else size > len(message)
        assert data_of(exchange.pass_back()) == [message]
    await exchange.until_over()


async def test_a_client_that_offers_no_compression_gets_none() -> None:
    exchange = Exchange(None)
    response = await exchange.connect()
    assert "Sec-WebSocket-Extensions" not in response.headers
    await exchange.app_send({"type": "websocket.send", "bytes": b"x" * 10_000})
    assert len(exchange.transport.written) > 10_000
    assert data_of(exchange.pass_back()) == [b"x" * 10_000]
    await exchange.until_over()


async def test_what_inflates_to_much_is_inflated_as_the_app_takes_it(exchange: Exchange) -> None:
    await exchange.connect()
    await exchange.trust()
    bombs = 50
    for _ in range(bombs):  # a thousandth of their size on the wire, and all of them in one piece
        exchange.client.send_binary(bytes(MESSAGE_BYTES_MAX - 1))
    sent = b"".join(exchange.client.data_to_send())
    exchange.server.data_received(sent)
    assert len(sent) < bombs * MESSAGE_BYTES_MAX / 100
    assert not exchange.transport.reading
    held_max = 1032 * INFLATED_STEP_BYTES // MESSAGE_BYTES_MAX + 1  # deflate makes at most 1,032 bytes of one
    for _ in range(bombs):
        assert exchange.server.queue.qsize() <= held_max
        event = await exchange.app_receive()
        assert len(event["bytes"]) == MESSAGE_BYTES_MAX - 1
    assert exchange.transport.reading


async def test_a_message_above_the_limit_closes_the_connection(exchange: Exchange) -> None:
    await exchange.connect()
    await exchange.trust()
    exchange.client.send_binary(bytes(MESSAGE_BYTES_MAX + 1))
    exchange.pass_on()
    assert (await exchange.app_receive())["code"] == 1009
    assert exchange.transport.closing


async def test_a_first_message_is_short_until_the_app_asks_for_more(exchange: Exchange) -> None:
    """Nobody has shown a token yet, so that nobody may have more kept than SETUP can take."""
    await exchange.connect()
    exchange.client.send_binary(bytes(FIRST_MESSAGE_BYTES_MAX))
    exchange.pass_on()
    assert len((await exchange.app_receive())["bytes"]) == FIRST_MESSAGE_BYTES_MAX
    exchange.client.send_binary(bytes(FIRST_MESSAGE_BYTES_MAX + 1))
    exchange.pass_on()
    assert (await exchange.app_receive())["code"] == 1009
    assert exchange.transport.closing


async def test_a_message_in_too_many_pieces_is_cut(exchange: Exchange) -> None:
    await exchange.connect()
    exchange.client.send_binary(b"", fin=False)
    for _ in range(FRAGMENTS_MAX - 1):
        exchange.client.send_continuation(b"", fin=False)
    exchange.pass_on()
    assert not exchange.transport.aborted.is_set()
    exchange.client.send_continuation(b"", fin=True)
    exchange.pass_on()
    assert exchange.transport.aborted.is_set()


async def test_pings_are_answered_while_there_is_room_only(exchange: Exchange) -> None:
    await exchange.connect()
    exchange.client.send_ping(b"1")
    exchange.pass_on()
    assert [event.data for event in exchange.pass_back()] == [b"1"]
    exchange.server.pause_writing()
    exchange.client.send_ping(b"2")
    exchange.pass_on()
    assert exchange.pass_back() == []
    exchange.server.resume_writing()
    exchange.client.send_ping(b"3")
    exchange.pass_on()
    assert [event.data for event in exchange.pass_back()] == [b"3"]


async def test_messages_that_come_in_single_bytes_are_whole(exchange: Exchange) -> None:
    await exchange.connect()
    exchange.client.send_binary(b"one" * 500)
    exchange.client.send_binary(b"two")
    for byte in b"".join(exchange.client.data_to_send()):
        exchange.server.data_received(bytes([byte]))
    assert (await exchange.app_receive())["bytes"] == b"one" * 500
    assert (await exchange.app_receive())["bytes"] == b"two"


async def test_the_client_s_close_is_seen_behind_messages_that_nobody_took(exchange: Exchange) -> None:
    await exchange.connect()
    for _ in range(5):
        exchange.client.send_binary(b"x" * 3 * INFLATED_STEP_BYTES)
    exchange.client.send_close(1000)
    exchange.pass_on()
    await exchange.app_send({"type": "websocket.close", "code": 1001})
    assert exchange.transport.closing


async def test_a_client_that_does_not_take_what_is_left_is_cut(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINGER_S", 0.0)
    await exchange.connect()
    exchange.transport.unsent = 100_000
    await exchange.until_over()
    await asyncio.wait_for(exchange.transport.aborted.wait(), 5)


async def test_a_client_that_takes_nothing_is_cut_and_one_that_takes_little_is_not(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SEND_TIMEOUT_S", 0.02)
    await exchange.connect()
    transport = exchange.transport
    transport.unsent = 1000
    exchange.server.pause_writing()
    looks = 0

    def shrinking() -> int:
        nonlocal looks
        looks += 1
        if looks == 10:  # until then a little was taken each time
            exchange.server.resume_writing()
        return 1000 - looks

    with monkeypatch.context() as patched:
        patched.setattr(transport, "get_write_buffer_size", shrinking)
        await exchange.app_send({"type": "websocket.send", "bytes": b"slow"})
    assert not transport.aborted.is_set()
    assert data_of(exchange.pass_back()) == [b"slow"]
    exchange.server.pause_writing()
    with pytest.raises(OSError):
        await exchange.app_send({"type": "websocket.send", "bytes": b"never"})
    assert transport.aborted.is_set()
