"""Tables that only grow (versions of documents, logs): an insert-only table uploads in the order of writing and keeps nothing itself."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from syncline.backend import TablePolicy
from syncline.client import Column, HttpConnector, Schema, SyncDatabase, Table
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.service_process import ServiceProcess
from syncline.testing.waiting import eventually
from tests.support.backend_server import running_backend

OFFLINE = 40  # transactions before the first connection: they go up in batches
ONLINE = 20  # transactions while it is connected
TIMEOUT_S = 60.0  # seconds, on a busy machine
SOURCE_SQL = """
CREATE TABLE document_versions (
  id text PRIMARY KEY, document_id text NOT NULL, body text NOT NULL, owner_id text NOT NULL,
  seq bigint GENERATED ALWAYS AS IDENTITY
);
CREATE FUNCTION only_grows() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'document_versions only grows' USING ERRCODE = 'check_violation'; END $$;
CREATE TRIGGER only_grows BEFORE UPDATE OR DELETE ON document_versions FOR EACH ROW EXECUTE FUNCTION only_grows();
CREATE PUBLICATION powersync FOR ALL TABLES
"""
SYNC_CONFIG = """
config: {edition: 3}
streams:
  versions: {auto_subscribe: true, query: SELECT * FROM document_versions WHERE owner_id = auth.user_id()}
"""
COLUMNS = [Column.text("document_id"), Column.text("body")]
WRITING = Schema([Table("document_versions", COLUMNS, insert_only=True)])
READING = Schema([Table("document_versions", [*COLUMNS, Column.integer("seq")])])
INSERT = "INSERT INTO document_versions (id, document_id, body) VALUES (uuid(), ?, ?)"


async def append(db: SyncDatabase, numbers: range) -> list[str]:
    """One transaction for each number, every third with three versions; the texts in the order of writing."""
    written: list[str] = []
    for number in numbers:
        texts = [f"{number:03}-{part}" for part in range(3 if number % 3 == 0 else 1)]
        async with db.write_transaction() as tx:
            for text in texts:
                await tx.execute(INSERT, [f"document-{number % 4}", text])
        written += texts
    return written


@pytest.mark.requirement(237)
async def test_what_is_appended_arrives_in_its_order_and_is_never_changed(
    postgres_database: ScratchDatabase, tmp_path: Path
) -> None:
    postgres_database.execute(SOURCE_SQL)
    with (
        ServiceProcess(tmp_path / "service", dsn=postgres_database.dsn, sync_config=SYNC_CONFIG) as service,
        running_backend(
            postgres_database.dsn,
            service_url=service.base_url,
            tables={"document_versions": TablePolicy(owner="owner_id", columns=["document_id", "body"])},
        ) as backend_url,
    ):
        async with SyncDatabase(tmp_path / "phone.db", schema=WRITING) as phone:
            written = await append(phone, range(OFFLINE))
        async with SyncDatabase(tmp_path / "phone.db", schema=WRITING) as phone:  # after a restart of the app
            assert await phone.get_all("SELECT id FROM document_versions") == []  # sent, not kept
            assert (await phone.get_upload_queue_stats()).count == len(written)
            await phone.connect(HttpConnector(backend_url, user_id="alice"))
            written += await append(phone, range(OFFLINE, OFFLINE + ONLINE))
            await phone.wait_for_status(lambda status: status.pending_changes == 0, timeout=TIMEOUT_S)
            assert not await phone.dead_letters.list()
            await other_writers_are_refused(backend_url, tmp_path)
            await reader_has(written, backend_url, tmp_path)
    stored = postgres_database.execute("SELECT body, owner_id FROM document_versions ORDER BY seq")
    assert stored == [(text, "alice") for text in written]


async def other_writers_are_refused(backend_url: str, folder: Path) -> None:
    """A device that changes a version, which the source forbids, is refused for good and goes on."""
    async with SyncDatabase(folder / "forger.db", schema=READING) as forger:
        await forger.connect(HttpConnector(backend_url, user_id="alice"))
        await forger.wait_for_first_sync(timeout=TIMEOUT_S)
        await forger.execute("UPDATE document_versions SET body = 'forged' WHERE seq = 1")
        await forger.execute("DELETE FROM document_versions WHERE seq = 2")

        async def refused() -> bool:
            rows = await forger.get_all("SELECT body FROM document_versions WHERE seq IN (1, 2) ORDER BY seq")
            return [row["body"] for row in rows] == ["000-0", "000-1"]

        await forger.wait_for_status(lambda status: status.pending_changes == 0, timeout=TIMEOUT_S)
        await eventually(refused, timeout_s=TIMEOUT_S, what="the device shows the versions of the source again")


async def reader_has(written: list[str], backend_url: str, folder: Path) -> None:
    """Another device of the user gets the versions, and their order by the column that the source numbers."""
    async with SyncDatabase(folder / "laptop.db", schema=READING) as laptop:
        await laptop.connect(HttpConnector(backend_url, user_id="alice"))
        async with asyncio.timeout(TIMEOUT_S):
            async for rows in laptop.watch("SELECT body FROM document_versions ORDER BY seq"):
                if len(rows) == len(written):
                    assert [row["body"] for row in rows] == written
                    return
