from __future__ import annotations

import asyncio
import gc
import json
import zlib
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from syncline.api import stream as stream_module
from syncline.api.limits import BODY_BYTES_MAX, SEND_PART_BYTES
from syncline.storage.model import OpChunk
from syncline.sync.encoding import EncodedChunk
from syncline.sync.limits import StreamLimits
from syncline.testing.waiting import eventually
from tests.conformance.golden import bson_as_lines
from tests.unit.api.world import World, running_world, token


@pytest.fixture
async def world(tmp_path: Path) -> AsyncGenerator[World]:
    async with running_world(tmp_path) as made:
        yield made


async def test_preflights_and_unknown_routes_answer_as_browsers_and_clients_expect(world: World) -> None:
    preflight = await world.ask("OPTIONS", "/anything")
    assert preflight.status == 204
    assert preflight.headers["access-control-max-age"] == "3600"
    unknown = await world.ask("GET", "/nope")
    assert unknown.status == 404
    assert json.loads(unknown.body)["error"]["code"] == "PSYNC_S2002"
    assert unknown.headers["access-control-allow-origin"] == "*"


async def test_a_wrong_body_is_told_before_a_missing_token(world: World) -> None:
    refused = await world.ask("POST", "/sync/stream", body=b'{"buckets": "x"}')
    error = json.loads(refused.body)["error"]
    assert (refused.status, error["code"]) == (400, "PSYNC_S2001")
    assert "buckets" in json.loads(error["details"])[0]
    assert (await world.ask("POST", "/sync/stream")).status == 401


async def test_a_body_above_the_limit_is_refused(world: World) -> None:
    refused = await world.ask("POST", "/sync/stream", body=b" " * (BODY_BYTES_MAX + 1), bearer=token())
    assert refused.status == 413


async def test_hints_and_causes_stay_in_the_log(world: World) -> None:
    refused = await world.ask("POST", "/sync/stream", bearer="not-a-token")
    assert set(json.loads(refused.body)["error"]) == {"code", "status", "description", "name"}


async def test_an_open_stream_gets_changes_as_they_are_committed(world: World) -> None:
    exchange, task = world.open_stream(raw_data=True)
    await exchange.until("checkpoint_complete")
    world.commit("a", "b")
    await exchange.until("checkpoint_complete", 2)
    [data] = [line["data"] for line in exchange.lines if "data" in line]
    assert [entry["object_id"] for entry in data["data"]] == ["a", "b"]
    assert exchange.headers["content-type"] == "application/x-ndjson"
    exchange.gone.set()
    await task
    assert world.watcher.session_count == 0


async def test_row_data_is_text_or_an_object_as_the_client_asks(world: World) -> None:
    world.commit("a", data='{"id":"a","n":9007199254740993}')
    for raw, expected in ((True, '{"id":"a","n":9007199254740993}'), (False, {"id": "a", "n": 9007199254740993})):
        exchange, task = world.open_stream(raw_data=raw)
        await exchange.until("checkpoint_complete")
        [data] = [line["data"] for line in exchange.lines if "data" in line]
        assert data["data"][0]["data"] == expected
        exchange.gone.set()
        await task


async def test_a_client_that_goes_away_ends_its_stream_while_nothing_is_sent(world: World) -> None:
    exchange, task = world.open_stream()
    await exchange.until("checkpoint_complete")
    assert world.watcher.session_count == 1
    exchange.gone.set()
    async with asyncio.timeout(5):
        await task
    assert world.watcher.session_count == 0


async def test_a_client_that_takes_nothing_is_cut(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "SEND_TIMEOUT_S", 0.05)
    never = asyncio.Event()
    _, task = world.begin("POST", "/sync/stream", body=b"{}", bearer=token(), blocked=never)
    async with asyncio.timeout(5):
        await task
    assert world.watcher.session_count == 0


async def test_streams_above_the_limit_get_429_with_an_empty_body(tmp_path: Path) -> None:
    async with running_world(tmp_path, limits=StreamLimits(connections_max=2)) as world:
        opened = [world.open_stream() for _ in range(2)]
        for exchange, _ in opened:
            await exchange.until("checkpoint_complete")
        third, task = world.open_stream()
        await task
        assert (third.status, third.body) == (429, b"")
        opened[0][0].gone.set()
        await opened[0][1]
        fourth, _ = world.open_stream()
        await fourth.until("checkpoint_complete")


async def test_too_many_buckets_are_a_real_http_error(tmp_path: Path) -> None:
    async with running_world(tmp_path, limits=StreamLimits(buckets_max=0)) as world:
        refused, task = world.open_stream()
        await task
        assert refused.status == 500
        assert json.loads(refused.body)["error"]["code"] == "PSYNC_S2305"


async def test_before_the_first_checkpoint_streams_are_refused_and_readiness_says_no(tmp_path: Path) -> None:
    async with running_world(tmp_path, active=False) as world:
        refused, task = world.open_stream()
        await task
        assert (refused.status, json.loads(refused.body)["error"]["code"]) == (500, "PSYNC_S2302")
        assert (await world.ask("GET", "/probes/readiness")).status == 400
        assert (await world.ask("GET", "/probes/startup")).status == 200
        assert (await world.ask("GET", "/probes/liveness")).status == 200


@pytest.mark.requirement(110)
async def test_a_stream_ends_at_its_token_s_expiry(world: World) -> None:
    exchange, task = world.open_stream(bearer=token(lifetime_s=0.3))
    async with asyncio.timeout(5):
        await task
    assert exchange.lines[-1] == {"token_expires_in": 0}
    assert exchange.messages[-1] == {"type": "http.response.body", "body": b""}


async def test_a_stopping_service_ends_its_streams_and_refuses_new_ones(world: World) -> None:
    exchange, task = world.open_stream()
    await exchange.until("checkpoint_complete")
    await world.streams.close()
    async with asyncio.timeout(5):
        await task
    refused, task = world.open_stream()
    await task
    assert (refused.status, json.loads(refused.body)["error"]["code"]) == (503, "PSYNC_S2003")


async def test_write_checkpoints_asked_for_together_share_one_look_at_the_source(world: World) -> None:
    asked = [
        world.begin("GET", "/write-checkpoint2.json", query=f"client_id=c{number}", bearer=token())
        for number in range(20)
    ]
    async with asyncio.timeout(5):
        await asyncio.gather(*(task for _, task in asked))
    values = [json.loads(exchange.body)["data"]["write_checkpoint"] for exchange, _ in asked]
    assert all(value.isdecimal() for value in values)
    assert world.head.looks == world.head.markers
    assert world.head.looks < 20


async def test_a_write_checkpoint_reaches_the_stream_of_the_same_user_and_client(world: World) -> None:
    exchange, _ = world.open_stream(client_id="c1")
    other, _ = world.open_stream(client_id="c2")
    await exchange.until("checkpoint_complete")
    await other.until("checkpoint_complete")
    answer = await world.ask("GET", "/write-checkpoint2.json", query="client_id=c1", bearer=token())
    value = json.loads(answer.body)["data"]["write_checkpoint"]
    world.position = 8
    world.commit()  # replication passes the head, 9
    await exchange.until("checkpoint_diff")
    [diff] = [line["checkpoint_diff"] for line in exchange.lines if "checkpoint_diff" in line]
    assert diff["write_checkpoint"] == value
    assert diff["updated_buckets"] == []
    assert not any("checkpoint_diff" in line for line in other.lines)


async def test_a_stream_that_rests_holds_nothing_of_what_it_sent(world: World) -> None:
    def chunks() -> int:
        gc.collect()
        return sum(isinstance(each, EncodedChunk | OpChunk) for each in gc.get_objects())

    before = chunks()
    world.commit(*(f"row-{number}" for number in range(300)))
    exchange, _ = world.open_stream(raw_data=True)
    await exchange.until("checkpoint_complete")
    world.commit("one-more")
    await exchange.until("checkpoint_complete", 2)
    assert sum(len(line["data"]["data"]) for line in exchange.lines if "data" in line) == 301
    await eventually(lambda: chunks() == before)


async def test_an_open_stream_keeps_no_token(world: World) -> None:
    headers = [(b"user-agent", b"sdk/1")]
    exchange, task = world.begin("POST", "/sync/stream", body=b"{}", bearer=token(), headers=headers)
    await exchange.until("checkpoint_complete")
    assert exchange.request_headers == []
    exchange.gone.set()
    await task


async def test_bson_and_compression_are_chosen_by_the_headers(world: World) -> None:
    world.commit("a", data='{"id":"a"}')
    headers = [(b"accept", b"application/vnd.powersync.bson-stream"), (b"accept-encoding", b"gzip")]
    exchange, task = world.begin("POST", "/sync/stream", body=b"{}", bearer=token(), headers=headers)
    await eventually(lambda: len(exchange.messages) >= 2)
    exchange.gone.set()
    await task
    assert exchange.headers["content-type"] == "application/vnd.powersync.bson-stream"
    assert exchange.headers["content-encoding"] == "gzip"
    assert set(exchange.headers) == {
        "access-control-allow-origin",
        "access-control-expose-headers",
        "content-type",
        "content-encoding",
        "x-accel-buffering",
    }
    body = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(exchange.body)
    kinds = [next(iter(json.loads(line))) for line in bson_as_lines(body)]
    assert kinds == ["checkpoint", "data", "checkpoint_complete"]


async def test_a_large_body_goes_out_in_parts_that_a_slow_client_can_take(world: World) -> None:
    world.commit(*(f"row-{number}" for number in range(200)), data=json.dumps({"id": "x", "text": "x" * 2000}))
    exchange, _ = world.open_stream(raw_data=True)
    await exchange.until("checkpoint_complete")
    sizes = [len(message["body"]) for message in exchange.messages[1:]]
    assert sum(sizes) > 400_000
    assert max(sizes) <= SEND_PART_BYTES


async def test_a_client_that_comes_while_the_version_is_replaced_is_told_to_come_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(*_: object) -> None:
        return None

    monkeypatch.setattr(world.reader, "views", gone)
    exchange, task = world.open_stream()
    await task
    assert (exchange.status, json.loads(exchange.body)["error"]["code"]) == (500, "PSYNC_S2302")
    assert world.watcher.session_count == 0
