"""Checkpoint requests, the old checkpoint route, expiry and limits, on real SQLite storage."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from syncline.api import checkpoints as checkpoints_module
from syncline.api.checkpoints import (
    CLIENT_ID_CHARACTERS_MAX,
    ReplicationWait,
    RequestExpiry,
    WriteCheckpointBatcher,
    request_id_of,
)
from syncline.api.groups import CHECKPOINTS_QUEUED_MAX, CHECKPOINTS_RUNNING_MAX
from syncline.errors import RequestInvalid, SourceUnavailable, StorageUnavailable
from syncline.storage.sqlite import SqliteStorage
from syncline.testing.waiting import eventually
from tests.unit.api.world import Exchange, ScriptedHead, World, running_world, token

ROUTE = "/sync/checkpoint-request"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncGenerator[World]:
    async with running_world(tmp_path) as made:
        yield made


async def request(world: World, *, bearer: str | None = None, **fields: Any) -> Exchange:
    return await world.ask(
        "POST", ROUTE, body=json.dumps(fields).encode(), bearer=bearer, headers=[(b"content-type", b"application/json")]
    )


async def test_a_request_keeps_the_greater_id_and_writes_a_marker(world: World) -> None:
    for sent, stored in (("12", "12"), (3, "12"), ("12", "12"), (2**53 - 1, "9007199254740991")):
        answer = await request(world, bearer=token(), client_id="c", checkpoint_request_id=sent)
        assert json.loads(answer.body) == {"data": {"checkpoint_request_id": stored}}
    assert world.head.markers == 4
    answer = await request(world, bearer=token(), client_id="c", checkpoint_request_id=str(2**63 - 1))
    assert json.loads(answer.body)["data"]["checkpoint_request_id"] == str(2**63 - 1)


async def test_a_request_reaches_the_stream_of_its_user_and_client(world: World) -> None:
    exchange, _ = world.open_stream(client_id="c1")
    await exchange.until("checkpoint_complete")
    await request(world, bearer=token(), client_id="c1", checkpoint_request_id="77")
    world.position = 8
    world.commit()  # replication passes the head, 9
    await exchange.until("checkpoint_diff")
    [diff] = [line["checkpoint_diff"] for line in exchange.lines if "checkpoint_diff" in line]
    assert diff["write_checkpoint"] == "77"


@pytest.mark.parametrize(
    "value", ["0", "-1", "", "1.5", "x", "²", str(2**63), "9" * 100, 0, 2**53, 1.5, True, [1], None]
)
def test_ids_outside_their_bounds_are_refused(value: object) -> None:
    with pytest.raises(RequestInvalid, match="checkpoint_request_id"):
        request_id_of({"checkpoint_request_id": value})


@pytest.mark.requirement(255)
async def test_unknown_fields_are_ignored_and_the_wire_carries_no_version(world: World) -> None:
    extra: dict[str, Any] = {"protocol": 99, "from_the_future": {"nested": [1]}}
    answer = await request(world, bearer=token(), client_id="c", checkpoint_request_id="5", **extra)
    assert json.loads(answer.body) == {"data": {"checkpoint_request_id": "5"}}
    answer = await world.ask("GET", "/write-checkpoint2.json", query="client_id=c&future=1", bearer=token())
    assert set(json.loads(answer.body)["data"]) == {"write_checkpoint"}
    exchange, _ = world.open_stream(client_id="c", **extra)
    await exchange.until("checkpoint_complete")
    assert {key for line in exchange.lines for key in line} == {"checkpoint", "checkpoint_complete"}
    assert set(exchange.lines[0]["checkpoint"]) <= {"last_op_id", "write_checkpoint", "buckets", "streams"}


async def test_wrong_fields_are_told_before_a_missing_token(world: World) -> None:
    wrong: list[dict[str, Any]] = [
        {},
        {"client_id": "c"},
        {"client_id": 7, "checkpoint_request_id": "1"},
        {"client_id": "c", "checkpoint_request_id": "0"},
        {"client_id": "x" * (CLIENT_ID_CHARACTERS_MAX + 1), "checkpoint_request_id": "1"},
    ]
    for fields in wrong:
        answer = await request(world, **fields)
        assert answer.status == 400, fields
        assert set(json.loads(answer.body)["error"]) == {"code", "status", "description", "details", "name"}
    assert (await request(world, client_id="c", checkpoint_request_id="1")).status == 401
    query = "client_id=c&checkpoint_request_id=5"
    answer = await world.ask("POST", ROUTE, query=query, bearer=token())
    assert json.loads(answer.body)["data"]["checkpoint_request_id"] == "5"


@pytest.mark.parametrize(
    ("kind", "body", "status", "code"),
    [
        (b"application/json", b"{", 400, "PSYNC_S2001"),
        (b"application/json", b"[" * 100_000, 400, "PSYNC_S2001"),
        (b"application/json; charset=utf-8", b"[1]", 400, "PSYNC_S2001"),
        (b"application/json", b'"\xff"', 400, "PSYNC_S2001"),
        (b"text/plain", b'{"client_id":"c"}', 400, "PSYNC_S2001"),
        (b"application/xml", b"<a/>", 415, "PSYNC_S2004"),
        (b"", b"x", 415, "PSYNC_S2004"),
    ],
)
async def test_bodies_that_cannot_be_read_are_named(
    world: World, kind: bytes, body: bytes, status: int, code: str
) -> None:
    answer = await world.ask("POST", ROUTE, body=body, bearer=token(), headers=[(b"content-type", kind)])
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (status, code)


async def test_a_query_of_too_many_fields_is_refused(world: World) -> None:
    answer = await world.ask("GET", "/write-checkpoint2.json", query="a=1&" * 101, bearer=token())
    assert answer.status == 400


async def test_requests_above_the_limit_get_429_with_an_empty_body(world: World) -> None:
    world.head.hold = asyncio.Event()
    many = CHECKPOINTS_RUNNING_MAX + CHECKPOINTS_QUEUED_MAX
    waiting = [world.begin("GET", "/write-checkpoint2.json", bearer=token()) for _ in range(many)]
    await eventually(lambda: world.head.looks > 0)
    refused = await world.ask("GET", "/write-checkpoint2.json", bearer=token())
    assert (refused.status, refused.body) == (429, b"")
    world.head.hold.set()
    async with asyncio.timeout(10):
        await asyncio.gather(*(task for _, task in waiting))
    assert {exchange.status for exchange, _ in waiting} == {200}


async def test_whoever_fails_to_answer_is_named_without_details(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class BrokenHead(ScriptedHead):
        async def head(self) -> str:
            raise SourceUnavailable("password of admin@db refused")

    checkpoints = SqliteStorage(tmp_path).open_write_checkpoints()
    for head, error in ((BrokenHead(), SourceUnavailable), (ScriptedHead(), StorageUnavailable)):
        batcher = WriteCheckpointBatcher(head=head, write_checkpoints=checkpoints)
        running = asyncio.create_task(batcher.run())
        if error is StorageUnavailable:

            async def fail(*_: object) -> list[int]:
                raise StorageUnavailable("disk /dev/x is full")

            monkeypatch.setattr(checkpoints, "create", fail)
        with pytest.raises(error) as caught:
            await batcher.create("u")
        assert "try again" in caught.value.message
        running.cancel()
        await asyncio.wait({running})
    await checkpoints.close()


async def test_the_batch_queue_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints_module, "CHECKPOINT_BATCH_MAX", 3)
    checkpoints = SqliteStorage(tmp_path).open_write_checkpoints()
    batcher = WriteCheckpointBatcher(head=ScriptedHead(), write_checkpoints=checkpoints)
    waiting = [asyncio.create_task(batcher.create("u")) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(checkpoints_module.TooManyWaiting):
        await batcher.create("u")
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    await checkpoints.close()


async def test_requests_that_nobody_repeats_expire(tmp_path: Path) -> None:
    checkpoints = SqliteStorage(tmp_path).open_write_checkpoints()
    await checkpoints.request("asked", 7, "B")
    [counted] = await checkpoints.create(["counted"], "B")
    expiry = asyncio.create_task(RequestExpiry(checkpoints, retention_s=-1).run(interval_s=0.01))

    async def expired() -> bool:
        return await checkpoints.reached("asked", "B") is None

    await eventually(expired)
    assert await checkpoints.reached("counted", "B") == counted
    expiry.cancel()
    await asyncio.wait({expiry})
    await checkpoints.close()


async def test_the_old_route_answers_once_replication_has_passed(tmp_path: Path) -> None:
    async with running_world(tmp_path) as world:
        world.head.position = "00000002"
        wait = ReplicationWait(head=world.head, reader=world.reader, timeout_s=5)
        waiting = asyncio.create_task(wait.passed())
        await eventually(lambda: world.head.markers == 1)
        assert not waiting.done()
        world.commit("a")
        assert await waiting == 1
        world.head.position = "00000009"
        with pytest.raises(checkpoints_module.NotReplicatedInTime):
            await ReplicationWait(head=world.head, reader=world.reader, timeout_s=0.01).passed()
