"""Clients that send what they should not, or too much of it: each is told, and nobody else notices."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from syncline.api.limits import MESSAGES_IN_A_ROW_MAX
from syncline.protocol.rsocket.frames import (
    ErrorCode,
    Keepalive,
    Payload,
    encode_frame,
)
from syncline.protocol.rsocket.limits import RSocketLimits
from syncline.testing.waiting import eventually
from tests.unit.api.websocket_peer import connected
from tests.unit.api.world import World, running_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncGenerator[World]:
    async with running_world(tmp_path) as made:
        yield made


async def test_oversized_and_random_frames_leave_the_other_streams_alone(world: World) -> None:
    limits = RSocketLimits()
    peer, other = await connected(world), await connected(world)
    for each in (peer, other):
        each.requests(1)
        await each.until("checkpoint_complete")
    peer.requests(3)
    await peer.until("checkpoint_complete", stream_id=3)
    peer.sends(encode_frame(Payload(3, data=b"x" * limits.frame_bytes_max)))
    assert (await peer.until_error(3)).code == ErrorCode.INVALID
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    noise = random.Random(seed)
    for _ in range(50):  # of streams 5 to 255, of all types, cut anywhere
        kind = noise.randrange(4, 64)
        head = (0).to_bytes(3, "big") + bytes([noise.randrange(5, 256, 2)]) + (kind << 10).to_bytes(2, "big")
        peer.sends(head + noise.randbytes(noise.randrange(40)))
    await peer.until_answered()
    world.commit("a")
    for each in (peer, other):
        await each.until("checkpoint_complete", 2)
    peer.sends(noise.randbytes(5))  # no stream to refuse it on
    assert (await peer.until_error()).code == ErrorCode.CONNECTION_ERROR
    await peer.until_over()
    world.commit("b")
    await other.until("checkpoint_complete", 3)


async def test_a_flood_of_messages_leaves_room_for_others(world: World) -> None:
    peer = await connected(world)
    peer.requests(1, 0)
    await peer.until_answered()
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    other = asyncio.create_task(take_turns())
    for _ in range(20 * MESSAGES_IN_A_ROW_MAX):
        peer.asks_for(0)
    peer.leaves()
    await peer.until_over()
    other.cancel()
    assert turns >= 20


async def test_text_messages_end_the_connection(world: World) -> None:
    peer = await connected(world)
    peer.sends_text("hello")
    assert (await peer.until_error()).code == ErrorCode.CONNECTION_ERROR
    await peer.until_over()
    assert peer.close_code == 1003


async def test_keepalives_are_answered_while_a_stream_waits(world: World) -> None:
    peer = await connected(world)
    peer.requests(1, 0)
    peer.sends(Keepalive(respond=True, data=b"there?"))
    await eventually(lambda: Keepalive(respond=False, data=b"there?") in peer.frames)
