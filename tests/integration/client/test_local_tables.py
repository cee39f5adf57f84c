"""Tables of every kind, through the whole client: raw tables, schema changes while open, clearing, seeds, and where the file is."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from syncline.client import REST, ROW_ID, Column, HttpConnector, RawStatement, RawTable, Schema, SyncDatabase, Table
from syncline.client.data_directory import data_directory
from syncline.client.errors import PendingWrites
from syncline.client.local.raw_columns import RawTableInvalid
from syncline.errors import ClientError
from syncline.testing.waiting import eventually
from tests.support.scripted_service import ScriptedService, bucket, checkpoint, complete, data, put

DEADLINE_S = 20.0
ROWS = [put(1, "places", "p1", name="Rome", visited=True), put(2, "lists", "l1", name="Work")]
WHOLE = [checkpoint(2, bucket("1#a[]", ROWS)), data("1#a[]", ROWS), complete(2)]
PLACES_SQL = "CREATE TABLE places(id TEXT PRIMARY KEY, name TEXT, visited INTEGER, note TEXT)"
PLACES = RawTable("places", synced_columns=["name", "visited"], capture=True, clear="DELETE FROM places")
SCHEMA = Schema(
    [Table("lists", [Column.text("name")]), Table("drafts", [Column.text("body")], local_only=True), PLACES]
)


async def rows(db: SyncDatabase, sql: str) -> list[tuple[object, ...]]:
    return [tuple(row) for row in await db.get_all(sql)]


async def test_a_raw_table_is_written_by_sync_watched_and_sends_local_writes(
    service: ScriptedService, connector: HttpConnector, tmp_path: Path
) -> None:
    async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
        await db.execute(PLACES_SQL)
        await db.update_schema(SCHEMA)  # the table is there now: its triggers are made
        watched = db.watch("SELECT name FROM places ORDER BY id", throttle_s=0.001)
        async with asyncio.timeout(DEADLINE_S):
            assert await anext(watched) == []
            service.lines = WHOLE
            await db.connect(connector)
            await db.wait_for_first_sync(timeout=DEADLINE_S)
            assert [tuple(row) for row in await anext(watched)] == [("Rome",)]
        assert await rows(db, "SELECT * FROM places") == [("p1", "Rome", 1, None)]
        assert (await db.get_upload_queue_stats()).count == 0  # what sync writes is no local write
        await db.disconnect()
        async with db.write_transaction() as transaction:
            await transaction.execute("UPDATE places SET note = 'mine'")
            await transaction.execute("UPDATE places SET name = 'Roma'")
        queued = await db.get_next_crud_transaction()
        assert queued is not None
        assert [(entry.table, entry.id, entry.op_data) for entry in queued.crud] == [("places", "p1", {"name": "Roma"})]
        await db.disconnect_and_clear(discard_pending=True)
        assert await rows(db, "SELECT * FROM places") == []


async def test_a_raw_table_that_is_missing_is_told_and_found_when_it_is_there(
    service: ScriptedService, connector: HttpConnector, tmp_path: Path
) -> None:
    async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
        service.lines = WHOLE
        await db.connect(connector, retry_delay_s=0.05)
        status = await db.wait_for_status(lambda s: s.download_error is not None, DEADLINE_S)
        assert isinstance(status.download_error, RawTableInvalid)
        assert "CREATE TABLE" in status.download_error.hint
        await db.execute(PLACES_SQL)
        await db.wait_for_first_sync(timeout=DEADLINE_S)
        assert await rows(db, "SELECT id, name FROM places") == [("p1", "Rome")]
        assert await rows(db, "SELECT id FROM lists") == [("l1",)]


async def test_other_statements_of_a_raw_table_take_effect_without_a_download(
    service: ScriptedService, connector: HttpConnector, tmp_path: Path
) -> None:
    async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
        await db.execute(PLACES_SQL)
        service.lines = WHOLE
        await db.connect(connector)
        await db.wait_for_first_sync(timeout=DEADLINE_S)
        with pytest.raises(ClientError, match="while the database is connected"):
            await db.update_schema(SCHEMA)
        with pytest.raises(ClientError, match="while the database is connected"):
            await db.resync_tables()
        await db.disconnect()
        put_statement = RawStatement(
            "INSERT OR REPLACE INTO places(id, name, note) VALUES (?, ?, ?)", [ROW_ID, "name", REST]
        )
        await db.update_schema(Schema([RawTable("places", put=put_statement)]))
        assert [table.name for table in db.schema.raw_tables] == ["places"]
        await db.resync_tables(clear_progress=True)
        assert not db.current_status.has_synced
        service.lines = [checkpoint(2, bucket("1#a[]", ROWS)), complete(2)]  # no data: the device has them
        await db.connect(connector)
        await db.wait_for_first_sync(timeout=DEADLINE_S)
        assert await rows(db, "SELECT id, name, note FROM places") == [("p1", "Rome", '{"id":"p1","visited":true}')]
        assert await rows(db, "SELECT type, id FROM ps_untyped") == [("lists", "l1")]


@pytest.mark.requirement(85)
async def test_rows_stay_when_the_schema_changes_between_two_starts(
    service: ScriptedService, connector: HttpConnector, tmp_path: Path
) -> None:
    file = tmp_path / "app.db"
    async with SyncDatabase(file, schema=Schema([])) as db:
        service.lines = WHOLE
        await db.connect(connector)
        await db.wait_for_first_sync(timeout=DEADLINE_S)
    async with SyncDatabase(file, schema=Schema([Table("lists", [Column.text("id2")])])) as db:
        await db.execute("INSERT INTO lists(id) VALUES ('mine')")
    later = Schema([Table("lists", [Column.text("name"), Column.boolean("done")], indexes={"by_name": ["name"]})])
    async with SyncDatabase(file, schema=later) as db:
        assert await rows(db, "SELECT id, name, done FROM lists ORDER BY id") == [
            ("l1", "Work", None),
            ("mine", None, None),
        ]
        [plan] = await rows(db, "EXPLAIN QUERY PLAN SELECT id FROM lists WHERE name = 'Work'")
        assert "ps_data__lists__by_name" in str(plan)
        assert (await db.get_upload_queue_stats()).count == 1


async def test_updating_the_schema_shows_rows_to_watches(tmp_path: Path) -> None:
    async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
        await db.execute("INSERT INTO lists(id, name) VALUES ('1', 'x')")
        watched = db.watch("SELECT * FROM lists", throttle_s=0.001)
        async with asyncio.timeout(DEADLINE_S):
            assert [row.as_dict() for row in await anext(watched)] == [{"id": "1", "name": "x"}]
            await db.update_schema(Schema([Table("lists", [Column.text("name"), Column.text("colour")])]))
            assert [row.as_dict() for row in await anext(watched)] == [{"id": "1", "name": "x", "colour": None}]


@pytest.mark.requirement(62)
@pytest.mark.parametrize("clear_local", [False, True])
@pytest.mark.parametrize("soft", [False, True])
async def test_clearing_keeps_local_only_rows_unless_told(
    service: ScriptedService, connector: HttpConnector, tmp_path: Path, clear_local: bool, soft: bool
) -> None:
    async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
        await db.execute(PLACES_SQL)
        service.lines = WHOLE
        await db.connect(connector)
        await db.wait_for_first_sync(timeout=DEADLINE_S)
        await db.execute("INSERT INTO drafts(id, body) VALUES ('1', 'x')")
        await db.disconnect_and_clear(clear_local=clear_local, soft=soft)
        assert await rows(db, "SELECT id FROM lists") == []
        assert await rows(db, "SELECT id FROM places") == []
        assert await rows(db, "SELECT id FROM drafts") == ([] if clear_local else [("1",)])
        if soft:  # the rows come back at the next checkpoint, without a download
            service.lines = [checkpoint(2, bucket("1#a[]", ROWS)), complete(2)]
        await db.connect(connector)
        await db.wait_for_first_sync(timeout=DEADLINE_S)
        assert await rows(db, "SELECT id FROM lists") == [("l1",)]
        assert service.requests[-1].get("buckets", []) == ([{"name": "1#a[]", "after": "2"}] if soft else [])


async def test_a_seed_saves_the_first_download_and_every_copy_is_a_device_of_its_own(
    service: ScriptedService, connector: HttpConnector, tmp_path: Path
) -> None:
    async with SyncDatabase(tmp_path / "made.db", schema=SCHEMA) as db:
        await db.execute(PLACES_SQL)
        service.lines = WHOLE
        await db.connect(connector)
        await db.wait_for_first_sync(timeout=DEADLINE_S)
        await db.disconnect()
        await db.write_seed(tmp_path / "seed.db")
        with pytest.raises(FileExistsError):
            await db.write_seed(tmp_path / "seed.db")
        await db.execute("INSERT INTO lists(id) VALUES ('mine')")
        with pytest.raises(PendingWrites):
            await db.write_seed(tmp_path / "other.db")
        made = await db.get_client_id()
    async with SyncDatabase(tmp_path / "seed.db", schema=SCHEMA) as db:
        assert await db.get_client_id() != made
        assert await rows(db, "SELECT id, name FROM lists") == [("l1", "Work")]
        assert db.current_status.has_synced
        service.lines = [checkpoint(2, bucket("1#a[]", ROWS)), complete(2)]
        await db.connect(connector)
        await eventually(lambda: db.current_status.connected, timeout_s=DEADLINE_S)
        assert service.requests[-1]["buckets"] == [{"name": "1#a[]", "after": "2"}]


@pytest.mark.requirement(230)
async def test_a_bare_file_name_is_in_the_data_folder_of_the_app(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("XDG_DATA_HOME", "HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(variable, str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    for runs in (1, 2):
        async with SyncDatabase("app.db", schema=SCHEMA, app_name="todo") as db:
            assert db.path == data_directory("todo") / "app.db"
            assert db.path.is_relative_to(tmp_path / "data")
            await db.execute("INSERT INTO lists(id) VALUES (uuid())")
            assert len(await db.get_all("SELECT id FROM lists")) == runs
    async with SyncDatabase("./app.db", schema=SCHEMA) as db:
        assert db.path == tmp_path / "app.db"
        assert db.path.exists()


WRITING = """
import sys, time
from syncline.client.local.connection import open_writer, write_transaction
from syncline.client.local.layout import prepare
from syncline.client.schema import Column, Schema, Table
connection = open_writer(sys.argv[1])
prepare(connection, Schema([Table("lists", [Column.text("name")])]))
if sys.argv[2] == "after":
    with write_transaction(connection):
        connection.execute("INSERT INTO lists(id, name) VALUES ('1', 'x')")
else:
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO lists(id, name) VALUES ('1', 'x')")
print("written", flush=True)
sys.stdin.read()
"""


@pytest.mark.requirement(24)
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_process_that_is_killed_leaves_the_row_and_its_queue_entry_or_neither(
    tmp_path: Path, moment: str
) -> None:
    """Killed between the statement and the commit, and behind the commit."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WRITING, str(tmp_path / "app.db"), moment),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        assert await process.stdout.readline() == b"written\n"
        os.kill(process.pid, signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
        await process.wait()
    async with SyncDatabase(tmp_path / "app.db", schema=Schema([Table("lists", [Column.text("name")])])) as db:
        committed = moment == "after"
        assert len(await db.get_all("SELECT id FROM lists")) == committed
        assert (await db.get_upload_queue_stats()).count == committed
