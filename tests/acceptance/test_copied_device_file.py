"""A device's file that is restored from a copy uses ids again: nothing that it writes is lost (design decision 12)."""

from __future__ import annotations

import shutil
from pathlib import Path

from syncline.backend import TablePolicy
from syncline.client import Column, HttpConnector, Schema, SyncDatabase, Table
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.service_process import ServiceProcess
from syncline.testing.waiting import eventually
from tests.support.backend_server import running_backend

SCHEMA = Schema([Table("lists", [Column.text("name"), Column.text("owner_id")])])


async def write_and_upload(file: Path, backend_url: str, name: str) -> str:
    """Open the file, write one list, wait until it has been uploaded and has come back; give the client id at the end."""
    async with SyncDatabase(file, schema=SCHEMA) as db:
        await db.execute("INSERT INTO lists (id, name) VALUES (?, ?)", [name, name])
        await db.connect(HttpConnector(backend_url, user_id="u1"), retry_delay_s=0.2)

        async def came_back() -> bool:
            rows = await db.get_all("SELECT owner_id FROM lists WHERE id = ?", [name])
            return [row["owner_id"] for row in rows] == ["u1"]

        await eventually(came_back, timeout_s=20)
        return await db.get_client_id()


async def test_a_restored_file_takes_a_new_client_id_and_loses_no_write(
    service: ServiceProcess, source: ScratchDatabase, tmp_path: Path
) -> None:
    file, copy = tmp_path / "device.db", tmp_path / "copy.db"
    async with SyncDatabase(file, schema=SCHEMA) as db:
        original_id = await db.get_client_id()
    shutil.copy(file, copy)
    tables = {"lists": TablePolicy(owner="owner_id")}
    with running_backend(source.dsn, service_url=service.base_url, tables=tables) as backend_url:
        assert await write_and_upload(file, backend_url, "first") == original_id
        for rest in tmp_path.glob("device.db*"):
            rest.unlink()
        shutil.copy(copy, file)  # yesterday's backup: its next operation has an id that was used already
        assert await write_and_upload(file, backend_url, "second") != original_id
    assert source.execute("SELECT id FROM lists ORDER BY id") == [("first",), ("second",)]
