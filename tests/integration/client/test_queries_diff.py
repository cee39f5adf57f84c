"""Differences between the results of a watched query."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from random import Random
from typing import Any

import apsw
import pytest

from syncline.client import SyncDatabase
from syncline.client.local.connection import open_writer
from syncline.errors import ClientError
from syncline.testing.waiting import eventually
from tests.support.watching import DEADLINE_S, INSERT, SCHEMA, Collected, Todo, column, settle


@pytest.fixture
async def db(tmp_path: Path) -> AsyncGenerator[SyncDatabase]:
    async with asyncio.timeout(60), SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as database:
        yield database


SEEDS = 200 if os.environ.get("SYNCLINE_SOAK") else 6


@pytest.mark.requirement(99, 100)
@pytest.mark.parametrize("seed", range(SEEDS))
async def test_whatever_is_written_by_whomever_watches_end_with_what_is_there(
    db: SyncDatabase, tmp_path: Path, seed: int
) -> None:
    """Writes by the app, by another connection, deletes of everything, roll-backs, cleared data, changed parameters: from a seed."""
    random = Random(seed)
    print(f"seed {seed}")
    foreign = await asyncio.to_thread(open_writer, tmp_path / "app.db")
    throttle_s = random.choice([0.0, 0.01, 0.05])
    query = "SELECT id, title FROM todos WHERE list_id = ? ORDER BY id"
    watch, diff = db.watch(query, ["l0"], throttle_s=throttle_s), db.watch_diff(query, ["l0"], throttle_s=throttle_s)
    seen, folded = Collected(watch), Folded(diff)
    parameter = "l0"
    for _ in range(60):
        row = [f"{random.randrange(8)}", f"{random.random()}", f"l{random.randrange(2)}"]
        match random.randrange(8):
            case 0 | 1 | 2:
                await db.execute("INSERT OR REPLACE INTO todos(id, title, list_id) VALUES (?, ?, ?)", row)
            case 3 | 4:
                sql = "INSERT OR REPLACE INTO todos(id, title, list_id) VALUES (?, ?, ?)"
                await asyncio.to_thread(run, foreign, sql, row)
            case 5:
                await db.execute("DELETE FROM todos" + random.choice(["", " WHERE id < '4'"]))
            case 6:
                async with db.write_transaction() as transaction:
                    await transaction.execute("DELETE FROM todos")
                    await transaction.rollback()
            case _:
                parameter = f"l{random.randrange(2)}"
                watch.update([parameter])
                diff.update([parameter])
        if random.random() < 0.3:
            await asyncio.sleep(random.random() * 0.01)

    async def is_right() -> bool:
        rows = {row["id"]: row["title"] for row in await db.get_all(query, [parameter])}
        last = {row["id"]: row["title"] for row in seen.results[-1]} if seen.results else None
        return last == rows and folded.rows == rows

    await eventually(is_right, timeout_s=DEADLINE_S, what=f"seed {seed}")
    await watch.aclose()
    await diff.aclose()
    await asyncio.gather(seen.task, folded.task)
    await asyncio.to_thread(foreign.close)


def run(connection: apsw.Connection, sql: str, parameters: list[str]) -> None:
    connection.execute(sql, parameters).fetchall()


class Folded:
    """Applies differences, as a list in a window does."""

    def __init__(self, watch: Any) -> None:
        self.rows: dict[str, str] = {}
        self.task = asyncio.create_task(self._read(watch))

    async def _read(self, watch: Any) -> None:
        async for diff in watch:
            for row in diff.removed:
                assert self.rows.pop(row["id"]) == row["title"]
            for row in diff.added:
                assert row["id"] not in self.rows
                self.rows[row["id"]] = row["title"]
            for entry in diff.updated:
                assert self.rows[entry.current["id"]] == entry.previous["title"]
                self.rows[entry.current["id"]] = entry.current["title"]
            assert {row["id"]: row["title"] for row in diff.rows} == self.rows


@pytest.mark.requirement(100)
async def test_a_diff_tells_what_was_added_updated_removed_and_left(db: SyncDatabase) -> None:
    watch = db.watch_diff("SELECT id, title FROM todos ORDER BY id", row_type=Todo, throttle_s=0)
    await db.execute_many(INSERT, [["a", "1", "l"], ["b", "2", "l"], ["c", "3", "l"]])
    first = await anext(watch)
    assert (len(first.added), first.updated, first.removed, first.unchanged) == (3, [], [], [])
    async with db.write_transaction() as transaction:
        await transaction.execute("UPDATE todos SET title = 'new' WHERE id = 'b'")
        await transaction.execute("DELETE FROM todos WHERE id = 'c'")
        await transaction.execute(INSERT, ["d", "4", "l"])
    second = await anext(watch)
    assert second.added == [Todo("d", "4")]
    assert [(entry.previous, entry.current) for entry in second.updated] == [(Todo("b", "2"), Todo("b", "new"))]
    assert (second.removed, second.removed_keys) == ([Todo("c", "3")], ["c"])
    assert second.unchanged == [Todo("a", "1")]
    assert second.unchanged[0] is first.rows[0]
    assert [todo.id for todo in second.rows] == ["a", "b", "d"]


@pytest.mark.requirement(100)
async def test_a_diff_without_previous_values_keeps_digests_only(db: SyncDatabase) -> None:
    watch = db.watch_diff("SELECT id, title FROM todos", key=["id"], keep_previous=False, throttle_s=0)
    await db.execute_many(INSERT, [["a", "1", "l"], ["b", "2", "l"], ["c", "3", "l"]])
    assert len((await anext(watch)).added) == 3
    assert all(isinstance(kept, bytes) for kept in watch._state.values())
    await db.execute("DELETE FROM todos WHERE id = 'c'")
    await db.execute("UPDATE todos SET title = 'new' WHERE id = 'b'")
    diff = await anext(watch)
    assert [(entry.previous, entry.current["title"]) for entry in diff.updated] == [(None, "new")]
    assert (diff.removed, diff.removed_keys, len(diff.unchanged)) == ([], ["c"], 1)


@pytest.mark.requirement(100)
async def test_a_change_without_a_difference_is_left_out_and_another_order_is_told(db: SyncDatabase) -> None:
    watch = db.watch_diff("SELECT id FROM todos ORDER BY title", throttle_s=0)
    await db.execute_many(INSERT, [["a", "1", "l"], ["b", "2", "l"]])
    await anext(watch)
    step = asyncio.create_task(anext(watch))
    await db.execute("UPDATE todos SET list_id = 'm'")
    await settle(db)
    assert not step.done()
    await db.execute("UPDATE todos SET title = '3' WHERE id = 'a'")
    diff = await step
    assert (diff.moved, column(diff.rows), len(diff.unchanged)) == (True, ["b", "a"], 2)


@pytest.mark.requirement(100, 101)
async def test_other_parameters_give_the_difference_to_what_was_told_last(db: SyncDatabase) -> None:
    await db.execute_many(INSERT, [["a", "1", "x"], ["b", "2", "y"]])
    watch = db.watch_diff("SELECT id FROM todos WHERE list_id = ?", ["x"], throttle_s=0)
    await anext(watch)
    watch.update(["y"])
    diff = await anext(watch)
    assert (column(diff.added), column(diff.removed)) == (["b"], ["a"])


async def test_a_diff_says_what_is_wrong_with_its_key(db: SyncDatabase) -> None:
    await db.execute_many(INSERT, [["a", "1", "l"], ["b", "2", "l"]])
    with pytest.raises(ClientError, match="same key"):
        await anext(db.watch_diff("SELECT id, list_id FROM todos", key="list_id"))
    with pytest.raises(ClientError, match='no column "id"'):
        await anext(db.watch_diff("SELECT title FROM todos"))
    diff = await anext(
        db.watch_diff("SELECT list_id, title FROM todos", key=lambda row: (row["list_id"], row["title"]))
    )
    assert len(diff.added) == 2
