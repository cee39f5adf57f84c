"""Which changes a watch hears of: behind views, in virtual tables, by others, and all at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from syncline.client import SyncDatabase
from syncline.client.local.connection import open_writer
from syncline.client.watch import Watch
from syncline.testing.waiting import eventually
from tests.support.watching import DEADLINE_S, INSERT, SCHEMA, TITLES, column, settle


@pytest.fixture
async def db(tmp_path: Path) -> AsyncGenerator[SyncDatabase]:
    async with asyncio.timeout(60), SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as database:
        yield database


@pytest.mark.requirement(99)
@pytest.mark.parametrize(
    ("query", "tables"),
    [
        ("SELECT count(*) FROM todos", {"todos"}),
        ("SELECT 1 FROM todos WHERE 0", {"todos"}),
        ("SELECT * FROM drafts", {"drafts"}),
        ("SELECT * FROM todos JOIN lists ON lists.id = list_id", {"todos", "lists"}),
        ("WITH x AS (SELECT * FROM lists) SELECT (SELECT count(*) FROM todos), count(*) FROM x", {"todos", "lists"}),
        ("SELECT value FROM todos, json_each(title)", {"todos", "json_each"}),
        ("SELECT * FROM overview", {"todos", "lists"}),
        (
            "SELECT * FROM found WHERE found MATCH 'x'",
            {"found", "found_data", "found_idx", "found_content", "found_docsize", "found_config"},
        ),
    ],
)
async def test_the_tables_of_a_query_are_found_behind_views_and_virtual_tables(
    db: SyncDatabase, query: str, tables: set[str]
) -> None:
    await db.execute("CREATE VIEW overview AS SELECT name, title FROM lists LEFT JOIN todos ON list_id = lists.id")
    await db.execute("CREATE VIRTUAL TABLE found USING fts5(text)")
    assert await db.resolve_tables(query) == tables


@pytest.mark.requirement(99)
async def test_virtual_tables_and_tables_without_rowid_are_watched(db: SyncDatabase) -> None:
    await db.execute("CREATE VIRTUAL TABLE found USING fts5(text)")
    await db.execute("CREATE TABLE settings(name TEXT PRIMARY KEY, value) WITHOUT ROWID")
    search = db.watch("SELECT text FROM found WHERE found MATCH 'hello'", throttle_s=0)
    settings = db.watch("SELECT value FROM settings", throttle_s=0)
    assert (await anext(search), await anext(settings)) == ([], [])
    await db.execute("INSERT INTO found(text) VALUES ('hello world')")
    assert column(await anext(search)) == ["hello world"]
    await db.execute("INSERT INTO settings VALUES ('a', 1)")
    await eventually(lambda: _is(settings, [1]), timeout_s=DEADLINE_S)


async def _is(watch: Watch[Any], expected: list[Any]) -> bool:
    return column(await anext(watch)) == expected


@pytest.mark.requirement(99)
@pytest.mark.parametrize("table", ["todos", "plain"])
async def test_a_delete_of_all_rows_is_noticed(db: SyncDatabase, table: str) -> None:
    """SQLite empties a whole table at once, without a word to its update hook."""
    await db.execute("CREATE TABLE plain(id TEXT PRIMARY KEY)")
    await db.execute(f"INSERT INTO {table}(id) VALUES ('a')")
    watch = db.watch(f"SELECT id FROM {table}", throttle_s=0)
    assert column(await anext(watch)) == ["a"]
    await db.execute(f"DELETE FROM {table}")
    assert await asyncio.wait_for(anext(watch), DEADLINE_S) == []


@pytest.mark.parametrize("kind", ["TABLE", "VIEW", "VIRTUAL TABLE"])
async def test_what_is_dropped_is_gone(db: SyncDatabase, kind: str) -> None:
    body = {"TABLE": "(a)", "VIEW": " AS SELECT 1", "VIRTUAL TABLE": " USING fts5(a)"}[kind]
    for _ in range(2):
        await db.execute(f"CREATE {kind} thing{body}")
        await db.execute(f"DROP {kind.removeprefix('VIRTUAL ')} thing")
    assert await db.fetch(str, "SELECT name FROM sqlite_schema WHERE name GLOB 'thing*'") == []


async def test_other_tables_and_rolled_back_writes_wake_nobody(db: SyncDatabase) -> None:
    watch = db.watch(TITLES, throttle_s=0)
    await anext(watch)
    step = asyncio.create_task(anext(watch))
    await db.execute("INSERT INTO lists(id, name) VALUES ('l', 'x')")
    async with db.write_transaction() as transaction:
        await transaction.execute(INSERT, ["a", "x", "l"])
        await transaction.rollback()
    await settle(db)
    assert not step.done()
    step.cancel()


async def test_a_query_follows_a_view_that_was_made_anew(db: SyncDatabase) -> None:
    await db.execute("CREATE VIEW shown AS SELECT name FROM lists")
    watch = db.watch("SELECT * FROM shown", throttle_s=0)
    assert await anext(watch) == []
    async with db.write_transaction() as transaction:
        await transaction.execute("DROP VIEW shown")
        await transaction.execute("CREATE VIEW shown AS SELECT title FROM todos")
        await transaction.execute("INSERT INTO lists(id, name) VALUES ('l', 'x')")
    assert await anext(watch) == []
    await db.execute(INSERT, ["a", "t", "l"])
    assert column(await anext(watch)) == ["t"]


async def test_chosen_tables_decide_alone(db: SyncDatabase) -> None:
    watch = db.watch("SELECT count(*) FROM todos", tables=["lists"], throttle_s=0)
    assert column(await anext(watch)) == [0]
    step = asyncio.create_task(anext(watch))
    await db.execute(INSERT, ["a", "x", "l"])
    await settle(db)
    assert not step.done()
    await db.execute("INSERT INTO lists(id, name) VALUES ('l', 'x')")
    assert column(await step) == [1]


@pytest.mark.requirement(99)
async def test_on_change_follows_from_the_call_on_and_folds(db: SyncDatabase) -> None:
    changes = db.on_change(["todos", "drafts"])
    await db.execute("INSERT INTO lists(id, name) VALUES ('l', 'x')")
    await db.execute(INSERT, ["a", "x", "l"])
    await db.execute("INSERT INTO drafts(id, body) VALUES ('d', 'x')")
    assert await anext(changes) <= {"todos", "drafts"}
    everything = db.on_change(trigger_immediately=True)
    assert await anext(everything) == {"todos", "lists", "drafts"}
    await changes.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(changes)


async def test_on_change_keeps_its_throttle_and_loses_nothing(db: SyncDatabase) -> None:
    changes = db.on_change(["todos"], throttle_s=0.1)
    await db.execute(INSERT, ["a", "x", "l"])
    assert await anext(changes) == {"todos"}
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await db.execute(INSERT, ["b", "x", "l"])
    assert await anext(changes) == {"todos"}
    assert loop.time() - begun >= 0.05


@pytest.mark.requirement(64)
async def test_clearing_raises_the_version_and_every_watch_runs_again(db: SyncDatabase) -> None:
    await db.execute(INSERT, ["a", "x", "l"])
    versions = db.version_changes()
    assert (db.version, await anext(versions)) == (1, 1)
    watch, other = db.watch(TITLES, throttle_s=0), db.watch("SELECT 1", throttle_s=0)
    assert column(await anext(watch)) == ["x"]
    await anext(other)
    await db.disconnect_and_clear(discard_pending=True)
    assert (db.version, await anext(versions)) == (2, 2)
    await eventually(lambda: _is(watch, []), timeout_s=DEADLINE_S)
    assert column(await anext(other)) == [1]  # it reads no table, and yet


@pytest.mark.requirement(99)
async def test_writes_of_another_connection_are_noticed(db: SyncDatabase, tmp_path: Path) -> None:
    watch = db.watch(TITLES, throttle_s=0)
    changes = db.on_change()
    assert await anext(watch) == []
    foreign = await asyncio.to_thread(open_writer, tmp_path / "app.db")

    def write(number: int) -> None:
        foreign.execute(INSERT, [str(number), f"foreign {number}", "l"]).fetchall()

    for number in range(3):
        await asyncio.to_thread(write, number)
        async with asyncio.timeout(DEADLINE_S):
            while len(await anext(watch)) != number + 1:
                pass
    assert await anext(changes) == {"todos", "lists", "drafts"}
    await asyncio.to_thread(foreign.close)
