from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any

import apsw
import pytest

from syncline.client import Column, Schema, Table
from syncline.client.core import events as ev
from syncline.client.core import instructions as do
from syncline.client.core.machine import SyncMachine
from syncline.client.local.buckets import BucketStore
from syncline.client.local.connection import open_writer
from syncline.client.local.layout import prepare
from syncline.client.sync_engine import SyncEngine
from syncline.errors import RemoteProtocolError
from tests.support.scripted_service import bucket, checkpoint, complete, data, put

OPS = [put(1, "lists", "a", name="x"), put(2, "lists", "b", name="y")]
OPENING = checkpoint(2, bucket("1#a[]", OPS))


class World:
    """An engine on a file of its own; the client id and the clock are the test's."""

    def __init__(self) -> None:
        self.connection = open_writer(":memory:")
        prepare(self.connection, Schema([Table("lists", [Column.text("name")])]))
        self.client_id = "first"
        self.now_us = 1_000_000
        self.engine = SyncEngine(
            self.connection,
            SyncMachine(client_id=self.client_id),
            client_id=lambda: self.client_id,
            now_us=lambda: self.now_us,
            active_streams=lambda: (),
        )

    def lines(self, *values: dict[str, Any] | bytes) -> list[do.EdgeInstruction]:
        return self.engine.lines(
            [value if isinstance(value, bytes) else json.dumps(value).encode() for value in values]
        )

    def count(self, table: str) -> int:
        return int(str(self.connection.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0]))


@pytest.fixture
def world() -> Generator[World]:
    world = World()
    yield world
    world.connection.close()


def only(edge: list[do.EdgeInstruction], kind: type[Any]) -> list[Any]:
    return [instruction for instruction in edge if isinstance(instruction, kind)]


def test_lines_that_arrive_together_are_one_transaction_and_end_in_a_visible_checkpoint(world: World) -> None:
    [opened] = only(world.engine.start(), do.OpenStream)
    assert opened.request.client_id == "first"
    commits: list[bool] = []
    world.connection.set_commit_hook(lambda: bool(commits.append(True)))
    edge = world.lines(OPENING, data("1#a[]", OPS), complete(2))
    assert len(commits) == 1
    assert world.count("lists") == 2
    assert only(edge, do.PublishStatus)[-1].status.caught_up


def test_lines_that_arrive_meanwhile_go_into_the_same_transaction(world: World) -> None:
    world.engine.start()
    commits: list[bool] = []
    world.connection.set_commit_hook(lambda: bool(commits.append(True)))
    arriving = [[json.dumps(data("1#a[]", OPS)).encode()], [], [json.dumps(complete(2)).encode()]]
    edge = world.engine.lines([json.dumps(OPENING).encode()], lambda: arriving.pop(0) if arriving else None)
    assert len(commits) == 1
    assert world.count("lists") == 2
    assert only(edge, do.PublishStatus)[-1].status.caught_up


def test_an_applied_checkpoint_is_visible_before_more_lines_are_taken(world: World) -> None:
    """The rows of an urgent stream can be shown while the rest comes."""
    world.engine.start()
    arriving = [[json.dumps({"token_expires_in": 100}).encode()]]
    lines = [OPENING, data("1#a[]", OPS), complete(2)]
    edge = world.engine.lines([json.dumps(line).encode() for line in lines], lambda: arriving.pop(0))
    assert len(arriving) == 1
    assert not world.connection.in_transaction
    assert only(edge, do.PublishStatus)[-1].status.caught_up


def test_nothing_is_asked_for_behind_the_end_of_an_iteration(world: World) -> None:
    world.engine.start()
    arriving = [[json.dumps({"token_expires_in": 0}).encode()], [json.dumps(data("1#a[]", OPS)).encode()]]
    edge = world.engine.lines([json.dumps(OPENING).encode()], lambda: arriving.pop(0))
    assert only(edge, do.CloseStream)[0].reconnect_now
    assert len(arriving) == 1


def test_what_came_before_an_unreadable_line_is_stored(world: World) -> None:
    world.engine.start()
    with pytest.raises(RemoteProtocolError):
        world.lines(OPENING, data("1#a[]", OPS[:1]), b"{", complete(2))
    assert (world.count("ps_oplog"), world.count("lists")) == (1, 0)
    assert not world.connection.in_transaction


def test_lines_behind_the_end_of_an_iteration_are_not_taken(world: World) -> None:
    world.engine.start()
    edge = world.lines(OPENING, {"token_expires_in": 0}, data("1#a[]", OPS))
    assert only(edge, do.CloseStream)[0].reconnect_now
    assert only(edge, do.FetchCredentials) == [do.FetchCredentials(expired=True)]
    assert world.count("ps_oplog") == 0


def test_a_failure_in_storage_leaves_nothing_of_the_lines_and_the_next_iteration_begins_from_disk(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.engine.start()
    world.lines(OPENING, data("1#a[]", OPS[:1]))

    def full(*_: Any, **__: Any) -> None:
        raise apsw.FullError("database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(BucketStore, "apply", full)
        with pytest.raises(apsw.FullError):
            world.lines(data("1#a[]", OPS[1:]), complete(2))
    assert (world.count("ps_oplog"), world.connection.in_transaction) == (1, False)
    world.engine.receive(ev.StreamFailed(apsw.FullError("full")))
    [opened] = only(world.engine.start(), do.OpenStream)
    assert [(position.name, position.after) for position in opened.request.buckets] == [("1#a[]", "1")]
    world.lines(OPENING, data("1#a[]", OPS[1:]), complete(2))
    assert world.count("lists") == 2


def test_lines_of_a_stream_with_an_older_client_id_do_not_count(world: World) -> None:
    world.engine.start()
    world.client_id = "second"
    edge = world.lines(OPENING, data("1#a[]", OPS), complete(2))
    assert only(edge, do.CloseStream) == [do.CloseStream(hide_disconnect=True, reconnect_now=True)]
    assert world.count("ps_oplog") == 0
    [opened] = only(world.engine.start(), do.OpenStream)
    assert opened.request.client_id == "second"
