"""Tests of the app: its own rules and sync config, with the sync service in memory. Needs syncline[service,backend] and pytest-asyncio.

`cd examples/fastapi_todo && python -m pytest`
"""

from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from rules import TABLES
from schema import SCHEMA
from syncline.client import SyncDatabase
from syncline.testing.service import MemoryService
from syncline.testing.waiting import eventually

SYNC_CONFIG = (Path(__file__).parent / "sync-config.yaml").read_text()
ADD = "INSERT INTO todos (id, list_id, title, done) VALUES (?, ?, ?, 0)"


@pytest_asyncio.fixture
async def service(sync_service: Callable[..., MemoryService]) -> AsyncGenerator[MemoryService]:
    async with sync_service(SYNC_CONFIG, schema=SCHEMA, policies=TABLES) as service:
        service.insert("lists", "food", name="Food", owner_id="ann")
        yield service


async def titles(db: SyncDatabase) -> list[str]:
    return await db.fetch(str, "SELECT title FROM todos ORDER BY title")


@pytest.mark.asyncio
async def test_two_devices_of_a_user_that_were_offline_converge(service: MemoryService) -> None:
    async with service.device("a.db", user_id="ann") as phone, service.device("b.db", user_id="ann") as laptop:
        await phone.db.wait_for_first_sync(timeout=10)
        phone.link.offline = laptop.link.offline = True
        await phone.db.execute(ADD, ["t1", "food", "Milk"])
        await laptop.db.execute(ADD, ["t2", "food", "Bread"])
        phone.link.offline = laptop.link.offline = False

        async def are_equal() -> bool:
            return await titles(phone.db) == await titles(laptop.db) == ["Bread", "Milk"]

        await eventually(are_equal)


@pytest.mark.asyncio
async def test_nobody_writes_into_the_list_of_another(service: MemoryService) -> None:
    async with service.device("bob.db", user_id="bob") as bob:
        await bob.db.execute(ADD, ["t1", "food", "Poison"])

        async def is_gone() -> bool:
            return await titles(bob.db) == []

        await eventually(is_gone)
        [verdict] = bob.connector.refused
        assert verdict.failed_operation is not None
        assert verdict.failed_operation.error_code == "UNAUTHORIZED"
        assert service.rows("todos") == []


@pytest.mark.asyncio
async def test_a_todo_needs_a_title(service: MemoryService) -> None:
    async with service.device("ann.db", user_id="ann") as ann:
        await ann.db.execute(ADD, ["t1", "food", ""])
        await eventually(lambda: bool(ann.connector.refused))
        [verdict] = ann.connector.refused
        assert verdict.failed_operation is not None
        assert verdict.failed_operation.error_code == "VALIDATION_ERROR"
        assert service.rows("todos") == []
