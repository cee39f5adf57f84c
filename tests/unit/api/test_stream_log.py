"""The log lines of streams: the fields of the reference's session lines, by the names that dashboards know."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from syncline.api.stream_log import VERBOSE
from syncline.testing.waiting import eventually
from tests.unit.api.world import World, running_world, token

SESSION_FIELDS = {"rid", "route", "user_id", "client_id", "bson", "user_agent"}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncGenerator[World]:
    async with running_world(tmp_path) as world:
        yield world


def records(caplog: pytest.LogCaptureFixture, event: str) -> list[Any]:
    return [record for record in caplog.records if getattr(record, "event", "") == event]


async def test_a_stream_s_lines_have_the_reference_s_fields(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.commit("a", "b", data='{"secret":"value"}')
    with caplog.at_level(logging.INFO):
        exchange, task = world.open_stream()
        await exchange.until("checkpoint_complete")
        world.commit("c")
        await exchange.until("checkpoint_complete", 2)
        exchange.gone.set()
        await task
    [opened] = records(caplog, "sync.open")
    [completed] = records(caplog, "sync.checkpoint_complete")
    [closed] = records(caplog, "sync.close")
    for record in (opened, completed, closed):
        assert all(hasattr(record, name) for name in SESSION_FIELDS)
        assert record.rid == opened.rid
    assert (completed.buckets, completed.parameter_query_results) == (1, 0)
    assert "mine|0: 1" in completed.getMessage()
    assert (completed.checkpoint, completed.operations_synced) == (2, 2)
    assert 0 < completed.data_synced_bytes < closed.data_synced_bytes
    assert set(completed.ms) <= {"acquiring_lock", "checksum", "bucket_data", "sending", "other", "total"}
    assert all(ms > 0 for ms in completed.ms.values())
    assert closed.operation_counts == {"put": 3, "remove": 0, "move": 0, "clear": 0}
    assert (closed.operations_synced, closed.large_buckets) == (3, {})
    assert closed.data_synced_bytes == len(exchange.body)
    assert '"u1"' not in "".join(record.getMessage() for record in caplog.records)


async def test_each_checkpoint_is_told_at_the_level_verbose(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.commit("a")
    with caplog.at_level(VERBOSE):
        exchange, task = world.open_stream()
        await exchange.until("checkpoint_complete")
        world.commit("b")
        await eventually(lambda: len(records(caplog, "sync.checkpoint_complete")) == 2)
        exchange.gone.set()
        await task
    completed = records(caplog, "sync.checkpoint_complete")
    assert [(record.checkpoint, record.operations_synced) for record in completed] == [(1, 1), (2, 1)]
    assert [record.levelno for record in completed] == [logging.INFO, VERBOSE]


async def test_a_large_download_is_told_when_it_begins_and_names_its_streams(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.commit(*(f"row{number}" for number in range(600)))
    with caplog.at_level(logging.INFO):
        exchange, task = world.begin("POST", "/sync/stream", body=b"{}", bearer=token())
        await exchange.until("checkpoint_complete")
        exchange.gone.set()
        await task
    [announced], [completed] = records(caplog, "sync.checkpoint"), records(caplog, "sync.checkpoint_complete")
    assert (announced.checkpoint, announced.buckets, announced.parameter_query_results) == (600, 1, 0)
    assert (completed.checkpoint, completed.operations_synced) == (600, 600)
    [closed] = records(caplog, "sync.close")
    assert closed.large_buckets == {"mine|0": 600}
    assert closed.operation_counts["put"] == 600
