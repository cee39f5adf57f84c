"""What comes over HTTP from those who mean no good: each is refused with its code, and nobody else notices."""

from __future__ import annotations

import asyncio
import io
import json
import random
import socket
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import pytest

from syncline.api.limits import BODIES_BYTES_MAX, BODY_BYTES_MAX
from syncline.protocol.requests import (
    BucketPosition,
    StreamRequest,
    StreamsRequest,
    StreamSubscription,
)
from syncline.service.http_protocol import HEAD_BYTES_MAX, HEAD_TIMEOUT_S, LINGER_BYTES_MAX, REQUEST_BYTES_MAX
from syncline.testing.service_process import token
from syncline.testing.waiting import eventually
from tests.integration.service.hostile import Attacked

INVALID = (400, "PSYNC_S2001")
TOO_LARGE = (413, "PSYNC_S2001")
TOKENS = 1000
MIB = 1024 * 1024


pytestmark = pytest.mark.usefixtures("unharmed")


# Fields


def wrong_values(kind: type[msgspec.Struct]) -> list[dict[str, Any]]:
    """For each field of the type, objects in which only that field is of a wrong type."""
    made: list[dict[str, Any]] = []
    values: list[Any] = [7, 1.5, True, "text", [1], {"a": 1}, [[]], {"a": {}}, None]
    for field in msgspec.structs.fields(kind):
        for value in values:
            try:
                msgspec.convert(value, field.type, strict=True)
            except msgspec.ValidationError:
                made.append({field.name: value})
    return made


def wrong_bodies() -> list[dict[str, Any]]:
    bodies = wrong_values(StreamRequest)
    bodies += [{"buckets": [{"name": "b", "after": "0"} | wrong]} for wrong in wrong_values(BucketPosition)]
    bodies += [{"streams": wrong} for wrong in wrong_values(StreamsRequest)]
    whole: dict[str, Any] = {"stream": "mine", "parameters": None, "override_priority": None}
    bodies += [{"streams": {"subscriptions": [whole | wrong]}} for wrong in wrong_values(StreamSubscription)]
    return bodies


async def test_a_field_of_a_wrong_type_is_named(attacked: Attacked) -> None:
    bodies = wrong_bodies()
    touched = {name for body in bodies for name in body}
    assert touched == {field.name for field in msgspec.structs.fields(StreamRequest)}, "every field has wrong values"
    answers = {json.dumps(body): await attacked.ask(body) for body in bodies}
    assert {body: answer for body, answer in answers.items() if answer != INVALID} == {}


@pytest.mark.parametrize("after", ["-1", "", "x", "9" * 5000, "٣", "1e3", " 1", "0x1"])
async def test_a_position_that_is_no_op_id_is_refused(attacked: Attacked, after: str) -> None:
    assert await attacked.ask({"buckets": [{"name": "b", "after": after}]}) == INVALID


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"raw_data": tru',
        b"\x00" * 100,
        b'{"client_id": "\xff\xfe"}',
        b'{"client_id": "a" "b"}',
        b'{"parameters": {"a": NaN}}',
        b'{"parameters": {"a": 1e999999}}',
        b"nonsense",
        b'"text"',
        b"7",
        b'{"client_id": "' + b"x" * 1025 + b'"}',
        b'{"streams": {"subscriptions": [{"stream": "mine", "parameters": null, "override_priority": 4}]}}',
    ],
)
async def test_what_is_no_request_is_refused(attacked: Attacked, body: bytes) -> None:
    assert await attacked.ask(body) == INVALID


async def test_odd_texts_and_numbers_that_are_json_harm_nobody(attacked: Attacked) -> None:
    """Half characters, line ends, large numbers: what is no text is refused, the rest is served or refused, by no bug."""
    for value in (r'"\ud800"', r'"a\u0000b\nc"', "1" * 400, "-1e308", '"' + "é" * 100_000 + '"'):
        body = f'{{"client_id": "c", "app_metadata": {{"a": "b"}}, "parameters": {{"name": {{"of": {value}}}}}}}'
        status, code = await attacked.ask(body.encode())
        assert (status, code) in {(200, ""), INVALID}, value
    for client_id in (r"\ud800", r"a\nb\u0000c\u001b[31m"):
        assert (await attacked.ask(b'{"client_id": "%s"}' % client_id.encode()))[0] in (200, 400)


@pytest.mark.parametrize("depth", [10, 200, 1000, 100_000])
@pytest.mark.parametrize("field", ["parameters", "buckets", "unknown"])
async def test_deep_json_is_refused_or_harmless(attacked: Attacked, field: str, depth: int) -> None:
    for opening, closing in (("[", "]"), ('{"of":', "}")):
        body = f'{{"{field}":{{"name":{opening * depth}1{closing * depth}}}}}'.encode()
        status, code = await attacked.ask(body)
        assert (
            (status, code) == INVALID
            if field == "buckets" or depth == 100_000
            else (status, code) in {(200, ""), INVALID}
        )


async def test_ten_thousand_subscriptions_are_refused(attacked: Attacked) -> None:
    each = {"stream": "named", "parameters": {"name": "x"}, "override_priority": None}
    assert await attacked.ask({"streams": {"subscriptions": [each] * 10_000}}) == INVALID
    distinct = [each | {"parameters": {"name": f"n{number}"}} for number in range(1000)]
    status, code = await attacked.ask({"streams": {"subscriptions": distinct}})
    assert (status, code) == (500, "PSYNC_S2305"), "a thousand are allowed, the buckets of which are too many"


async def test_as_many_positions_as_a_body_holds_are_looked_at_once(attacked: Attacked) -> None:
    positions = [{"name": f"b{number}"} for number in range(200_000)]
    for _ in range(3):
        assert await attacked.ask({"buckets": positions}) == (200, "")


# Bodies


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_above_the_limit_is_refused(attacked: Attacked, chunked: bool) -> None:
    async def parts() -> AsyncGenerator[bytes]:
        for _ in range(BODY_BYTES_MAX // MIB + 1):
            yield b" " * MIB

    body: Any = parts() if chunked else io.BytesIO(b" " * (BODY_BYTES_MAX + 1))
    headers = {"authorization": f"Token {token('attacker')}"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{attacked.base_url}/sync/stream", data=body, headers=headers) as response,
    ):
        assert (response.status, (await response.json())["error"]["code"]) == TOO_LARGE


async def test_a_body_without_end_is_cut(attacked: Attacked) -> None:
    async with connection(attacked) as peer:
        await peer.send(b"POST /sync/stream HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        sent = 0
        limit = REQUEST_BYTES_MAX + LINGER_BYTES_MAX + 16 * MIB  # and what sockets hold
        while sent < limit and await peer.send(b"10000\r\n" + b" " * 0x10000 + b"\r\n"):
            sent += 0x10000
        assert sent < limit
        assert b" 413 " in await peer.received()


async def test_bodies_that_never_come_to_an_end_take_a_bounded_room(attacked: Attacked) -> None:
    """Anybody can send one, for fields are checked before tokens."""
    count = 2 * BODIES_BYTES_MAX // BODY_BYTES_MAX
    size = BODY_BYTES_MAX - 1000
    head = b"POST /sync/stream HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % BODY_BYTES_MAX
    async with asyncio.TaskGroup() as tasks:
        peers = [tasks.create_task(open_connection(attacked)) for _ in range(count)]
    try:
        await asyncio.gather(*(peer.result().send(head + b" " * size) for peer in peers))
        kept_max = BODIES_BYTES_MAX // size + 1
        await eventually(
            lambda: sum(b" 429 " in peer.result().now() for peer in peers) >= count - kept_max, timeout_s=30
        )
        assert await attacked.ask({}) == (200, ""), "small requests are served meanwhile"
    finally:
        for peer in peers:
            peer.result().close()


# Connections


class Peer:
    """A socket that says what it is told."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._text = bytearray()
        self.ended = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            while part := await self._reader.read(65536):
                self._text += part
        except OSError:
            pass
        self.ended.set()

    async def send(self, data: bytes) -> bool:
        """Whether it could be sent: False where the service has closed."""
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError:
            return False
        return not self.ended.is_set()

    def now(self) -> bytes:
        """What has come so far."""
        return bytes(self._text)

    async def received(self, *, within_s: float = 30.0) -> bytes:
        """All that came until the service closed."""
        async with asyncio.timeout(within_s):
            await self.ended.wait()
        return self.now()

    def half_close(self) -> None:
        self._writer.write_eof()

    def close(self) -> None:
        self._reading.cancel()
        self._writer.close()

    def reset(self) -> None:
        """Go with a RST."""
        raw = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self._reading.cancel()
        self._writer.transport.abort()


async def open_connection(attacked: Attacked) -> Peer:
    return Peer(*await asyncio.open_connection("127.0.0.1", attacked.process.port))


@asynccontextmanager
async def connection(attacked: Attacked) -> AsyncGenerator[Peer]:
    peer = await open_connection(attacked)
    try:
        yield peer
    finally:
        peer.close()


async def test_slow_heads_and_silent_connections_are_cut_in_time(attacked: Attacked) -> None:
    peers = [await open_connection(attacked) for _ in range(60)]
    silent, slow, half_open = peers[:20], peers[20:40], peers[40:]
    began_s = time.monotonic()
    for peer in half_open:
        peer.half_close()
    for peer in slow:
        await peer.send(b"GET /openapi.json HTTP/1.1\r\nx-slow: ")

    async def dribble(peer: Peer) -> None:
        while await peer.send(b"x"):  # noqa: ASYNC110 - slow on purpose
            await asyncio.sleep(0.2)

    async with asyncio.timeout(HEAD_TIMEOUT_S + 20):
        await asyncio.gather(*(dribble(peer) for peer in slow), *(peer.ended.wait() for peer in silent + half_open))
    assert time.monotonic() - began_s > HEAD_TIMEOUT_S - 1
    assert all(b" 408 " in peer.now() for peer in slow)
    assert all(peer.now() == b"" for peer in silent)
    for peer in peers:
        peer.close()


async def test_heads_without_end_are_refused(attacked: Attacked) -> None:
    for start, part in (
        (b"GET /openapi.json HTTP/1.1\r\nx-long: ", b"x" * 1000),
        (b"GET /openapi.json HTTP/1.1\r\n", b"x-many: 1\r\n" * 100),
        (b"GET /", b"x" * 1000),
    ):
        async with connection(attacked) as peer:
            await peer.send(start)
            sent = 0
            while sent < 100 * HEAD_BYTES_MAX and await peer.send(part):
                sent += len(part)
                await asyncio.sleep(0)
            answer = await peer.received()
            assert sent < 100 * HEAD_BYTES_MAX
            assert answer == b"" or b" 431 " in answer  # nothing where what was still under way reset the connection


async def test_a_kept_connection_serves_large_tokens_and_many_requests(attacked: Attacked) -> None:
    """The limits of a head are those of each request, and above the largest token's."""
    async with connection(attacked) as peer:
        for number in range(1, 6):
            bearer = b"x" * 60_000
            await peer.send(
                b"GET /write-checkpoint2.json HTTP/1.1\r\nhost: x\r\nauthorization: Token " + bearer + b"\r\n\r\n"
            )
            await eventually(lambda number=number: peer.now().count(b"PSYNC_S2101") == number)


async def test_random_bytes_and_ambiguous_requests_are_no_requests(attacked: Attacked) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    noise = random.Random(seed)
    texts = [noise.randbytes(noise.randrange(1, 2000)) + b"\r\n\r\n" for _ in range(100)]
    texts += [
        b"POST /sync/stream HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /sync/stream HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        b"POST /sync/stream HTTP/1.1\r\nhost: x\r\ncontent-length: -2\r\n\r\n{}",
        b"POST /sync/stream HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        b"GET /openapi.json HTTP/9.9\r\nhost: x\r\n\r\n",
    ]
    for text in texts:
        async with connection(attacked) as peer:
            await peer.send(text)
            peer.half_close()
            answer = await peer.received()
            assert b" 200 " not in answer.split(b"\r\n")[0]


async def test_streams_that_are_left_in_every_way_give_their_places_back(attacked: Attacked) -> None:
    """More than may be open at a time: whoever is gone, or has closed one side, holds no place."""
    body = b"{}"
    head = f"POST /sync/stream HTTP/1.1\r\nhost: x\r\nauthorization: Token {token('attacker')}\r\ncontent-length: 2\r\n\r\n"
    for leave in (Peer.reset, Peer.half_close, Peer.close):
        peers = [await open_connection(attacked) for _ in range(120)]
        for peer in peers:
            await peer.send(head.encode() + body)
        for peer in peers:
            await eventually(lambda peer=peer: b" 200 OK" in peer.now() or b" 429 " in peer.now(), timeout_s=30)
        assert any(b" 200 OK" in peer.now() for peer in peers)
        for peer in peers:
            leave(peer)
        await eventually(lambda: attacked.ask({}), timeout_s=30)
        for peer in peers:
            peer.close()
    assert await attacked.ask({}) == (200, "")
