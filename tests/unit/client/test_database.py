from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

import syncline.client as face
from syncline.client import BackendConnector, Column, Credentials, Schema, SyncDatabase, Table, UpdateType, get_database
from syncline.client.core.status import SyncStatus
from syncline.client.errors import CredentialsInvalid, DatabaseClosed, DatabaseNotInitialized, NestedTransaction
from syncline.client.transactions import WriteTransaction
from syncline.errors import ClientError

SCHEMA = Schema([Table("lists", [Column.text("name")]), Table("notes", [Column.text("body")])])
INSERT = "INSERT INTO lists(id, name) VALUES (?, ?)"


@pytest.mark.requirement(1)
def test_a_connector_without_one_of_its_methods_cannot_be_made() -> None:
    class Half(BackendConnector):
        async def fetch_credentials(self) -> Credentials | None:
            return None

    with pytest.raises(TypeError, match="upload_data"):
        Half()  # pyright: ignore[reportAbstractUsage]  # wrong on purpose


@pytest.mark.requirement(2, 3)
def test_everything_for_an_app_has_one_place() -> None:
    for name in ("SyncDatabase", "CrudEntry", "BackendConnector", "UpdateType"):
        assert name in face.__all__
    assert [kind.value for kind in UpdateType] == ["PUT", "PATCH", "DELETE"]


@pytest.mark.requirement(6)
def test_credentials_are_normalised_and_checked() -> None:
    assert Credentials("https://sync.example.com/", "t").endpoint == "https://sync.example.com"
    assert "secret" not in repr(Credentials("https://sync.example.com", "secret"))
    for endpoint, token in (("https://sync.example.com", " "), ("", "t"), ("sync.example.com", "t")):
        with pytest.raises(CredentialsInvalid):
            Credentials(endpoint, token)


@pytest.mark.requirement(54, 58)
async def test_a_database_opens_without_a_network_and_is_found_while_open(tmp_path: Path) -> None:
    with pytest.raises(DatabaseNotInitialized):
        get_database()
    db = SyncDatabase(tmp_path / "a.db", schema=SCHEMA)
    with pytest.raises(DatabaseNotInitialized):
        await db.get_all("SELECT 1")
    await db.init()
    assert get_database() is db
    await db.close()
    with pytest.raises(DatabaseNotInitialized):
        get_database()
    with pytest.raises(DatabaseClosed):
        await db.execute(INSERT, ["a", "x"])


@pytest.mark.requirement(73)
async def test_the_status_of_an_offline_database_is_read_from_the_file(tmp_path: Path) -> None:
    assert SyncStatus().has_synced is None
    async with SyncDatabase(tmp_path / "a.db", schema=SCHEMA) as db:
        status = db.current_status
        assert (status.has_synced, status.connected, status.connecting) == (False, False, False)
        assert (status.uploading, status.downloading, status.last_synced_at) == (False, False, None)
        with pytest.raises(TimeoutError):
            await db.wait_for_first_sync(timeout=0.01)
        with pytest.raises(AttributeError):
            status.connected = True  # pyright: ignore[reportAttributeAccessIssue]  # wrong on purpose


async def test_a_failed_write_transaction_leaves_no_row_and_no_crud_entry(tmp_path: Path) -> None:
    async with SyncDatabase(tmp_path / "a.db", schema=SCHEMA) as db:
        used: list[WriteTransaction] = []

        async def fail() -> None:
            async with db.write_transaction() as transaction:
                used.append(transaction)
                await transaction.execute(INSERT, ["a", "x"])
                raise RuntimeError("mine")

        with pytest.raises(RuntimeError, match="mine"):
            await fail()
        assert await db.get_all("SELECT * FROM lists") == []
        assert (await db.get_upload_queue_stats()).count == 0
        with pytest.raises(ClientError, match="ended"):
            await used[0].execute(INSERT, ["a", "x"])


async def test_a_cancelled_write_transaction_rolls_back_and_frees_the_database(tmp_path: Path) -> None:
    async with SyncDatabase(tmp_path / "a.db", schema=SCHEMA) as db:
        inside = asyncio.Event()

        async def hold() -> None:
            async with db.write_transaction() as transaction:
                await transaction.execute(INSERT, ["a", "x"])
                inside.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(hold())
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await db.execute(INSERT, ["b", "y"])
        assert [row["id"] for row in await db.get_all("SELECT id FROM lists")] == ["b"]


async def test_using_the_database_inside_its_write_transaction_raises_at_once(tmp_path: Path) -> None:
    async with SyncDatabase(tmp_path / "a.db", schema=SCHEMA) as db:
        async with db.write_transaction():
            with pytest.raises(NestedTransaction):
                await db.execute(INSERT, ["a", "x"])
        await db.execute(INSERT, ["a", "x"])


async def test_parameters_are_adapted_and_rows_are_read_by_name(tmp_path: Path) -> None:
    async with SyncDatabase(tmp_path / "a.db", schema=SCHEMA) as db:
        now = datetime(2026, 1, 2, tzinfo=UTC)
        row = await db.get("SELECT ? AS a, ? AS b, ? AS c", [True, now, {"x": [1]}])
        assert row.as_dict() == {"a": 1, "b": "2026-01-02T00:00:00.000000Z", "c": '{"x":[1]}'}
        assert (row[0], row["b"], len(row)) == (1, "2026-01-02T00:00:00.000000Z", 3)
        assert await db.get_optional("SELECT 1 WHERE 0") is None
        with pytest.raises(ClientError, match="bytes"):
            await db.execute(INSERT, ["a", b"x"])


@pytest.mark.requirement(99)
async def test_a_watched_query_runs_again_for_its_own_tables_only(tmp_path: Path) -> None:
    async with SyncDatabase(tmp_path / "a.db", schema=SCHEMA) as db, asyncio.timeout(10):
        results = db.watch("SELECT name FROM lists ORDER BY id", throttle_s=0)
        assert await anext(results) == []
        await db.execute("INSERT INTO notes(id, body) VALUES ('n', 'other table')")
        waiting = asyncio.ensure_future(anext(results))
        await db.execute(INSERT, ["a", "x"])
        assert [row["name"] for row in await waiting] == ["x"]
        await db.execute(INSERT, ["b", "y"])
        await db.execute(INSERT, ["c", "z"])
        assert len(await anext(results)) in (2, 3)


async def test_on_change_tells_the_names_of_tables(tmp_path: Path) -> None:
    async with SyncDatabase(tmp_path / "a.db", schema=SCHEMA) as db, asyncio.timeout(10):
        changes = db.on_change(["lists"])
        waiting = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0)
        await db.execute(INSERT, ["a", "x"])
        assert await waiting == {"lists"}


_WRITER = """
import asyncio, sys
from syncline.client import Column, Schema, SyncDatabase, Table
async def main():
    schema = Schema([Table("lists", [Column.text("name")]), Table("notes", [Column.text("body")])])
    async with SyncDatabase(sys.argv[1], schema=schema) as db:
        await db.execute("INSERT INTO lists(id, name) VALUES ('done', 'x')")
        async with db.write_transaction() as tx:
            await tx.execute("INSERT INTO lists(id, name) VALUES ('open', 'x')")
            print("ready", flush=True)
            await asyncio.Event().wait()
asyncio.run(main())
"""


@pytest.mark.requirement(24)
async def test_after_kill_9_a_committed_write_is_there_with_its_crud_entry_and_an_open_one_is_not(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.db"
    with subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        os.kill(process.pid, signal.SIGKILL)
    async with SyncDatabase(path, schema=SCHEMA) as db:
        assert [row["id"] for row in await db.get_all("SELECT id FROM lists")] == ["done"]
        queued = [transaction async for transaction in db.crud_transactions()]
        assert [entry.id for transaction in queued for entry in transaction.crud] == ["done"]
