"""`storage: {type: postgresql}`: the service on one database for source and buckets, from configuration to device."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from pathlib import Path

import pytest

from syncline.client import Column, Schema, SyncDatabase, Table
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.service_process import ServiceProcess, token
from syncline.testing.waiting import eventually
from tests.acceptance.conftest import SYNC_CONFIG, TokenOnly

SCHEMA = Schema([Table("lists", [Column.text("name"), Column.text("owner_id")])])
KILLS = 3


def postgres_storage(dsn: str, **more: object) -> dict[str, object]:
    """The `storage` section of a configuration."""
    return {"type": "postgresql", "uri": dsn, "sslmode": "disable", **more}


@pytest.fixture
def on_postgres(source: ScratchDatabase, tmp_path: Path) -> Generator[ServiceProcess]:
    """A service that keeps its buckets in the source's own database."""
    storage = postgres_storage(source.dsn)
    with ServiceProcess(tmp_path / "service", dsn=source.dsn, sync_config=SYNC_CONFIG, storage=storage) as process:
        yield process


@pytest.mark.requirement(179, 180)
async def test_a_device_sees_every_row_although_the_service_is_killed(
    on_postgres: ServiceProcess, source: ScratchDatabase, tmp_path: Path
) -> None:
    async with SyncDatabase(tmp_path / "client.db", schema=SCHEMA) as db:
        await db.connect(TokenOnly(on_postgres.base_url, token("u1")))
        await db.wait_for_first_sync(timeout=10)

        async def is_equal() -> bool:
            rows = await db.get_all("SELECT id, name FROM lists ORDER BY id")
            return [(row["id"], row["name"]) for row in rows] == source.execute(
                "SELECT id, name FROM lists WHERE owner_id = 'u1' ORDER BY id COLLATE \"C\""
            )

        for number in range(KILLS):
            source.execute(f"INSERT INTO lists SELECT '{number}-' || n, 'x', 'u1' FROM generate_series(1, 500) AS n")
            source.execute(f"UPDATE lists SET name = 'y{number}' WHERE id LIKE '%7'")
            on_postgres.kill()
            source.execute("DELETE FROM lists WHERE id LIKE '%3'")
            await asyncio.to_thread(on_postgres.start)  # the lease of the killed one is free at once
            await eventually(is_equal, timeout_s=20)
        assert len(await db.get_all("SELECT id FROM lists")) > 1000
    assert source.execute("SELECT count(*) FROM syncline.version") == [(1,)], "no kill cost a new copy"
    assert not on_postgres.storage.exists(), "nothing was kept in files"


def test_a_second_service_on_the_same_schema_stands_by_and_names_the_holder(
    on_postgres: ServiceProcess, source: ScratchDatabase, tmp_path: Path
) -> None:
    storage = postgres_storage(source.dsn)
    with ServiceProcess(tmp_path / "second", dsn=source.dsn, sync_config=SYNC_CONFIG, storage=storage) as second:
        second.wait_log("This one stands by")
        assert f":{on_postgres.pid})" in second.log
    assert "PSYNC" not in second.log, "to stand by is no failure"
    assert on_postgres.running


def test_a_storage_that_cannot_be_reached_ends_the_start_without_its_password(
    source: ScratchDatabase, tmp_path: Path
) -> None:
    storage = postgres_storage("postgresql://someone:topsecret@127.0.0.1:1025/buckets", connect_timeout=2)
    service = ServiceProcess(tmp_path / "service", dsn=source.dsn, sync_config=SYNC_CONFIG, storage=storage)
    service.start(wait_ready=False)
    assert service.wait() == 150
    assert "PSYNC_S2402" in service.log
    assert "topsecret" not in service.log
    assert "Traceback" not in service.log


def test_a_service_stops_cleanly_and_leaves_the_lease(on_postgres: ServiceProcess, source: ScratchDatabase) -> None:
    assert on_postgres.stop() == 0
    assert source.execute("SELECT holder, backend_pid FROM syncline.lease") == [("", None)]
    assert "Traceback" not in on_postgres.log
    on_postgres.start()
