"""Bucket storage is derived: losing it costs a new copy, and never leaves a dead row on a device (design decision 13)."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from syncline.client import Column, Schema, SyncDatabase, Table
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.service_process import ServiceProcess, token
from syncline.testing.waiting import eventually
from tests.acceptance.conftest import TokenOnly

SCHEMA = Schema([Table("lists", [Column.text("name"), Column.text("owner_id")])])


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
