from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from syncline.client import HttpConnector, SyncDatabase
from tests.integration.client.conftest import SCHEMA
from tests.integration.client.test_sync import DEADLINE_S, FAST_S, ROWS, WHOLE, names, until
from tests.integration.client.test_upload import EMPTY, count, drained
from tests.support.scripted_service import ScriptedService, bucket, checkpoint, complete, data, put

ROOT = Path(__file__).parents[3]


async def kill_at(point: str, *, file: Path, url: str) -> None:
    """Run a device up to a point, and kill -9 it there."""
    device = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.integration.client.device_process",
        str(file),
        url,
        point,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
    )
    assert device.stdout is not None
    try:
        async with asyncio.timeout(3 * DEADLINE_S):
            assert await device.stdout.readline() == f"{point}\n".encode()
    finally:
        device.kill()
        await device.wait()


async def test_killed_between_the_answer_and_the_queue_it_sends_the_same_transaction_again(
    service: ScriptedService, connector: HttpConnector, tmp_path: Path
) -> None:
    service.lines = EMPTY
    await kill_at("after_answer", file=tmp_path / "app.db", url=service.url)
    async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
        assert await count(db) == 1
        await db.connect(connector, retry_delay_s=FAST_S)
        await drained(db)
    first, second = service.uploads
    assert first == second  # client id and client_op_ids included
    assert first["transactions"][0]["crud"][0]["client_op_id"] == 1


async def test_killed_before_the_write_checkpoint_request_it_asks_after_the_restart(
    service: ScriptedService, connector: HttpConnector, tmp_path: Path
) -> None:
    service.lines = EMPTY
    await kill_at("after_complete", file=tmp_path / "app.db", url=service.url)
    assert service.write_checkpoints == 0
    ops = [put(1, "lists", "a", name="from the source")]
    async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
        await db.connect(connector, retry_delay_s=FAST_S)
        await until(lambda: service.write_checkpoints == 1 and service.open_streams > 0)
        assert await names(db) == ["mine"]
        service.send(checkpoint(1, bucket("1#a[]", ops), write_checkpoint="1"), data("1#a[]", ops), complete(1))
        await db.wait_for_first_sync(timeout=DEADLINE_S)
        assert await names(db) == ["from the source"]
    assert len(service.uploads) == 1


async def test_killed_while_a_checkpoint_becomes_visible_it_shows_nothing_of_it_and_goes_on(
    service: ScriptedService, connector: HttpConnector, tmp_path: Path
) -> None:
    service.lines = WHOLE
    await kill_at("mid_apply", file=tmp_path / "app.db", url=service.url)
    async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
        assert await names(db) == []
        assert db.current_status.has_synced is False
        await db.connect(connector, retry_delay_s=FAST_S)
        await db.wait_for_first_sync(timeout=DEADLINE_S)
        assert await names(db) == ["Groceries", "Work"]


async def test_killed_before_anybody_was_told_of_a_checkpoint_it_has_it(
    service: ScriptedService, connector: HttpConnector, tmp_path: Path
) -> None:
    service.lines = WHOLE
    await kill_at("after_apply", file=tmp_path / "app.db", url=service.url)
    async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
        assert await names(db) == ["Groceries", "Work"]
        assert db.current_status.has_synced
        await db.connect(connector, retry_delay_s=FAST_S)
        await until(lambda: len(service.requests) == 2)
    assert service.requests[1]["buckets"] == [{"name": "1#a[]", "after": "2"}]


@pytest.mark.requirement(186)
async def test_killed_in_the_middle_of_a_download_it_goes_on_from_its_positions(
    service: ScriptedService, connector: HttpConnector, tmp_path: Path
) -> None:
    service.lines = [WHOLE[0], data("1#a[]", ROWS[:1])]
    await kill_at("mid_download", file=tmp_path / "app.db", url=service.url)
    service.lines = [WHOLE[0], data("1#a[]", ROWS[1:]), complete(2)]
    async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
        assert await names(db) == []  # nothing of an incomplete checkpoint is visible
        await db.connect(connector, retry_delay_s=FAST_S)
        await db.wait_for_first_sync(timeout=DEADLINE_S)
        assert await names(db) == ["Groceries", "Work"]
    assert service.requests[-1]["buckets"] == [{"name": "1#a[]", "after": "1"}]
