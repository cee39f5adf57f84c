"""A device stays in sync although processes of the service are killed under it: none of them loses a row, none costs a new download."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Generator
from pathlib import Path

import pytest

from syncline.client import Column, Schema, SyncDatabase, Table
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.proxy import FaultyProxy
from syncline.testing.service_process import ServiceProcess, token
from syncline.testing.waiting import eventually
from tests.acceptance.conftest import SYNC_CONFIG, TokenOnly
from tests.support.service_tree import DEADLINE_S, children_of, kill_all

SCHEMA = Schema([Table("lists", [Column.text("name"), Column.text("owner_id")])])
KILLS = 6


@pytest.fixture
def tree(source: ScratchDatabase, tmp_path: Path) -> Generator[ServiceProcess]:
    """A supervisor, a replicator and two workers, on SQLite storage."""
    service = ServiceProcess(tmp_path / "tree", dsn=source.dsn, sync_config=SYNC_CONFIG)
    service.workers = 2
    service.start(timeout_s=DEADLINE_S)
    yield service
    service.stop()


async def is_replica(db: SyncDatabase, source: ScratchDatabase) -> bool:
    """Whether the device holds the rows of the source."""
    rows = await db.get_all("SELECT id, name FROM lists ORDER BY id")
    return [(row["id"], row["name"]) for row in rows] == source.execute(
        "SELECT id, name FROM lists WHERE owner_id = 'u1' ORDER BY id COLLATE \"C\""
    )


async def test_whoever_is_killed_the_device_gets_every_row(
    tree: ServiceProcess, source: ScratchDatabase, tmp_path: Path
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    async with SyncDatabase(tmp_path / "client.db", schema=SCHEMA) as db:
        await db.connect(TokenOnly(tree.base_url, token("u1")))
        await db.wait_for_first_sync(timeout=DEADLINE_S)
        for number in range(KILLS):
            source.execute(f"INSERT INTO lists SELECT '{number}-' || n, 'x', 'u1' FROM generate_series(1, 300) AS n")
            source.execute(f"UPDATE lists SET name = 'y{number}' WHERE id LIKE '%7'")
            children = children_of(tree.pid)
            whom = chance.randrange(len(children) + 1)
            if whom < len(children):
                os.kill(children[whom], signal.SIGKILL)
            else:
                await asyncio.to_thread(kill_all, tree)
                await asyncio.to_thread(tree.start, timeout_s=DEADLINE_S)
            source.execute("DELETE FROM lists WHERE id LIKE '%3'")
            await eventually(lambda: is_replica(db, source), timeout_s=DEADLINE_S, what=f"seed {seed}, kill {number}")
        assert len(await db.get_all("SELECT id FROM lists")) > 1000
        names = await db.get_all("SELECT name FROM ps_buckets")
    versions = {row["name"].partition("#")[0] for row in names if row["name"] != "$local"}
    assert len(versions) == 1, "no kill cost a new copy"
    assert "Traceback" not in tree.log


async def test_a_device_moves_to_another_node_when_its_own_is_killed(source: ScratchDatabase, tmp_path: Path) -> None:
    storage = {"type": "postgresql", "uri": source.dsn, "sslmode": "disable"}
    services = [
        ServiceProcess(tmp_path / name, dsn=source.dsn, sync_config=SYNC_CONFIG, storage=storage)
        for name in ("first", "second")
    ]
    try:
        for service in services:
            await asyncio.to_thread(service.start, timeout_s=DEADLINE_S)
        source.execute("INSERT INTO lists SELECT 'old-' || n, 'x', 'u1' FROM generate_series(1, 500) AS n")
        async with (
            FaultyProxy("127.0.0.1", services[0].port) as balancer,
            SyncDatabase(tmp_path / "client.db", schema=SCHEMA) as db,
        ):
            await db.connect(TokenOnly(balancer.url, token("u1")))
            await eventually(lambda: is_replica(db, source), timeout_s=DEADLINE_S)
            services[0].kill()
            balancer._target = ("127.0.0.1", services[1].port)
            source.execute("INSERT INTO lists VALUES ('new', 'x', 'u1')")
            await eventually(lambda: is_replica(db, source), timeout_s=DEADLINE_S, what="the device goes on")
        closed = await _closed_stream(services[1])
        assert closed < 500, f"{closed} operations were sent by the other node: it sent again what the device has"
    finally:
        for service in services:
            service.stop()


async def _closed_stream(service: ServiceProcess) -> int:
    """Operations that the service says it has sent in all streams."""
    await eventually(lambda: "Stream closed" in service.log, timeout_s=DEADLINE_S)
    return sum(
        int(line.partition("operations_synced=")[2].split()[0].rstrip("]"))
        for line in service.log.splitlines()
        if "Stream closed" in line
    )
