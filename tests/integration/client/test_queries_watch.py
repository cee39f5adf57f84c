"""Watched queries on a real file: never a lost change, never an old result."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import apsw
import pytest

from syncline.client import SyncDatabase
from syncline.client.watch import Watch
from syncline.errors import ClientError
from syncline.testing.waiting import eventually
from tests.support.watching import DEADLINE_S, INSERT, SCHEMA, TITLES, Collected, Todo, column, settle


@pytest.fixture
async def db(tmp_path: Path) -> AsyncGenerator[SyncDatabase]:
    async with asyncio.timeout(60), SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as database:
        yield database


@pytest.mark.requirement(99)
async def test_the_last_write_of_a_burst_is_never_lost(db: SyncDatabase) -> None:
    """The throttle has a trailing edge (other SDKs lost the last write of a burst)."""
    watch = db.watch(TITLES, throttle_s=0.05)
    collected = Collected(watch)
    await collected.until(lambda results: results[-1] == [])
    for number in range(40):
        await db.execute(INSERT, [f"{number:02}", f"t{number:02}", "l"])
    await collected.until(lambda results: len(results[-1]) == 40)
    assert len(collected.results) < 40  # folded
    sizes = [len(rows) for rows in collected.results]
    assert sizes == sorted(sizes)
    await watch.aclose()
    await collected.task


@pytest.mark.requirement(99)
async def test_a_slow_reader_gets_the_latest_result_and_no_backlog(db: SyncDatabase) -> None:
    watch = db.watch(TITLES, throttle_s=0)
    assert await anext(watch) == []
    for number in range(20):
        await db.execute(INSERT, [f"{number}", "t", "l"])
    assert len(await anext(watch)) == 20
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(watch), 0.05)


async def test_a_step_that_was_cancelled_loses_no_change(db: SyncDatabase) -> None:
    watch = db.watch(TITLES, throttle_s=0.2)
    assert await anext(watch) == []
    step = asyncio.create_task(anext(watch))
    await db.execute(INSERT, ["a", "x", "l"])
    await asyncio.sleep(0.02)  # the change has been taken in, and the throttle is waited for
    step.cancel()
    with pytest.raises(asyncio.CancelledError):
        await step
    assert column(await anext(watch)) == ["x"]


@pytest.mark.requirement(99)
async def test_a_change_while_the_query_runs_leads_to_another_run(db: SyncDatabase) -> None:
    """By force: the query has read its rows and is held back, while the next commit is made and told."""
    held, release = threading.Event(), threading.Event()

    def slow(connection: apsw.Connection, sql: str, bound: Any) -> list[Any]:
        rows = connection.execute(sql, bound).fetchall()
        held.set()
        release.wait(DEADLINE_S)
        return rows

    watch = Watch(db._open_parts().source, read=slow, sql=TITLES, parameters=None, throttle_s=0)
    step = asyncio.create_task(anext(watch))
    await asyncio.to_thread(held.wait, DEADLINE_S)
    await db.execute(INSERT, ["a", "x", "l"])
    release.set()
    assert await step == []
    async with asyncio.timeout(DEADLINE_S):
        assert await anext(watch) == [("x",)]


@pytest.mark.requirement(99, 103)
async def test_typed_rows_and_equal_results_left_out(db: SyncDatabase) -> None:
    watch = db.watch("SELECT * FROM todos WHERE list_id = ?", ["l"], row_type=Todo, throttle_s=0, distinct=True)
    assert await anext(watch) == []
    await db.execute(INSERT, ["b", "other list", "m"])  # the same table, and no other result
    step = asyncio.create_task(anext(watch))
    await settle(db)
    assert not step.done()
    await db.execute(INSERT, ["a", "x", "l"])
    assert await step == [Todo("a", "x")]


@pytest.mark.requirement(101)
async def test_a_late_result_of_older_parameters_is_dropped(db: SyncDatabase) -> None:
    """A race by force: the query with the old parameters is held back until the new ones are set."""
    await db.execute_many(INSERT, [["a", "old", "1"], ["b", "new", "2"]])
    held, release = threading.Event(), threading.Event()

    def slow(connection: apsw.Connection, sql: str, bound: Any) -> list[Any]:
        rows = connection.execute(sql, bound).fetchall()
        if bound == ("1",):
            held.set()
            release.wait(DEADLINE_S)
        return rows

    source = db._open_parts().source
    watch = Watch(source, read=slow, sql="SELECT title FROM todos WHERE list_id = ?", parameters=["1"], throttle_s=10)
    step = asyncio.create_task(anext(watch))
    await asyncio.to_thread(held.wait, DEADLINE_S)
    assert watch.update(["2"]) == 1
    async with asyncio.timeout(DEADLINE_S / 2):
        assert await step == [("new",)]  # while the old query has not ended
    release.set()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(watch), 0.05)
    assert watch.generation == 1


@pytest.mark.requirement(101)
async def test_new_parameters_are_read_at_once_whatever_the_throttle(db: SyncDatabase) -> None:
    await db.execute_many(INSERT, [["a", "one", "1"], ["b", "two", "2"]])
    watch = db.watch("SELECT title FROM todos WHERE list_id = :list", {"list": "1"}, throttle_s=60)
    assert column(await anext(watch)) == ["one"]
    step = asyncio.create_task(anext(watch))
    await asyncio.sleep(0.01)
    watch.update(list="2")
    assert column(await step) == ["two"]
    await db.execute(INSERT, ["c", "three", "2"])  # now the throttle holds
    step = asyncio.create_task(anext(watch))
    await asyncio.sleep(0.01)
    watch.update({"list": "1"})
    assert column(await step) == ["one"]
    watch.update(sql="SELECT count(*) FROM lists")
    assert column(await anext(watch)) == [0]


@pytest.mark.requirement(101)
async def test_of_many_quick_changes_of_parameters_only_results_of_the_newest_come_out(db: SyncDatabase) -> None:
    await db.execute_many(INSERT, [[str(number), str(number), str(number)] for number in range(30)])
    watch = db.watch("SELECT title FROM todos WHERE list_id = ?", ["0"], throttle_s=0)
    shown: list[tuple[int, list[Any]]] = []

    async def read() -> None:
        async for rows in watch:
            shown.append((watch.generation, column(rows)))  # noqa: PERF401 - looked at while it goes on

    reader = asyncio.create_task(read())
    for number in range(1, 30):
        watch.update([str(number)])
        for _ in range(number % 4):
            await asyncio.sleep(0.001)
    await eventually(lambda: shown and shown[-1] == (29, ["29"]), timeout_s=DEADLINE_S)
    assert all(rows == [str(generation)] for generation, rows in shown)
    await watch.aclose()
    await reader


async def test_a_failed_step_raises_and_the_watch_lives_on(db: SyncDatabase) -> None:
    watch = db.watch("SELECT * FROM nothing", throttle_s=0)
    for _ in range(2):
        with pytest.raises(apsw.SQLError):
            await anext(watch)
    watch.update(sql=TITLES)
    assert await anext(watch) == []
    with pytest.raises(ClientError, match="writes"):
        await anext(db.watch("DELETE FROM todos"))


async def test_two_tasks_cannot_read_one_watch(db: SyncDatabase) -> None:
    watch = db.watch(TITLES)
    await anext(watch)
    first = asyncio.create_task(anext(watch))
    await asyncio.sleep(0)
    with pytest.raises(ClientError, match="two tasks"):
        await anext(watch)
    first.cancel()


async def test_a_watch_ends_with_its_database(db: SyncDatabase) -> None:
    collected, changes = Collected(db.watch(TITLES)), Collected(db.on_change())
    differences = Collected(db.watch_diff("SELECT id FROM todos"))
    await collected.until(lambda results: results[-1] == [])
    await db.close()
    await asyncio.gather(collected.task, changes.task, differences.task)


async def test_a_forgotten_watch_leaves_nothing_behind(db: SyncDatabase) -> None:
    feed = db._open_parts().feed
    watch = db.watch(TITLES)
    await anext(watch)
    assert feed.is_followed
    del watch
    gc.collect()
    assert not feed.is_followed
