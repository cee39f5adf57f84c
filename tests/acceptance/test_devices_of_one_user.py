"""Two devices of one user against a real service and backend: they converge; a pull brings what is there; a long download shows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from syncline.backend import TablePolicy
from syncline.client import HttpConnector, SyncDatabase, SyncState, SyncStatus
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.service_process import ServiceProcess, token
from syncline.testing.waiting import eventually
from tests.acceptance.conftest import TokenOnly
from tests.acceptance.devices import SCHEMA
from tests.support.backend_server import running_backend

DEADLINE_S = 60.0
FAST_S = 0.2
ROWS = 40_000  # of a first sync that takes long enough to be seen


@asynccontextmanager
async def device(file: Path, backend_url: str) -> AsyncGenerator[SyncDatabase]:
    """A device of u1, connected and in sync."""
    async with SyncDatabase(file, schema=SCHEMA) as db:
        await db.connect(HttpConnector(backend_url, user_id="u1"), retry_delay_s=FAST_S)
        await db.wait_for_status(lambda s: s.state is SyncState.SYNCED, DEADLINE_S)
        yield db


async def lists(db: SyncDatabase) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await db.get_all("SELECT id, name FROM lists ORDER BY id")]


@pytest.mark.requirement(239, 75)
async def test_two_devices_of_one_user_converge_and_a_pull_brings_the_others_writes(
    service: ServiceProcess, source: ScratchDatabase, tmp_path: Path
) -> None:
    tables = {"lists": TablePolicy(owner="owner_id")}
    with running_backend(source.dsn, service_url=service.base_url, tables=tables) as backend_url:
        async with device(tmp_path / "a.db", backend_url) as a, device(tmp_path / "b.db", backend_url) as b:
            assert await a.get_client_id() != await b.get_client_id()
            await a.execute("INSERT INTO lists(id, name) VALUES ('a1', 'of a'), ('both', 'first')")
            await a.trigger_sync(timeout=DEADLINE_S)
            assert await lists(a) == [("a1", "of a"), ("both", "first")]  # stays visible through the whole way
            await b.trigger_sync(timeout=DEADLINE_S)
            assert await lists(b) == [("a1", "of a"), ("both", "first")]
            await asyncio.gather(
                a.execute("UPDATE lists SET name = 'by a' WHERE id = 'both'"),
                b.execute("UPDATE lists SET name = 'by b' WHERE id = 'both'"),
                b.execute("INSERT INTO lists(id, name) VALUES ('b1', 'of b')"),
            )
            await asyncio.gather(a.trigger_sync(timeout=DEADLINE_S), b.trigger_sync(timeout=DEADLINE_S))
            await asyncio.gather(a.trigger_sync(timeout=DEADLINE_S), b.trigger_sync(timeout=DEADLINE_S))
            expected = source.execute("SELECT id, name FROM lists WHERE owner_id = 'u1' ORDER BY id")
            assert await lists(a) == await lists(b) == expected
            assert len(expected) == 3
            for db in (a, b):
                await db.wait_for_status(lambda status: status.state is SyncState.SYNCED, DEADLINE_S)


@pytest.mark.requirement(84)
async def test_a_background_job_syncs_once(service: ServiceProcess, source: ScratchDatabase, tmp_path: Path) -> None:
    source.execute("INSERT INTO lists VALUES ('s1', 'of the source', 'u1')")
    tables = {"lists": TablePolicy(owner="owner_id")}
    with running_backend(source.dsn, service_url=service.base_url, tables=tables) as backend_url:
        async with SyncDatabase(tmp_path / "a.db", schema=SCHEMA) as db:
            await db.execute("INSERT INTO lists(id, name) VALUES ('a1', 'offline')")
            for checkpoint_mode in ("requests", "legacy"):
                status = await db.sync_once(
                    HttpConnector(backend_url, user_id="u1"), timeout=DEADLINE_S, checkpoint_mode=checkpoint_mode
                )
                assert (status.state, status.pending_changes) == (SyncState.SYNCED, 0)
            assert db.current_status.state is SyncState.OFFLINE
            assert await lists(db) == [("a1", "offline"), ("s1", "of the source")]
    assert source.execute("SELECT id, owner_id FROM lists ORDER BY id") == [("a1", "u1"), ("s1", "u1")]


@pytest.mark.requirement(238)
async def test_the_database_is_of_use_during_a_long_first_sync_which_shows_how_far_it_is(
    service: ServiceProcess, source: ScratchDatabase, tmp_path: Path
) -> None:
    source.execute(f"INSERT INTO lists SELECT 'l' || i, repeat('x', 100), 'u1' FROM generate_series(1, {ROWS}) AS i")
    seen: list[SyncStatus] = []
    async with SyncDatabase(tmp_path / "a.db", schema=SCHEMA) as db:
        db.register_listener(seen.append)
        await db.connect(TokenOnly(service.base_url, token("u1")), retry_delay_s=FAST_S)
        await db.wait_for_status(lambda s: s.progress is not None and s.progress.downloaded > 0, DEADLINE_S)
        # Reads and writes of the app go on; nothing of the checkpoint is visible before all of it is.
        assert await db.get_all("SELECT count(*) AS n FROM lists") == [(0,)]
        await db.execute("INSERT INTO lists(id, name) VALUES ('mine', 'meanwhile')")
        assert await db.get_all("SELECT name FROM lists") == [("meanwhile",)]
        assert db.current_status.downloading

        async def complete() -> bool:
            return (await db.get("SELECT count(*) AS n FROM ps_oplog"))["n"] == ROWS

        await eventually(complete, timeout_s=DEADLINE_S)
    steps = [status.progress for status in seen if status.progress is not None]
    downloaded = [step.downloaded for step in steps]
    assert downloaded == sorted(downloaded)
    assert len(set(downloaded)) >= 5
    assert {step.total for step in steps if step.total} == {ROWS}
    of_stream = [stream.progress for status in seen for stream in status.streams if stream.progress is not None]
    assert of_stream
    assert all(part.total in (0, ROWS) for part in of_stream)
