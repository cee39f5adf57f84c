"""A device that holds a user's rows, and the comparison of it with the source."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from syncline.client import Column, Schema, SyncDatabase, Table
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.service_process import ServiceProcess, token
from syncline.testing.waiting import eventually
from tests.acceptance.conftest import TokenOnly

__all__ = ["SCHEMA", "connected_device", "shows"]

SCHEMA = Schema([Table("lists", [Column.text("name"), Column.text("owner_id")])])


@asynccontextmanager
async def connected_device(service: ServiceProcess, file: Path) -> AsyncGenerator[SyncDatabase]:
    """A device of u1 that stays connected, as far as the service is there."""
    async with SyncDatabase(file, schema=SCHEMA) as db:
        await db.connect(TokenOnly(service.base_url, token("u1")), retry_delay_s=0.1)
        await db.wait_for_first_sync(timeout=10)
        yield db


async def shows(db: SyncDatabase, source: ScratchDatabase) -> None:
    """Wait until the device has exactly the user's rows of the source."""
    expected = sorted(source.execute("SELECT id, name FROM lists WHERE owner_id = 'u1'"))

    async def agrees() -> bool:
        return sorted(tuple(row) for row in await db.get_all("SELECT id, name FROM lists")) == expected

    await eventually(agrees, timeout_s=30, what=f"the device has the {len(expected)} rows of the source")
    stored = await db.get_all("SELECT count(*) AS n FROM ps_oplog")
    assert stored[0]["n"] == len(expected)  # nothing extra on disk
