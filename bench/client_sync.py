"""Our Python client as an app would use it: a new file, connect, wait for the first sync, count the rows."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from bench.rig import BenchService, token
from syncline.client import BackendConnector, Column, Credentials, Schema, SyncDatabase, Table

__all__ = ["first_sync"]

SCHEMA = Schema(
    [
        Table(
            "items",
            [
                Column.text("owner_id"),
                Column.text("title"),
                Column.text("body"),
                Column.integer("amount"),
                Column.integer("done"),
                Column.text("created_at"),
            ],
        )
    ]
)


class _Connector(BackendConnector):
    def __init__(self, service: BenchService) -> None:
        self._service = service

    async def fetch_credentials(self) -> Credentials:
        """A token for the user that owns all rows."""
        return Credentials(self._service.base_url, token("bench"))

    async def upload_data(self, db: SyncDatabase) -> None:
        """Nothing is written on this device."""


async def first_sync(service: BenchService, rows: int) -> float:
    """Seconds from `connect` to a first sync of all rows, readable through the view."""
    with tempfile.TemporaryDirectory(prefix="syncline-bench-") as folder:
        async with SyncDatabase(Path(folder) / "app.db", schema=SCHEMA) as db:
            started = time.perf_counter()
            await db.connect(_Connector(service))
            await db.wait_for_first_sync(timeout=120)
            took_s = time.perf_counter() - started
            found = await db.get("SELECT count(*) AS n FROM items")
            assert found["n"] == rows, f"{found['n']} rows are on the device"
            return took_s
