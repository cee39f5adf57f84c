"""The recorded WebSocket conversation of the official client with the reference, played against `syncline start`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from syncline.protocol.rsocket.frames import (
    FrameType,
    Keepalive,
    Payload,
    Request,
    RequestN,
    Setup,
    decode_frame,
    encode_frame,
)
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.service_process import ServiceProcess, token
from syncline.testing.waiting import eventually
from tests.conformance.golden import check_conversation, segments
from tests.conformance.test_golden_wire import GOLDEN, LIST_1, play, request, steps_of_07
from tests.conformance.websocket_recording import Recording, read_recording
from tests.support.rsocket_clients import RawPeer, as_json, decode_bson, raw_peer

NEW_TODO = "22222222-0000-4000-8000-0000000000c1"
CATEGORIES = [f"DELETE FROM categories WHERE id = {row}" for row in (2, 3, 1)]


@pytest.fixture(scope="module")
def recording() -> Recording:
    return read_recording(GOLDEN / "40-websocket-rsocket.tcp.ndjson")


@pytest.fixture
def source(postgres_database: ScratchDatabase) -> ScratchDatabase:
    postgres_database.execute((GOLDEN / "golden-data.sql").read_text().replace("c_xml xml", "c_xml text"))
    return postgres_database


@pytest.fixture
def service(source: ScratchDatabase, tmp_path: Path) -> Generator[ServiceProcess]:
    config = (GOLDEN / "golden-streams.yaml").read_text()
    with ServiceProcess(tmp_path / "service", dsn=source.dsn, sync_config=config) as process:
        yield process


def test_the_recorded_client_frames_are_read_and_written_as_they_are(recording: Recording) -> None:
    setup, stream, *others = [decode_frame(message) for message in recording.from_client]
    assert isinstance(setup, Setup)
    assert (setup.major, setup.minor, setup.keepalive_ms, setup.lifetime_ms) == (1, 0, 20_000, 90_000)
    assert (setup.metadata_mime_type, setup.data_mime_type) == ("application/json", "application/json")
    assert setup.metadata is not None
    assert json.loads(setup.metadata)["token"].startswith("Token ")
    assert isinstance(stream, Request)
    assert (stream.kind, stream.initial_n, stream.metadata) == (
        FrameType.REQUEST_STREAM,
        10,
        b'{"path":"/sync/stream"}',
    )
    assert {type(frame) for frame in others} == {RequestN, Keepalive}
    for message in (*recording.from_client, *recording.from_server):
        assert encode_frame(decode_frame(message)) == message


def as_text(lines: list[dict[str, Any]], steps: list[str]) -> list[str]:
    """Lines as the other recordings have them, with a mark for the step that follows each complete line."""
    texts: list[str] = []
    waiting = list(steps)
    for line in lines:
        texts.append(json.dumps(line) + "\n")
        if "checkpoint_complete" in line and waiting:
            texts.append(f"# step: {waiting.pop(0)}\n")
    return texts


async def play_websocket(
    recording: Recording, service: ServiceProcess, client_id: str, steps: Sequence[Callable[[], object]]
) -> tuple[list[bytes], str]:
    """Send what the recorded client sent; what the service sends, and the head of its answer to the upgrade."""
    setup, stream = decode_frame(recording.from_client[0]), decode_frame(recording.from_client[1])
    assert isinstance(setup, Setup)
    assert isinstance(stream, Request)
    metadata = json.dumps({"token": f"Token {token('user1')}"}).encode()
    body = {**json.loads(stream.data), "client_id": client_id}
    async with raw_peer(service.base_url) as peer:
        await peer.send(replace(setup, metadata=metadata))
        await peer.send(replace(stream, data=json.dumps(body).encode()))
        asking = asyncio.create_task(_ask_for_one_more_at_each_line(peer))
        for times, step in enumerate([*steps, None], 1):
            await peer.until(1, "checkpoint_complete", times)
            if step is not None:
                await asyncio.to_thread(step)
        asking.cancel()
        await peer.send(next(message for message in recording.from_client if message[4:6] == b"\x0c\x80"))
        await eventually(lambda: any(isinstance(frame, Keepalive) for frame in peer.frames))
        return [encode_frame(frame) for frame in peer.frames], peer.response_headers["sec-websocket-extensions"]


async def _ask_for_one_more_at_each_line(peer: RawPeer) -> None:
    seen = 0
    while True:
        await eventually(lambda seen=seen: len(peer.frames) > seen, timeout_s=60)
        seen += 1
        await peer.send(RequestN(1, 1))


async def write_checkpoint(service: ServiceProcess, client_id: str) -> None:
    headers = {"authorization": f"Token {token('user1')}"}
    url = f"{service.base_url}/write-checkpoint2.json?client_id={client_id}"
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        assert response.status == 200


def lines_of(messages: list[bytes]) -> list[dict[str, Any]]:
    frames = [decode_frame(message) for message in messages]
    return [as_json(decode_bson(frame.data)) for frame in frames if isinstance(frame, Payload)]


@pytest.mark.requirement(187)
async def test_the_conversation_is_that_of_the_reference(
    recording: Recording, service: ServiceProcess, source: ScratchDatabase
) -> None:
    await play(service, request(), steps_of_07(source, service))  # the recording goes on from where that one ended
    for statement in (*CATEGORIES, "INSERT INTO categories (name) VALUES ('again')"):
        source.execute(statement)
    seen = await play(service, request(), [])
    while "AGAIN" not in "".join(seen):
        seen = await play(service, request(), [])

    steps = [
        lambda: asyncio.run(write_checkpoint(service, "ws")),
        lambda: source.execute(
            f"INSERT INTO todos (id, description, list_id) VALUES ('{NEW_TODO}', 'ws add', '{LIST_1}')"
        ),
    ]
    ours, extensions = await play_websocket(recording, service, "ws", steps)
    theirs = recording.from_server

    # Heads of frames: stream, type and flags. One line a frame, nothing else, but for the keepalive's echo, byte for byte.
    assert {message[:6] for message in ours} == {message[:6] for message in theirs}
    assert [m for m in ours if m[4] >> 2 == FrameType.KEEPALIVE] == [
        m for m in theirs if m[4] >> 2 == FrameType.KEEPALIVE
    ]
    assert "permessage-deflate" in extensions
    assert "permessage-deflate" in recording.response_head

    names = ["write checkpoint", "insert"]
    our_text, their_text = as_text(lines_of(ours), names), as_text(lines_of(theirs), names)
    check_conversation(our_text)
    check_conversation(their_text)
    _, their_dirty = segments(their_text)
    our_segments, our_dirty = segments(our_text, dirty_too=their_dirty)
    their_segments, _ = segments(their_text, dirty_too=our_dirty)
    assert [segment[0] for segment in our_segments] == [segment[0] for segment in their_segments]
    for our, their in zip(our_segments, their_segments, strict=True):
        assert our == their
