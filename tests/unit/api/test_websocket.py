from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, cast

import pytest

from syncline.api import websocket as websocket_module
from syncline.api import websocket_connection as connection_module
from syncline.api.stream_registry import StreamRegistry
from syncline.auth.verifier import VerifiedToken
from syncline.protocol.rsocket.frames import (
    Cancel,
    ErrorCode,
    FrameType,
    Request,
    Setup,
)
from syncline.protocol.rsocket.limits import RSocketLimits
from syncline.sync.limits import StreamLimits
from syncline.testing.waiting import eventually
from tests.unit.api.websocket_peer import BSON, JSON, WebSocketPeer, connected
from tests.unit.api.world import World, running_world, token


@pytest.fixture
async def world(tmp_path: Path) -> AsyncGenerator[World]:
    async with running_world(tmp_path) as made:
        yield made


# Streams


@pytest.mark.requirement(187)
@pytest.mark.parametrize("mime_type", [JSON, BSON])
async def test_an_open_stream_gets_changes_as_they_are_committed(world: World, mime_type: str) -> None:
    peer = WebSocketPeer(world, path="/any/path")
    peer.sets_up(mime_type=mime_type)
    peer.requests(1, 100, mime_type=mime_type, raw_data=True, client_id="c1", buckets=[{"name": "x", "after": "7"}])
    await peer.until("checkpoint_complete")
    world.commit("a", "b", data='{"id":"a"}')
    await peer.until("checkpoint_complete", 2)
    [data] = [line["data"] for line in peer.lines() if "data" in line]
    assert [(entry["object_id"], entry["data"]) for entry in data["data"]] == [("a", '{"id":"a"}'), ("b", '{"id":"a"}')]
    assert not any("token_expires_in" in line for line in peer.lines())
    peer.leaves()
    await peer.until_over()
    assert world.watcher.session_count == 0


async def test_row_data_is_text_whatever_the_client_says_of_raw_data(world: World) -> None:
    world.commit("a", data='{"id":"a"}')
    peer = await connected(world)
    peer.requests(1, 100, raw_data=False)
    await peer.until("checkpoint_complete")
    [data] = [line["data"] for line in peer.lines() if "data" in line]
    assert data["data"][0]["data"] == '{"id":"a"}'


async def test_a_client_that_asks_for_one_line_at_a_time_gets_one_at_a_time(world: World) -> None:
    world.commit("a")
    peer = await connected(world)
    peer.requests(1, 1)
    for count in range(1, 4):  # checkpoint, data, complete
        await peer.until_lines(count)
        await peer.until_answered()
        assert len(peer.lines()) == count
        peer.asks_for(1)
    world.commit("b")
    await peer.until_lines(4)  # the credit that was left
    await peer.until_answered()
    assert [next(iter(line)) for line in peer.lines()] == [
        "checkpoint",
        "data",
        "checkpoint_complete",
        "checkpoint_diff",
    ]


async def test_a_client_that_asks_for_nothing_gets_nothing_until_it_does(world: World) -> None:
    peer = await connected(world)
    peer.requests(1, 0)
    for row in range(20):
        world.commit(f"row{row}")
        await peer.until_answered()
    assert peer.lines() == []
    peer.asks_for(0)
    await peer.until_answered()
    assert peer.lines() == []
    peer.asks_for(1)
    await peer.until_lines(1)
    assert "checkpoint" in peer.lines()[0]
    peer.asks_for(2**31 - 1)  # all there are
    await peer.until("checkpoint_complete")
    entries = [entry["object_id"] for line in peer.lines() if "data" in line for entry in line["data"]["data"]]
    assert entries == [f"row{row}" for row in range(20)]


MARK = "of this test "  # what other tests left behind does not count


async def test_an_idle_stream_keeps_none_of_its_lines(world: World) -> None:
    world.commit(*(f"row{number}" for number in range(400)), data='{"id":"' + MARK * 200 + '"}')
    peer = await connected(world)
    peer.requests(1, 2**31 - 1)
    await peer.until("checkpoint_complete")
    await peer.until_answered()
    peer.frames.clear()
    gc.collect()
    lists: list[list[Any]] = [cast("list[Any]", thing) for thing in gc.get_objects() if isinstance(thing, list)]
    large = [each for each in lists if any(map(is_a_large_line, each))]
    assert large == []


def is_a_large_line(value: object) -> bool:
    return isinstance(value, bytes) and len(value) > 100_000 and MARK.encode() in value


async def test_a_cancelled_stream_ends_and_the_other_goes_on(world: World) -> None:
    peer = await connected(world)
    peer.requests(1, 100)
    peer.requests(3, 100)
    await peer.until("checkpoint_complete", stream_id=1)
    await peer.until("checkpoint_complete", stream_id=3)
    assert world.watcher.session_count == 2
    peer.sends(Cancel(1))
    await peer.until_answered()
    await eventually(lambda: world.watcher.session_count == 1)
    world.commit("a")
    await peer.until("checkpoint_complete", 2, stream_id=3)
    assert len(peer.lines(1)) == 2
    assert not peer.is_complete(1)
    assert peer.error(1) is None


async def test_streams_that_are_opened_and_cancelled_at_once_leave_nothing(world: World) -> None:
    peer = await connected(world)
    for stream_id in range(1, 201, 2):
        peer.requests(stream_id, 5)
        peer.sends(Cancel(stream_id))
    await peer.until_answered()
    await eventually(lambda: world.watcher.session_count == 0)
    peer.requests(201, 5)
    await peer.until("checkpoint_complete", stream_id=201)


async def test_the_user_agent_of_setup_comes_before_that_of_the_upgrade(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        peer = await connected(world)
        peer.requests()
        await peer.until("checkpoint_complete")
        peer.leaves()
        await peer.until_over()
    records: dict[str, Any] = {getattr(record, "event", ""): record for record in caplog.records}
    assert records["sync.open"].user_agent == "sdk/1"
    assert (records["sync.close"].close_reason, records["sync.close"].user_id) == ("client closing stream", "u1")


# Who may connect


@pytest.mark.requirement(110, 111)
@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ({"token": f"Token {token(lifetime_s=-100)}"}, "PSYNC_S2103"),
        ({"token": token()}, "PSYNC_S2106"),
        ({"user_agent": "x"}, "PSYNC_S2106"),
        ({"token": "Token x.y.z"}, "PSYNC_S2101"),
        (b"", "PSYNC_S2101"),
        (b"not json", "PSYNC_S2001"),
        ({"token": 7}, "PSYNC_S2001"),
    ],
)
async def test_a_refused_token_rejects_the_setup_with_its_code(world: World, metadata: object, code: str) -> None:
    peer = WebSocketPeer(world)
    peer.sets_up(metadata=metadata)
    peer.requests()
    error = await peer.until_error()
    assert error.code == ErrorCode.REJECTED_SETUP
    assert error.message.startswith(f"[{code}] ")
    assert "\n" not in error.message  # hints stay in the log
    await peer.until_over()
    assert peer.close_code == 1008
    assert peer.lines() == []


async def test_bearer_is_as_good_as_token(world: World) -> None:
    peer = WebSocketPeer(world)
    peer.sets_up(metadata={"token": f"Bearer {token()}"})
    peer.requests()
    await peer.until("checkpoint_complete")


async def test_other_types_than_json_and_bson_are_refused(world: World) -> None:
    peer = WebSocketPeer(world)
    peer.sends(Setup(20_000, 90_000, "message/x.rsocket.routing.v0", JSON, metadata=b"x"))
    error = await peer.until_error()
    assert (error.code, error.message[:13]) == (ErrorCode.REJECTED_SETUP, "[PSYNC_S2004]")


async def test_connections_above_the_limit_are_rejected_and_the_place_is_free_again(tmp_path: Path) -> None:
    async with running_world(tmp_path, limits=StreamLimits(connections_max=2)) as world:
        first, second = await connected(world), await connected(world)
        third = WebSocketPeer(world)
        third.sets_up()
        error = await third.until_error()
        assert (error.code, error.message[:13]) == (ErrorCode.REJECTED_SETUP, "[PSYNC_S2304]")
        first.leaves()
        await first.until_over()
        fourth = await connected(world)
        for peer in (second, fourth):
            peer.requests(1)
            await peer.until("checkpoint_complete")
        fourth.requests(3)  # a second stream needs a place of its own
        assert (await fourth.until_error(3)).message.startswith("[PSYNC_S2304]")
        over_http, _ = world.open_stream()
        await over_http.until("checkpoint_complete")  # counted apart


async def test_too_many_connections_without_a_token_are_not_upgraded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket_module, "SETUPS_MAX", 3)
    waiting = [WebSocketPeer(world) for _ in range(3)]
    for peer in waiting:
        await peer.accepted.wait()
    fourth = WebSocketPeer(world)
    await fourth.until_over()
    assert fourth.refused_status == 429
    waiting[0].sets_up()
    await waiting[0].until_answered()
    assert (await connected(world)).refused_status is None


async def test_a_connection_that_sends_no_setup_is_closed(tmp_path: Path) -> None:
    async with running_world(tmp_path) as world:
        world.websockets = websocket_module.WebSocketApp(
            world.streams._context, world.streams._verifier, RSocketLimits(setup_timeout_s=0.05)
        )
        world.app._websocket = world.websockets
        peer = WebSocketPeer(world)
        error = await peer.until_error()
        assert error.code == ErrorCode.INVALID_SETUP
        await peer.until_over()


# Errors of streams


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"path": "/other"}, "PSYNC_S2002"),
        ({"buckets": "x"}, "PSYNC_S2001"),
        ({"buckets": [{"name": "b", "after": "x"}]}, "PSYNC_S2001"),
    ],
)
async def test_a_request_that_cannot_be_served_is_an_error_of_its_stream(
    world: World, fields: dict[str, Any], code: str
) -> None:
    peer = await connected(world)
    peer.requests(1)
    peer.requests(3, **fields)
    error = await peer.until_error(3)
    assert (error.code, error.message[:13]) == (ErrorCode.APPLICATION_ERROR, f"[{code}]")
    await peer.until("checkpoint_complete", stream_id=1)


async def test_payloads_that_are_not_what_setup_declared_are_refused(world: World) -> None:
    peer = WebSocketPeer(world)
    peer.sets_up(mime_type=BSON)
    peer.requests(1, mime_type=JSON)
    assert (await peer.until_error(1)).message.startswith("[PSYNC_S2001]")
    peer.sends(Request(3, FrameType.REQUEST_STREAM, 1))
    assert (await peer.until_error(3)).message.startswith("[PSYNC_S2001]")


async def test_too_many_buckets_are_an_error_with_their_code(tmp_path: Path) -> None:
    async with running_world(tmp_path, limits=StreamLimits(buckets_max=0)) as world:
        peer = await connected(world)
        peer.requests()
        error = await peer.until_error(1)
        assert (error.code, error.message[:13]) == (ErrorCode.APPLICATION_ERROR, "[PSYNC_S2305]")


async def test_before_the_first_checkpoint_streams_are_refused(tmp_path: Path) -> None:
    async with running_world(tmp_path, active=False) as world:
        peer = await connected(world)
        peer.requests()
        assert (await peer.until_error(1)).message.startswith("[PSYNC_S2302]")


async def test_a_bug_is_told_without_its_details(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_args: object, **_options: object) -> None:
        raise KeyError("secret detail")

    peer = await connected(world)
    monkeypatch.setattr(world.streams._context.reader, "views", broken)
    peer.requests()
    error = await peer.until_error(1)
    assert error.message == "[PSYNC_S2001] Something went wrong."


# Ends


@pytest.mark.requirement(110)
async def test_a_stream_ends_at_its_token_s_expiry(world: World) -> None:
    peer = await connected(world, token(lifetime_s=0.3))
    peer.requests()
    await peer.until_complete()
    assert peer.lines()[-1] == {"token_expires_in": 0}


async def test_a_stream_that_nobody_reads_ends_at_its_token_s_expiry_too(world: World) -> None:
    peer = await connected(world, token(lifetime_s=0.3))
    peer.requests(1, 0)
    await peer.until_complete()
    assert peer.lines() == []


async def test_a_connection_that_outlived_its_token_opens_no_stream(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = await connected(world, token(lifetime_s=60))
    verifier = world.streams._verifier
    verify = verifier.verify

    async def verify_later(text: str, *, now_s: float) -> VerifiedToken:
        return await verify(text, now_s=now_s + 300)

    monkeypatch.setattr(verifier, "verify", verify_later)
    peer.requests()
    assert (await peer.until_error(1)).message.startswith("[PSYNC_S2103]")


async def test_streams_of_a_revoked_user_end_with_an_error_about_the_token(world: World) -> None:
    registry = StreamRegistry()
    world.app._websocket = app = websocket_module.WebSocketApp(
        world.streams._context, world.streams._verifier, registry=registry
    )
    peer = await connected(world)
    peer.requests(1)
    peer.requests(3, 1)
    peer.requests(5, 0)
    await peer.until("checkpoint_complete")
    await peer.until_lines(1, stream_id=3)
    open_streams = registry.streams("u1")
    assert [(stream.transport, stream.user_agent) for stream in open_streams] == [("websocket", "sdk/1")] * 3
    assert [stream.bytes_sent > 0 for stream in open_streams].count(True) == 2
    assert registry.end("u1") == 3
    for stream_id in (1, 3, 5):  # one of them waits for a change, the others for the client
        assert (await peer.until_error(stream_id)).message.startswith("[PSYNC_S2101]")
    assert len(registry) == 0
    await app.close()


async def test_a_stopping_service_completes_its_streams_and_refuses_new_connections(world: World) -> None:
    peer, idle, waiting = await connected(world), await connected(world), WebSocketPeer(world)
    await waiting.accepted.wait()
    peer.requests(1)
    peer.requests(3, 0)
    await peer.until("checkpoint_complete")
    await world.websockets.close()
    for each in (peer, idle, waiting):
        await each.until_over()
        assert each.close_code == 1001
    assert peer.is_complete(1)
    assert peer.is_complete(3)
    assert world.websockets.connection_count == 0
    late = WebSocketPeer(world)
    late.sets_up()
    error = await late.until_error()
    assert (error.code, error.message[:13]) == (ErrorCode.REJECTED_SETUP, "[PSYNC_S2003]")
    await late.until_over()


async def test_clients_that_leave_while_the_service_stops_do_not_hold_it_up(world: World) -> None:
    peers = [await connected(world) for _ in range(10)]
    for index, peer in enumerate(peers):
        if index % 2:
            peer.requests()
        peer.leaves()
    async with asyncio.timeout(2):
        await world.websockets.close()
    for peer in peers:
        await peer.until_over()


async def test_a_client_that_takes_no_goodbye_does_not_hold_up_the_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket_module, "CLOSE_TIMEOUT_S", 0.05)
    peer = await connected(world)
    peer.requests()
    await peer.until("checkpoint_complete")
    peer.takes.clear()
    async with asyncio.timeout(2):
        await world.websockets.close()
    await peer.until_over()
    assert world.watcher.session_count == 0


async def test_a_client_that_reads_nothing_is_cut_and_costs_no_other_anything(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "MESSAGE_TIMEOUT_S", 0.05)
    stuck, other = await connected(world), await connected(world)
    other.requests()
    stuck.takes.clear()
    stuck.requests()
    await stuck.until_over()
    await other.until("checkpoint_complete")
    assert world.watcher.session_count == 1


async def test_a_client_that_goes_away_while_its_token_is_checked_leaves_nothing(world: World) -> None:
    peer = WebSocketPeer(world)
    peer.sets_up()
    peer.requests()
    peer.leaves()
    await peer.until_over()
    assert world.websockets.connection_count == 0
    assert world.watcher.session_count == 0
