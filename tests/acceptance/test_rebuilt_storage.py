"""Bucket storage is derived: losing it costs a new copy, and never leaves a dead row on a device (design decision 13)."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from syncline.client import SyncDatabase
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.service_process import ServiceProcess, token
from syncline.testing.waiting import eventually
from tests.acceptance.conftest import TokenOnly
from tests.acceptance.devices import SCHEMA, connected_device, shows


async def test_a_row_deleted_while_the_storage_was_lost_disappears_from_a_client_that_was_away(
    service: ServiceProcess, source: ScratchDatabase, tmp_path: Path
) -> None:
    source.execute("INSERT INTO lists VALUES ('kept', 'kept', 'u1'), ('dead', 'dead', 'u1')")

    async def ids(db: SyncDatabase) -> list[str]:
        return [row["id"] for row in await db.get_all("SELECT id FROM lists ORDER BY id")]

    async with SyncDatabase(tmp_path / "client.db", schema=SCHEMA) as db:
        await db.connect(TokenOnly(service.base_url, token("u1")))
        await db.wait_for_first_sync(timeout=10)

        async def has_both() -> bool:
            return await ids(db) == ["dead", "kept"]

        await eventually(has_both)
        await db.disconnect()
        service.kill()
        shutil.rmtree(service.storage)
        source.execute("DELETE FROM lists WHERE id = 'dead'")
        await asyncio.to_thread(service.start)
        [(old_slot,)] = source.execute(
            "SELECT slot_name FROM pg_replication_slots WHERE database = current_database() AND NOT active"
        )
        service.wait_log(f"pg_drop_replication_slot('{old_slot}')")  # it would keep the source's log for ever
        assert await ids(db) == ["dead", "kept"]  # it is away, and reads what it has
        await db.connect(TokenOnly(service.base_url, token("u1")))

        async def has_only_the_living() -> bool:
            return await ids(db) == ["kept"]

        await eventually(has_only_the_living)


@pytest.mark.requirement(181)
async def test_a_storage_dropped_under_connected_clients_is_rebuilt(
    service: ServiceProcess, source: ScratchDatabase, tmp_path: Path
) -> None:
    source.execute("INSERT INTO lists SELECT 'l' || n, 'name', 'u1' FROM generate_series(1, 50) n")
    async with connected_device(service, tmp_path / "client.db") as db:
        await shows(db, source)
        service.kill()
        shutil.rmtree(service.storage)
        source.execute("DELETE FROM lists WHERE id LIKE 'l1%'; UPDATE lists SET name = 'new' WHERE id LIKE 'l2%'")
        await asyncio.to_thread(service.start)
        await shows(db, source)


@pytest.mark.requirement(240)
async def test_a_storage_restored_from_an_older_copy_is_never_silently_stale(
    service: ServiceProcess, source: ScratchDatabase, tmp_path: Path
) -> None:
    source.execute("INSERT INTO lists SELECT 'l' || n, 'name', 'u1' FROM generate_series(1, 50) n")
    async with connected_device(service, tmp_path / "client.db") as db:
        await shows(db, source)
        service.kill()
        shutil.copytree(service.storage, tmp_path / "backup")
        await asyncio.to_thread(service.start)
        source.execute("DELETE FROM lists WHERE id LIKE 'l1%'; INSERT INTO lists VALUES ('later', 'x', 'u1')")
        await shows(db, source)

        def source_has_forgotten() -> bool:  # what the copy lacks cannot be had from the slot again
            [(forgotten,)] = source.execute(
                "SELECT confirmed_flush_lsn >= pg_current_wal_insert_lsn() - 1000 FROM pg_replication_slots"
                " WHERE database = current_database()"
            )
            return bool(forgotten)

        await eventually(source_has_forgotten, timeout_s=20, what="everything is acknowledged")
        service.kill()
        shutil.rmtree(service.storage)
        shutil.copytree(tmp_path / "backup", service.storage)
        source.execute("DELETE FROM lists WHERE id LIKE 'l2%'; UPDATE lists SET name = 'newest' WHERE id = 'l3'")
        await asyncio.to_thread(service.start)
        await shows(db, source)


async def test_the_last_second_of_the_write_ahead_log_may_be_lost(
    service: ServiceProcess, source: ScratchDatabase, tmp_path: Path
) -> None:
    source.execute("INSERT INTO lists SELECT 'l' || n, 'name', 'u1' FROM generate_series(1, 50) n")
    async with connected_device(service, tmp_path / "client.db") as db:
        await shows(db, source)
        log = service.storage / "storage.db-wal"
        size = log.stat().st_size
        for number in range(20):  # what a power cut takes: it has reached clients, but not the disk
            source.execute(f"UPDATE lists SET name = 'lost {number}' WHERE id = 'l{number + 1}'")
        await shows(db, source)
        service.kill()
        assert log.stat().st_size > size
        os.truncate(log, size)
        source.execute("DELETE FROM lists WHERE id LIKE 'l4%'; INSERT INTO lists VALUES ('after', 'x', 'u1')")
        await asyncio.to_thread(service.start)
        await shows(db, source)
