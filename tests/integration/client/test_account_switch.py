"""Two people and one device, two devices and one person, with a real service, a real backend and a real source."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from syncline.backend import TablePolicy
from syncline.client import Column, HttpConnector, Schema, SyncDatabase, Table
from syncline.client.core.status import SyncState
from syncline.client.sync_manager import SyncManager
from syncline.testing.postgres import PostgresServer, ScratchDatabase
from syncline.testing.service_process import ServiceProcess
from syncline.testing.waiting import eventually
from tests.support.backend_server import running_backend
from tests.support.sync_config import LISTS_OF_OWNER

SCHEMA = Schema([Table("lists", [Column.text("name"), Column.text("owner_id")])])
SOURCE_SQL = (
    "CREATE TABLE lists (id text PRIMARY KEY, name text, owner_id text); CREATE PUBLICATION powersync FOR ALL TABLES"
)
DEADLINE_S = 30.0


@pytest.fixture(scope="module")
def source(postgres_server: PostgresServer) -> Generator[ScratchDatabase]:
    database = postgres_server.create()
    database.execute(SOURCE_SQL)
    yield database
    postgres_server.drop(database)


@pytest.fixture(scope="module")
def backend_url(source: ScratchDatabase, tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    folder = tmp_path_factory.mktemp("service")
    with ServiceProcess(folder, dsn=source.dsn, sync_config=LISTS_OF_OWNER) as service:
        tables = {"lists": TablePolicy(owner="owner_id")}
        with running_backend(source.dsn, service_url=service.base_url, tables=tables) as url:
            yield url


async def shows(db: SyncDatabase, *expected: str) -> None:
    async def is_so() -> bool:
        rows: list[Any] = [row["name"] for row in await db.get_all("SELECT name FROM lists ORDER BY name")]
        return rows == list(expected)

    await eventually(is_so, timeout_s=DEADLINE_S, what=f"the device shows {expected}")


async def signed_in(manager: SyncManager, user_id: str) -> None:
    """Sign in, and wait until all that is theirs is there."""
    manager.set_user(user_id)
    await manager.wait_for(lambda now: now.state is SyncState.SYNCED and now.user_id == user_id, timeout_s=DEADLINE_S)


@pytest.mark.requirement(65, 63, 66)
async def test_alice_creates_bob_sees_nothing_of_hers_and_alice_finds_it_again(
    backend_url: str, source: ScratchDatabase, tmp_path: Path
) -> None:
    async with SyncManager(
        lambda: SyncDatabase(tmp_path / "device.db", schema=SCHEMA),
        lambda user_id: HttpConnector(backend_url, user_id=user_id),
        connect_options={"retry_delay_s": 0.2},
    ) as manager:
        db = await manager.initialized(timeout_s=DEADLINE_S)
        await db.execute("INSERT INTO lists(id, name) VALUES ('l1', 'from before the sign-in')")
        await signed_in(manager, "alice")
        await db.execute("INSERT INTO lists(id, name) VALUES ('l2', 'hers')")
        await eventually(
            lambda: source.execute("SELECT id FROM lists WHERE owner_id = 'alice' ORDER BY id") == [("l1",), ("l2",)],
            timeout_s=DEADLINE_S,
        )
        await manager.wait_for(
            lambda now: now.state is SyncState.SYNCED and now.pending_changes == 0, timeout_s=DEADLINE_S
        )
        manager.set_user(None)
        await shows(db, "from before the sign-in", "hers")  # signed out, and offline: the data stay hers

        await signed_in(manager, "bob")
        await shows(db)
        for table in ("ps_data__lists", "ps_oplog", "ps_crud", "ps_untyped"):
            assert await db.get_all(f"SELECT * FROM {table}") == []
        await db.execute("INSERT INTO lists(id, name) VALUES ('l3', 'his')")
        await eventually(
            lambda: source.execute("SELECT owner_id FROM lists WHERE id = 'l3'") == [("bob",)], timeout_s=DEADLINE_S
        )
        await manager.wait_for(
            lambda now: now.state is SyncState.SYNCED and now.pending_changes == 0, timeout_s=DEADLINE_S
        )

        await signed_in(manager, "alice")
        await shows(db, "from before the sign-in", "hers")


@pytest.mark.requirement(239)
async def test_two_devices_of_one_user_are_two_clients_and_converge(
    backend_url: str, source: ScratchDatabase, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        devices = [
            await stack.enter_async_context(SyncDatabase(tmp_path / f"device-{number}.db", schema=SCHEMA))
            for number in range(2)
        ]
        first, second = devices
        assert await first.get_client_id() != await second.get_client_id()
        for number, db in enumerate(devices):
            await db.execute("INSERT INTO lists(id, name) VALUES (?, ?)", [f"c{number}", f"written on {number}"])
            await db.connect(HttpConnector(backend_url, user_id="carol"), retry_delay_s=0.2)
        for db in devices:
            await shows(db, "written on 0", "written on 1")
        await first.execute("UPDATE lists SET name = 'renamed' WHERE id = 'c1'")
        await second.execute("DELETE FROM lists WHERE id = 'c0'")
        for db in devices:
            await shows(db, "renamed")
        assert source.execute("SELECT id, name FROM lists WHERE owner_id = 'carol'") == [("c1", "renamed")]
