"""Client writes never pass the sync service: it has no route for them, and its role may not write."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path

import aiohttp
import pytest

from syncline.client import Column, Schema, SyncDatabase, Table
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.service_process import ServiceProcess, token
from syncline.testing.waiting import eventually
from tests.acceptance.conftest import SYNC_CONFIG, TokenOnly

SCHEMA = Schema([Table("lists", [Column.text("name"), Column.text("owner_id")])])
READER = "syncline_reader"


@pytest.fixture
def reader_dsn(source: ScratchDatabase) -> Generator[str]:
    """A role with REPLICATION and SELECT, and nothing else."""
    source.execute(f"CREATE ROLE {READER} LOGIN REPLICATION; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {READER}")
    yield source.dsn.replace("postgres@", f"{READER}@")
    source.execute(f"DROP OWNED BY {READER}; DROP ROLE {READER}")


@pytest.mark.requirement(155)
async def test_the_service_works_with_a_role_that_can_only_read_and_replicate(
    source: ScratchDatabase, reader_dsn: str, tmp_path: Path
) -> None:
    source.execute("INSERT INTO lists VALUES ('1', 'one', 'u1')")
    with ServiceProcess(tmp_path / "service", dsn=reader_dsn, sync_config=SYNC_CONFIG) as service:
        async with SyncDatabase(tmp_path / "client.db", schema=SCHEMA) as db:
            await db.connect(TokenOnly(service.base_url, token("u1")))
            await db.wait_for_first_sync(timeout=10)
            source.execute("INSERT INTO lists VALUES ('2', 'two', 'u1')")

            async def has_both() -> bool:
                return len(await db.get_all("SELECT id FROM lists")) == 2

            await eventually(has_both)
        async with aiohttp.ClientSession() as session:
            headers = {"authorization": f"Token {token('u1')}"}
            async with session.get(f"{service.base_url}/write-checkpoint2.json", headers=headers) as answer:
                assert answer.status == 200  # the marker needs no right to write either
            for path in ("/api/data", "/api/powersync/upload", "/sync/data"):
                for method in ("POST", "PUT", "PATCH", "DELETE"):
                    async with session.request(method, service.base_url + path, json={}, headers=headers) as answer:
                        assert answer.status == 404
                        assert json.loads(await answer.read())["error"]["code"] == "PSYNC_S2002"


@pytest.mark.requirement(112)
async def test_a_user_sees_the_rows_of_the_token_s_sub_and_no_others(
    service: ServiceProcess, source: ScratchDatabase, tmp_path: Path
) -> None:
    source.execute("INSERT INTO lists VALUES ('1', 'one', 'u1'), ('2', 'two', 'u2'), ('3', 'three', 'U1')")
    async with SyncDatabase(tmp_path / "client.db", schema=SCHEMA) as db:
        await db.connect(TokenOnly(service.base_url, token("u1")))
        await db.wait_for_first_sync(timeout=10)

        async def has_one() -> bool:
            return [row["id"] for row in await db.get_all("SELECT id FROM lists")] == ["1"]

        await eventually(has_one)
        stored = await db.get_all("SELECT data FROM ps_oplog")
        assert len(stored) == 1  # nothing of the others is on the disk either
