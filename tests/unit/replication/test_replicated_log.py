"""What the log says of replication as it goes, with a clock of the test's own."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from syncline.replication.apply import Flushed
from syncline.replication.limits import REPLICATED_TOLD_INTERVAL_S
from syncline.replication.replicated_log import ReplicatedLog
from syncline.storage.model import Checkpoint, Version, VersionState


class World:
    """A version's log, and what was flushed."""

    def __init__(self, state: VersionState = VersionState.PROCESSING) -> None:
        self.flushed = Flushed(7, 700, 70_000)
        version = Version(10, state, "", "syncline_10", "i", snapshot_done=True, consistent_from="")
        self.lines = ReplicatedLog(version, lambda: self.flushed)

    def replicate(self, *, rows: int, transactions: int) -> None:
        before = self.flushed
        self.flushed = Flushed(before.flushes + 1, before.operations + rows, before.data_bytes + 1000 * rows)
        self.lines.count(rows=rows, transactions=transactions)


@pytest.fixture(autouse=True)
def level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def told(caplog: pytest.LogCaptureFixture) -> list[Any]:
    return list(caplog.records)


def test_what_was_replicated_is_told_together_and_not_too_often(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.flushed = Flushed(100, 10_000, 1_000_000)  # tables were copied
    world.lines.stream_begins()
    world.lines.tell("0/1", now_s=0.0)
    assert not told(caplog)  # nothing to tell
    world.replicate(rows=3, transactions=1)
    world.lines.tell("0/2", now_s=1.0)
    world.replicate(rows=5, transactions=2)
    world.replicate(rows=1, transactions=1)
    world.lines.tell("0/3", now_s=1.0 + REPLICATED_TOLD_INTERVAL_S - 0.1)
    assert len(told(caplog)) == 1
    world.lines.tell("0/3", now_s=1.0 + REPLICATED_TOLD_INTERVAL_S)
    world.lines.tell("0/3", now_s=100.0)
    fields = ("event", "slot", "position", "rows", "transactions", "flushes", "operations", "data_kb")
    assert [[getattr(record, name) for name in fields] for record in told(caplog)] == [
        ["replication.flush", "syncline_10", "0/2", 3, 1, 1, 3, 3],
        ["replication.flush", "syncline_10", "0/3", 6, 3, 2, 6, 6],
    ]
    assert told(caplog)[0].getMessage().startswith("[syncline_10] ")


def test_a_checkpoint_that_is_held_back_is_told_with_its_reason_and_not_too_often(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    for now_s in (0.0, 1.0, REPLICATED_TOLD_INTERVAL_S):
        world.lines.held_back("0/1", "a copy ends later", now_s=now_s)
    assert [record.event for record in told(caplog)] == ["replication.held_back"] * 2
    assert "a copy ends later" in told(caplog)[0].getMessage()


def test_a_config_becomes_active_once(caplog: pytest.LogCaptureFixture) -> None:
    for state in (VersionState.PROCESSING, VersionState.ACTIVE):
        world = World(state)
        world.lines.visible(Checkpoint(10, 5, "0/1"))
        world.lines.visible(Checkpoint(10, 6, "0/2"))
    assert [(record.event, record.version, record.checkpoint) for record in told(caplog)] == [
        ("replication.activated", 10, 5)
    ]
