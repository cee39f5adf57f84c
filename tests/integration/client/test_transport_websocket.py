"""The WebSocket transport by itself: what it says over the wire, and what it makes of what comes."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator
from typing import Any

import bson
import pytest

from syncline.client.connector import Credentials
from syncline.client.errors import AuthFailed, ConnectionFailed, ServiceError
from syncline.client.transport.base import TransportLimits
from syncline.client.transport.choice import make_transport
from syncline.client.transport.websocket import WebSocketTransport
from syncline.errors import RemoteProtocolError
from syncline.protocol.lines import Checkpoint, decode_line
from syncline.protocol.requests import StreamRequest
from syncline.protocol.rsocket.client_connection import LINES_AHEAD
from syncline.protocol.rsocket.frames import (
    Cancel,
    Keepalive,
    Payload,
    RequestN,
    Setup,
    encode_frame,
)
from syncline.testing.waiting import eventually
from tests.support.scripted_service import bucket, checkpoint, complete, data, put
from tests.support.scripted_websocket import ScriptedWebSocket, serve_websocket

OPS = [put(i, "lists", f"l{i}", name=f"List {i}") for i in range(1, 4)]
WHOLE = [checkpoint(3, bucket("1#a[]", OPS)), data("1#a[]", OPS), complete(3)]
DEADLINE_S = 10.0
REQUEST = StreamRequest(client_id="c-1", raw_data=True)


@pytest.fixture
async def service() -> AsyncGenerator[ScriptedWebSocket]:
    async with serve_websocket() as running:
        running.lines = WHOLE
        yield running


@contextlib.asynccontextmanager
async def transport(limits: TransportLimits | None = None, **options: Any) -> AsyncGenerator[WebSocketTransport]:
    made = WebSocketTransport(limits, **options)
    try:
        yield made
    finally:
        await made.close()


def credentials(service: ScriptedWebSocket) -> Credentials:
    return Credentials(service.url + "/", "jwt")


async def first_lines(service: ScriptedWebSocket, count: int, **options: Any) -> list[Any]:
    """So many lines of a new stream, decoded."""
    found: list[Any] = []
    async with (
        asyncio.timeout(DEADLINE_S),
        transport(**options) as made,
        made.stream(REQUEST, credentials(service)) as arriving,
    ):
        async for texts in arriving:
            found += [decode_line(text) for text in texts]
            if len(found) >= count:
                break
    return found


async def read_all(made: WebSocketTransport, service: ScriptedWebSocket, *, then_cut: bool = False) -> None:
    async with made.stream(REQUEST, credentials(service)) as arriving:
        if then_cut:
            await service.end(complete=False)
        async for _ in arriving:
            pass


async def test_a_stream_is_asked_for_and_read_as_the_protocol_has_it(service: ScriptedWebSocket) -> None:
    lines = await first_lines(service, 3)
    assert isinstance(lines[0], Checkpoint)
    assert [entry.object_id for entry in lines[1].data] == ["l1", "l2", "l3"]
    [setup] = service.frames_of(Setup)
    assert (setup.major, setup.minor, setup.keepalive_ms, setup.lifetime_ms) == (1, 0, 5_000, 90_000)
    assert (setup.metadata_mime_type, setup.data_mime_type) == ("application/json", "application/json")
    metadata = json.loads(setup.metadata)
    assert metadata["token"] == "Token jwt"
    assert metadata["user_agent"].startswith("syncline-python/")
    assert service.requests == [{"client_id": "c-1", "raw_data": True}]
    assert "authorization" not in service.headers[0]  # the token travels inside
    await eventually(lambda: service.frames_of(Cancel))
    await eventually(lambda: not service.open_streams)


async def test_lines_are_asked_for_a_few_at_a_time(service: ScriptedWebSocket) -> None:
    service.lines = [{"token_expires_in": n} for n in range(100, 200)]
    async with transport() as made, made.stream(REQUEST, credentials(service)) as arriving:
        await eventually(lambda: service.lines_sent == LINES_AHEAD)
        taken = 0
        async for texts in arriving:
            taken += len(texts)
            assert service.lines_sent <= service.lines_allowed <= taken + LINES_AHEAD
            if taken == 100:
                break
    assert len(service.frames_of(RequestN)) >= 100 / LINES_AHEAD


@pytest.mark.parametrize("fragment_bytes", [7, 400])
async def test_a_line_in_fragments_is_put_together(service: ScriptedWebSocket, fragment_bytes: int) -> None:
    service.fragment_bytes = fragment_bytes
    assert [type(line).__name__ for line in await first_lines(service, 3)] == [
        "Checkpoint",
        "DataBatch",
        "CheckpointComplete",
    ]


async def test_compression_is_offered_on_request(service: ScriptedWebSocket) -> None:
    await first_lines(service, 3, compression=True)
    await first_lines(service, 3)
    assert "permessage-deflate" in service.headers[0]["sec-websocket-extensions"]
    assert "sec-websocket-extensions" not in service.headers[1]  # this machine: it would cost more than it saves


async def test_the_regular_end_of_a_stream_ends_the_lines(service: ScriptedWebSocket) -> None:
    async with transport() as made, made.stream(REQUEST, credentials(service)) as arriving:
        await eventually(lambda: service.lines_sent == 3)
        await service.end()
        assert len([texts async for texts in arriving]) == 3


async def test_a_socket_that_closes_without_a_word_is_a_failed_connection(service: ScriptedWebSocket) -> None:
    async with transport() as made:
        with pytest.raises(ConnectionFailed, match="closed the WebSocket"):
            await read_all(made, service, then_cut=True)


@pytest.mark.parametrize(
    ("text", "kind", "code"),
    [
        ("[PSYNC_S2103] JWT has expired", AuthFailed, "PSYNC_S2103"),
        ("no", AuthFailed, None),
        ("[PSYNC_S2304] Too many connections", ServiceError, "PSYNC_S2304"),
    ],
)
async def test_a_refused_setup_says_whether_the_token_is_to_blame(
    service: ScriptedWebSocket, text: str, kind: type[ServiceError], code: str | None
) -> None:
    service.refuse_setup = [text]
    with pytest.raises(ServiceError) as caught:
        await first_lines(service, 1)
    assert type(caught.value) is kind
    assert caught.value.error_code == (code or "SYNCLINE_CLIENT")


async def test_a_failed_stream_has_the_code_of_the_service(service: ScriptedWebSocket) -> None:
    service.fail = ["[PSYNC_S2001] Failed\n[PSYNC_S2305] Too many buckets: 1001"]
    with pytest.raises(ServiceError, match="Too many buckets") as caught:
        await first_lines(service, 1)
    assert not isinstance(caught.value, AuthFailed)


@pytest.mark.requirement(8)
async def test_an_endpoint_without_websockets_is_told_as_over_http(service: ScriptedWebSocket) -> None:
    service.refuse_upgrade = [404, 502]
    with pytest.raises(ServiceError, match="HTTP 404") as caught:
        await first_lines(service, 1)
    assert "not of your backend" in caught.value.hint
    with pytest.raises(ServiceError, match="HTTP 502") as caught:
        await first_lines(service, 1)
    assert "proxy or gateway" in caught.value.hint


async def test_signs_of_life_go_both_ways(service: ScriptedWebSocket) -> None:
    service.asks_for_life = True
    async with transport(keepalive_s=0.02) as made, made.stream(REQUEST, credentials(service)) as arriving:
        await anext(aiter(arriving))
        await eventually(lambda: len(service.frames_of(Keepalive)) >= 4)
    answers = [frame for frame in service.frames_of(Keepalive) if not frame.respond]
    assert [frame.data for frame in answers] == [b"alive?"]


async def test_silence_ends_the_stream(service: ScriptedWebSocket) -> None:
    service.echoes = False
    limits = TransportLimits(read_idle_timeout_s=0.1, overdue_s=None)
    async with transport(limits) as made:
        with pytest.raises(ConnectionFailed, match="in time"):
            await read_all(made, service)


async def test_a_service_that_does_not_hear_us_is_given_up_and_waited_for_longer(service: ScriptedWebSocket) -> None:
    service.echoes = False
    limits = TransportLimits(overdue_s=0.05)
    async with transport(limits, keepalive_s=0.01) as made:
        waited: list[float] = []
        for _ in range(3):
            started = asyncio.get_running_loop().time()
            with pytest.raises(ConnectionFailed, match="does not hear us"):
                await read_all(made, service)
            waited.append(asyncio.get_running_loop().time() - started)
    assert waited[1] >= 0.1
    assert waited[2] >= 0.2


async def test_a_service_that_never_answers_the_request_is_given_up(service: ScriptedWebSocket) -> None:
    service.lines = []
    async with transport(TransportLimits(response_timeout_s=0.1)) as made:
        with pytest.raises(ConnectionFailed, match="in time"):
            async with made.stream(REQUEST, credentials(service)):
                pass


@pytest.mark.parametrize("fragment_bytes", [None, 1000], ids=["whole", "in fragments"])
async def test_a_line_too_long_is_refused(service: ScriptedWebSocket, fragment_bytes: int | None) -> None:
    service.fragment_bytes = fragment_bytes
    service.lines = [data("1#a[]", [put(1, "lists", "l1", name="x" * 5000)])]
    with pytest.raises(RemoteProtocolError, match="longer than 4096 bytes"):
        await first_lines(service, 1, limits=TransportLimits(line_bytes_max=4096))


async def test_messages_that_are_no_frames_of_a_service_are_refused(service: ScriptedWebSocket) -> None:
    for raw, match in (("text", "binary"), (b"\0", "at least"), (encode_frame(Cancel(1)), "client's side")):
        service.raw = [raw]
        with pytest.raises(RemoteProtocolError, match=match):
            await first_lines(service, 1)


async def test_payloads_for_nobody_are_ignored(service: ScriptedWebSocket) -> None:
    service.raw = [encode_frame(Payload(3, data=bson.encode({"checkpoint": 5}), next=True))]
    assert isinstance((await first_lines(service, 1))[0], Checkpoint)


def test_a_transport_is_chosen_by_its_name() -> None:
    made = make_transport("websocket", limits=TransportLimits(read_idle_timeout_s=5))
    assert isinstance(made, WebSocketTransport)
    assert make_transport(made) is made
    with pytest.raises(ValueError, match="'http', 'websocket', 'polling'"):
        make_transport("carrier pigeon")  # pyright: ignore[reportArgumentType]  # wrong on purpose
