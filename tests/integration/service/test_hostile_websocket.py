"""What comes over WebSockets from those who mean no good: each is told with its code or cut, and nobody else notices."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import pytest
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.uri import parse_uri

from syncline.protocol.rsocket.frames import (
    ErrorCode,
    FrameType,
    Keepalive,
    Payload,
    Request,
    RequestN,
    Setup,
    encode_frame,
)
from syncline.protocol.rsocket.limits import RSocketLimits
from syncline.service.websocket_protocol import FIRST_MESSAGE_BYTES_MAX
from syncline.service.wiring import WEBSOCKET_MESSAGE_BYTES_MAX
from syncline.testing.service_process import token
from syncline.testing.waiting import eventually
from tests.integration.service.hostile import Attacked, base64url, resident_mib
from tests.support.rsocket_clients import RawPeer, raw_peer

JSON = "application/json"
ROUTE = b'{"path":"/sync/stream"}'
LIMITS = RSocketLimits()
ALL_LINES = 2**31 - 1
CONNECTIONS = 100
MIB = 1024 * 1024


@pytest.fixture(autouse=True)
async def unharmed(attacked: Attacked) -> AsyncGenerator[None]:
    """Around each test: a healthy stream over HTTP and one over a WebSocket, the process's memory, no traceback."""
    async with attacked.unharmed(), raw_peer(attacked.base_url) as healthy:
        await healthy.set_up(token("healthy"))
        await healthy.request(1, ALL_LINES)
        await healthy.until(1, "checkpoint_complete")
        complete = sum("checkpoint_complete" in line for line in healthy.lines(1))
        yield
        attacked.insert()
        await healthy.until(1, "checkpoint_complete", complete + 1)


def setup_frame(bearer: str = "", *, metadata: bytes | None = None) -> bytes:
    told = json.dumps({"token": f"Token {bearer or token('attacker')}"}).encode()
    return encode_frame(Setup(20_000, 90_000, JSON, JSON, told if metadata is None else metadata))


def request_frame(body: object = None, *, stream_id: int = 1, metadata: bytes = ROUTE) -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body or {"raw_data": True}).encode()
    return encode_frame(Request(stream_id, FrameType.REQUEST_STREAM, ALL_LINES, metadata, data))


@asynccontextmanager
async def set_up_peer(attacked: Attacked) -> AsyncGenerator[RawPeer]:
    async with raw_peer(attacked.base_url) as peer:
        await peer.set_up(token("attacker"))
        yield peer


# SETUP


@pytest.mark.parametrize(
    ("bearer", "code"),
    [
        (lambda: token("x", lifetime_s=-200), "PSYNC_S2103"),
        (lambda: token("x", audience="others"), "PSYNC_S2105"),
        (lambda: token("x", lifetime_s=10**6), "PSYNC_S2104"),
        (lambda: "junk", "PSYNC_S2101"),
        (lambda: f'{base64url(b"""{"alg":"none"}""")}.{token("x").split(".")[1]}.', "PSYNC_S2101"),
    ],
)
async def test_a_bad_token_in_setup_is_refused_with_its_code(attacked: Attacked, bearer: Any, code: str) -> None:
    async with raw_peer(attacked.base_url) as peer:
        await peer.send(setup_frame(bearer()))
        error = await peer.until_error(0)
        assert (error.code, error.message[:13]) == (ErrorCode.REJECTED_SETUP, f"[{code}]")
        await peer.until_closed()


@pytest.mark.parametrize(
    "metadata",
    [
        b"",
        b"{",
        b"7",
        b"[]",
        b"\xff\xfe",
        b'{"token": 7}',
        b'{"token": ["Token x"]}',
        b'{"token": null}',
        b"[" * 100_000,
    ],
)
async def test_setups_that_cannot_be_read_are_refused(attacked: Attacked, metadata: bytes) -> None:
    async with raw_peer(attacked.base_url) as peer:
        await peer.send(setup_frame(metadata=metadata))
        assert (await peer.until_error(0)).message.startswith("[PSYNC_S2")
        await peer.until_closed()


async def test_a_setup_that_is_cut_anywhere_is_refused(attacked: Attacked) -> None:
    whole = setup_frame()
    cuts = [*range(40), *range(40, len(whole), 10)]

    async def refused(cut: int) -> None:
        async with raw_peer(attacked.base_url) as peer:
            await peer.send(whole[:cut])
            error = await peer.until_error(0)
            assert error.code < ErrorCode.APPLICATION_ERROR or error.message.startswith("[PSYNC_S2"), cut
            await peer.until_closed()

    for start in range(0, len(cuts), 10):
        await asyncio.gather(*map(refused, cuts[start : start + 10]))


async def test_random_and_changed_setups_are_refused_or_harmless(attacked: Attacked) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    noise = random.Random(seed)
    whole = setup_frame()

    async def attack(text: bytes) -> None:
        async with raw_peer(attacked.base_url) as peer:
            await peer.send(text)
            await peer.send(request_frame())
            # Refused and closed, or a change that says the same: then the stream is served.
            await eventually(lambda: peer.error(0) or peer.error(1) or peer.lines(1) or peer.socket.closed)

    for _ in range(60):
        changed = bytearray(whole)
        for _ in range(noise.randrange(1, 4)):
            changed[noise.randrange(len(changed))] = noise.randrange(256)
        await attack(bytes(changed))


async def test_whoever_says_nothing_or_half_of_something_is_cut_in_time(attacked: Attacked) -> None:
    async with AsyncExitStack() as stack:
        silent = [await stack.enter_async_context(raw_peer(attacked.base_url)) for _ in range(20)]
        began_s = time.monotonic()
        for peer in silent[:10]:
            await peer.send(b"")
        reader, writer = await asyncio.open_connection("127.0.0.1", attacked.process.port)
        stack.callback(writer.close)
        writer.write(b"GET /sync/stream HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n")
        await writer.drain()
        await asyncio.gather(*(peer.until_closed() for peer in silent))
        assert b" 408 " in await reader.read()
        assert time.monotonic() - began_s < LIMITS.setup_timeout_s + 20


# Before the token: nothing large is kept


class Bomber:
    """A client that sends compressed zeros, a thousandth of their size, and never the end of its message."""

    def __init__(self, writer: asyncio.StreamWriter, reader: asyncio.StreamReader, port: int) -> None:
        self.reader, self.writer = reader, writer
        self.protocol = ClientProtocol(
            parse_uri(f"ws://127.0.0.1:{port}/sync/stream"),
            extensions=[ClientPerMessageDeflateFactory()],
            max_size=None,
        )

    async def connect(self) -> None:
        self.protocol.send_request(self.protocol.connect())
        await self.flush()
        self.protocol.receive_data(await self.reader.readuntil(b"\r\n\r\n"))
        assert self.protocol.handshake_exc is None

    async def flush(self) -> None:
        self.writer.write(b"".join(self.protocol.data_to_send()))
        await self.writer.drain()


@asynccontextmanager
async def bomber(attacked: Attacked) -> AsyncGenerator[Bomber]:
    port = attacked.process.port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    made = Bomber(writer, reader, port)
    try:
        await made.connect()
        yield made
    finally:
        writer.close()


async def test_bombs_before_a_token_was_shown_take_no_room(attacked: Attacked) -> None:
    """Each connection could else have WEBSOCKET_MESSAGE_BYTES_MAX inflated, from 8 KB that it sends."""
    async with AsyncExitStack() as stack:
        bombers = [await stack.enter_async_context(bomber(attacked)) for _ in range(CONNECTIONS)]
        for each in bombers:
            each.protocol.send_binary(bytes(WEBSOCKET_MESSAGE_BYTES_MAX - 1000), fin=False)
            await each.flush()
        for each in bombers:
            async with asyncio.timeout(20):
                text = await each.reader.read()
            assert (1009).to_bytes(2, "big") in text, "too big"
    assert CONNECTIONS * FIRST_MESSAGE_BYTES_MAX < 150 * MIB, "what they could have kept"


async def test_a_message_in_endless_empty_pieces_is_cut(attacked: Attacked) -> None:
    async with bomber(attacked) as each:
        each.protocol.send_binary(b"", fin=False)
        with pytest.raises(OSError):  # noqa: PT012 - which of them fails first is the network's
            for _ in range(1000):
                for _ in range(100):
                    each.protocol.send_continuation(b"", fin=False)
                await each.flush()
                if each.reader.at_eof():
                    raise ConnectionResetError


async def test_pings_of_a_client_that_reads_nothing_take_no_room(attacked: Attacked) -> None:
    pings, part = 300_000, 10_000  # whose answers would be 38 MiB
    async with set_up_peer(attacked) as peer, bomber(attacked) as each:
        each.protocol.send_binary(setup_frame())
        await each.flush()
        each.protocol.send_ping(b"x" * 125)
        [ping] = each.protocol.data_to_send()
        before_mib = resident_mib(attacked.process.pid)
        for _ in range(pings // part):
            each.writer.write(ping * part)
            await each.writer.drain()
        await peer.send(Keepalive(respond=True, data=b"?"))
        await eventually(lambda: any(isinstance(frame, Keepalive) for frame in peer.frames), timeout_s=60)
        assert resident_mib(attacked.process.pid) - before_mib < 20


# Requests


@pytest.mark.parametrize(
    "body",
    [
        {"streams": {"subscriptions": [{"stream": "mine", "parameters": None, "override_priority": None}] * 10_000}},
        {"buckets": [{"name": "b", "after": "9" * 5000}]},
        {"buckets": {}},
        {"client_id": 7},
        {"client_id": "x" * 2000},
        {"parameters": []},
        {"raw_data": "yes"},
        {"streams": []},
        b"{",
        b"\xff\xfe",
        b'{"client_id": "\xff"}',
        b'{"buckets":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"unknown":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}",
    ],
)
async def test_a_wrong_request_costs_its_stream_only(attacked: Attacked, body: object) -> None:
    async with set_up_peer(attacked) as peer:
        await peer.request(1, ALL_LINES)
        await peer.until(1, "checkpoint_complete")
        await peer.send(request_frame(body, stream_id=3))
        assert (await peer.until_error(3)).message.startswith("[PSYNC_S2001]")
        assert peer.error(0) is None
        await peer.request(5, ALL_LINES)
        await peer.until(5, "checkpoint_complete")


@pytest.mark.parametrize("metadata", [b"", b"{", b"7", b'{"path": 7}', b'{"path": "/other"}', b"[" * 100_000, b"\xff"])
async def test_a_request_to_nowhere_costs_its_stream_only(attacked: Attacked, metadata: bytes) -> None:
    async with set_up_peer(attacked) as peer:
        await peer.send(request_frame(stream_id=1, metadata=metadata))
        assert (await peer.until_error(1)).message.startswith("[PSYNC_S2")
        await peer.request(3, ALL_LINES)
        await peer.until(3, "checkpoint_complete")


async def test_frames_that_are_cut_or_changed_anywhere_never_end_the_process(attacked: Attacked) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    noise = random.Random(seed)
    frames = [
        request_frame(stream_id=3),
        encode_frame(RequestN(1, 5)),
        encode_frame(Payload(3, data=b"more", next=True)),
        encode_frame(Keepalive(respond=True, data=b"there?")),
        setup_frame(),
    ]
    for _ in range(60):
        async with set_up_peer(attacked) as peer:
            await peer.request(1, 1)
            await peer.until(1, "checkpoint")
            for _ in range(20):
                frame = bytearray(noise.choice(frames))
                if noise.random() < 0.5:
                    frame = frame[: noise.randrange(len(frame))]
                else:
                    frame[noise.randrange(len(frame))] = noise.randrange(256)
                if peer.socket.closed:
                    break
                try:
                    await peer.send(bytes(frame))
                except (aiohttp.ClientConnectionError, ConnectionError):
                    break


async def test_a_flood_of_requests_is_refused_and_then_closed(attacked: Attacked) -> None:
    async with set_up_peer(attacked) as peer:
        try:
            for number in range(10_000):
                await peer.send(request_frame(stream_id=2 * number + 1))
        except (aiohttp.ClientConnectionError, ConnectionError):
            pass
        await peer.until_closed()
        opened = {frame.stream_id for frame in peer.frames if isinstance(frame, Payload)}
        assert len(opened) <= LIMITS.streams_max


async def test_fragments_without_end_are_refused(attacked: Attacked) -> None:
    """A request in fragments may be as large as one in a piece, over all streams of the connection."""
    part = b"x" * (MIB // 2)
    async with set_up_peer(attacked) as peer:
        first = Request(1, FrameType.REQUEST_STREAM, ALL_LINES, ROUTE, part, follows=True)
        await peer.send(first)
        try:
            for _ in range(100):
                await peer.send(Payload(1, data=part, next=True, follows=True))
        except (aiohttp.ClientConnectionError, ConnectionError):
            pass
        await eventually(lambda: peer.error(1) or peer.error(0) or peer.socket.closed)


async def test_two_hundred_bad_setups_at_once_leave_no_place_taken(attacked: Attacked) -> None:
    async def attack(number: int) -> None:
        async with raw_peer(attacked.base_url) as peer:
            await peer.send(setup_frame("junk") if number % 2 else b"\0" * number)
            await peer.until_closed()

    for start in range(0, 200, 50):
        await asyncio.gather(*(attack(number) for number in range(start, start + 50)))
    async with set_up_peer(attacked) as peer:
        await peer.request(1, ALL_LINES)
        await peer.until(1, "checkpoint_complete")
