"""Which rows have changed, by the app and by sync."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from syncline.client import Column, HttpConnector, Schema, SyncDatabase, Table, row_changes
from syncline.client.row_changes import RowChange, RowChangeKind, RowChanges
from syncline.errors import ClientError
from tests.support.scripted_service import ScriptedService, bucket, checkpoint, complete, data, put

SCHEMA = Schema(
    [
        Table("lists", [Column.text("name"), Column.integer("done")]),
        Table("logs", [Column.text("line")], insert_only=True),
    ]
)
INSERT = "INSERT INTO lists(id, name) VALUES (?, ?)"


@pytest.fixture
async def db(tmp_path: Path) -> AsyncGenerator[SyncDatabase]:
    async with asyncio.timeout(60), SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as database:
        yield database


@pytest.fixture
async def changes(db: SyncDatabase) -> AsyncGenerator[RowChanges]:
    await db.execute_many(INSERT, [["a", "1"], ["b", "2"], ["c", "3"]])
    async with db.track_changes("lists", ["name"]) as tracked:
        yield tracked


def told(found: list[RowChange]) -> list[tuple[str, str, str | None, str | None]]:
    return sorted(
        (change.id, str(change.kind), (change.previous or {}).get("name"), (change.current or {}).get("name"))
        for change in found
    )


@pytest.mark.requirement(100)
async def test_a_step_tells_the_net_change_of_each_row(db: SyncDatabase, changes: RowChanges) -> None:
    async with db.write_transaction() as transaction:
        await transaction.execute("UPDATE lists SET name = 'x' WHERE id = 'a'")
        await transaction.execute("UPDATE lists SET name = 'y' WHERE id = 'a'")
        await transaction.execute("DELETE FROM lists WHERE id = 'b'")
        await transaction.execute(INSERT, ["d", "4"])
        await transaction.execute(INSERT, ["gone", "5"])
        await transaction.execute("DELETE FROM lists WHERE id = 'gone'")
        await transaction.execute("INSERT OR REPLACE INTO lists(id, name) VALUES ('c', 'replaced')")
    assert told(await anext(changes)) == [
        ("a", "updated", "1", "y"),
        ("b", "deleted", "2", None),
        ("c", "updated", "3", "replaced"),  # a DELETE and an INSERT of one row
        ("d", "inserted", None, "4"),
    ]
    await db.execute("DELETE FROM lists")
    assert [change[1] for change in told(await anext(changes))] == ["deleted"] * 3


async def test_other_columns_and_what_is_undone_wake_nobody(db: SyncDatabase, changes: RowChanges) -> None:
    step = asyncio.create_task(anext(changes))
    await db.execute("UPDATE lists SET done = 1")
    async with db.write_transaction() as transaction:
        await transaction.execute("UPDATE lists SET name = 'x'")
        await transaction.rollback()
    for _ in range(20):
        await db.fetch(int, "SELECT 1")
    assert not step.done()
    await db.execute("UPDATE lists SET name = 'x' WHERE id = 'a'")
    assert told(await step) == [("a", "updated", "1", "x")]


async def test_a_cancelled_step_loses_nothing_and_a_slow_reader_gets_portions(
    db: SyncDatabase, changes: RowChanges, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_changes, "CHANGES_PER_STEP_MAX", 2)
    step = asyncio.create_task(anext(changes))
    await asyncio.sleep(0)
    await db.execute("UPDATE lists SET name = name || '!'")
    await asyncio.sleep(0)
    step.cancel()
    found = await anext(changes)
    if not step.cancelled():
        found = [*step.result(), *found]
    while len(found) < 3:
        found += await anext(changes)
    assert told(found) == [("a", "updated", "1", "1!"), ("b", "updated", "2", "2!"), ("c", "updated", "3", "3!")]


async def test_sync_is_told_of_as_an_update(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    async with db.track_changes("lists") as changes:
        first, second = put(1, "lists", "s", name="old", more="not in the schema"), put(2, "lists", "s", name="new")
        service.lines = [checkpoint(1, bucket("1#a[]", [first])), data("1#a[]", [first]), complete(1)]
        await db.connect(connector, retry_delay_s=0.05)
        [change] = await anext(changes)
        assert change == RowChange(RowChangeKind.INSERTED, "s", {"name": "old", "done": None}, None)
        service.send(checkpoint(2, bucket("1#a[]", [first, second])), data("1#a[]", [second]), complete(2))
        assert told(await anext(changes)) == [("s", "updated", "old", "new")]


async def test_nothing_stays_behind(db: SyncDatabase, changes: RowChanges) -> None:
    await changes.aclose()
    await changes.aclose()
    left = await db.run(lambda tx: tx.fetch(str, "SELECT name FROM temp.sqlite_schema"))
    assert left == []
    other = db.track_changes("lists")
    step = asyncio.create_task(anext(other))
    await asyncio.sleep(0.01)
    await db.close()
    with pytest.raises(StopAsyncIteration):
        await step


async def test_what_cannot_be_tracked_is_refused(db: SyncDatabase) -> None:
    for table, columns in (("logs", None), ("nothing", None), ("lists", ["nothing"])):
        with pytest.raises(ClientError):
            db.track_changes(table, columns)
