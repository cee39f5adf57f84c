"""A natural key that two devices took while they were offline: one keeps it, the other rolls back and hears why."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from syncline.backend import TablePolicy
from syncline.backend.persisters.postgres.dead_letter_tables import WRITE_RESULTS_TABLE_SQL
from syncline.client import HttpConnector, Schema, SyncDatabase
from syncline.client.rejections import RejectedOperation, Rejection, rejections_table, watch_rejections
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.service_process import ServiceProcess, token
from syncline.testing.waiting import eventually
from tests.acceptance.conftest import PUBLICATION, SOURCE_SQL
from tests.acceptance.devices import SCHEMA
from tests.support.backend_server import running_backend
from tests.support.sync_config import LISTS_OF_OWNER

DEADLINE_S = 60.0
WITH_REJECTIONS = Schema([*SCHEMA.tables, rejections_table()])
SYNC_CONFIG = f"""{LISTS_OF_OWNER}
  rejections:
    auto_subscribe: true
    query: SELECT * FROM powersync_write_results WHERE user_id = auth.user_id()
"""


@pytest.fixture
def source(postgres_database: ScratchDatabase) -> ScratchDatabase:
    unique = "CREATE UNIQUE INDEX one_name ON lists (name)"
    postgres_database.execute(f"{SOURCE_SQL}; {unique}; {WRITE_RESULTS_TABLE_SQL}; {PUBLICATION}")
    return postgres_database


@pytest.fixture
def backend_url(source: ScratchDatabase, tmp_path: Path) -> Generator[str]:
    tables = {"lists": TablePolicy(owner="owner_id", columns=["name"])}
    with (
        ServiceProcess(tmp_path / "service", dsn=source.dsn, sync_config=SYNC_CONFIG) as service,
        running_backend(source.dsn, service_url=service.base_url, tables=tables, write_results=True) as url,
    ):
        yield url


async def lists(db: SyncDatabase) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await db.get_all("SELECT id, name FROM lists ORDER BY id")]


async def rejections(db: SyncDatabase) -> list[Rejection]:
    """What a watch shows at first."""
    watch = watch_rejections(db)
    async for found in watch:
        return found
    raise AssertionError("the watch ended")


@pytest.mark.requirement(45, 147, 235)
async def test_a_natural_key_taken_by_two_devices_offline_rolls_back_on_one_and_the_reason_arrives(
    source: ScratchDatabase, backend_url: str, tmp_path: Path
) -> None:
    async with (
        SyncDatabase(tmp_path / "a.db", schema=WITH_REJECTIONS) as winner,
        SyncDatabase(tmp_path / "b.db", schema=WITH_REJECTIONS) as loser,
    ):
        await winner.execute("INSERT INTO lists(id, name) VALUES ('of a', 'Groceries')")
        async with loser.write_transaction() as tx:
            await tx.execute("INSERT INTO lists(id, name) VALUES ('free', 'Hardware')")
            await tx.execute("INSERT INTO lists(id, name) VALUES ('of b', 'Groceries')")
        for db in (winner, loser):
            await db.connect(HttpConnector(backend_url, user_id="u1"), retry_delay_s=0.2)
            await eventually(lambda db=db: _settled(db), timeout_s=DEADLINE_S)
        expected = [("of a", "Groceries")]
        await eventually(lambda: _shows(loser, expected), timeout_s=DEADLINE_S, what="the loser rolls back")
        [rejection] = await eventually(lambda: rejections(loser), timeout_s=DEADLINE_S, what="the reason arrives")
        assert (rejection.code, rejection.operation_index, rejection.resolved) == ("UNIQUE_VIOLATION", 1, False)
        assert rejection.client_id == await loser.get_client_id()
        assert rejection.operations == [RejectedOperation("PUT", "lists", name) for name in ("free", "of b")]
        assert await loser.dead_letters.count() == 0  # the backend keeps the writes themselves
        [(letter_id,)] = source.execute("SELECT id FROM syncline_dead_letters")
        assert letter_id == rejection.id
        # The user's other device hears it too; and all of them, once it is settled.
        assert await eventually(lambda: rejections(winner), timeout_s=DEADLINE_S) == [rejection]
        source.execute("DELETE FROM lists")  # the name is free again
        assert await asyncio.to_thread(retry, backend_url, rejection.id) == {"status": "success"}
        applied = [("free", "Hardware"), ("of b", "Groceries")]
        for db in (winner, loser):
            await eventually(lambda db=db: _shows(db, applied), timeout_s=DEADLINE_S, what="the retry's rows arrive")
            await eventually(lambda db=db: _none_left(db), timeout_s=DEADLINE_S, what="the settled letter goes away")
    assert source.execute("SELECT id, owner_id FROM lists ORDER BY id") == [("free", "u1"), ("of b", "u1")]


def retry(backend_url: str, letter_id: str) -> Any:
    """As the user does it, over HTTP."""
    url = f"{backend_url}/api/dead-letters/{letter_id}/retry"
    request = urllib.request.Request(url, b"", {"authorization": f"Bearer {token('u1')}"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


async def _settled(db: SyncDatabase) -> bool:
    return (await db.upload_queue.stats()).count == 0


async def _shows(db: SyncDatabase, expected: list[tuple[Any, ...]]) -> bool:
    return await lists(db) == expected


async def _none_left(db: SyncDatabase) -> bool:
    return await rejections(db) == []
