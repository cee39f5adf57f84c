"""The database for plain code: scripts, window programs, notebooks, threads."""

from __future__ import annotations

import asyncio
import inspect
import queue
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, assert_type

import apsw
import pytest

from syncline.client import Column, Row, Schema, Table
from syncline.client import SyncDatabase as AsyncDatabase
from syncline.client import get_database as get_async_database
from syncline.client.blocking import SyncDatabase, get_database, reset_database
from syncline.client.blocking.callbacks import CallbackThread
from syncline.client.errors import DatabaseClosed, DatabaseNotInitialized, NestedTransaction, TransactionExpired
from syncline.errors import ClientError
from syncline.testing.waiting import eventually_sync

DEADLINE_S = 20.0
SCHEMA = Schema([Table("lists", [Column.text("name"), Column.integer("done")])])
INSERT = "INSERT INTO lists(id, name) VALUES (?, ?)"
NAMES = "SELECT name FROM lists ORDER BY id"


@dataclass
class Entry:
    id: str
    name: str
    done: bool | None


@pytest.fixture
def db(tmp_path: Path) -> Generator[SyncDatabase]:
    with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as database:
        yield database


def names(db: SyncDatabase) -> list[str]:
    return db.fetch(str, NAMES)


@pytest.mark.requirement(68)
def test_it_has_every_name_of_the_asynchronous_database(db: SyncDatabase) -> None:
    public = [name for name in dir(AsyncDatabase) if not name.startswith("_")]
    assert len(public) > 20
    for name in public:
        assert hasattr(db, name), name
        assert not inspect.iscoroutinefunction(getattr(db, name)), name
        assert name in dir(db)
    with pytest.raises(AttributeError):
        db.something_else  # noqa: B018 - looking it up is the test


@pytest.mark.requirement(68, 103)
def test_statements_and_typed_rows(db: SyncDatabase) -> None:
    assert db.execute("INSERT INTO lists(id, name, done) VALUES ('a', 'x', ?) RETURNING id", [True])[0]["id"] == "a"
    db.execute_many(INSERT, [["b", "y"], ["c", "z"]])
    assert names(db) == ["x", "y", "z"]
    assert db.get("SELECT count(*) FROM lists")[0] == 3
    assert db.get_optional("SELECT 1 WHERE 0") is None
    assert db.fetch(Entry, "SELECT * FROM lists WHERE id = :id", id="a") == [Entry("a", "x", True)]
    assert db.run(lambda tx: len(tx.get_all("SELECT * FROM lists"))) == 3
    with pytest.raises(LookupError):
        db.get("SELECT 1 WHERE 0")
    with pytest.raises(apsw.SQLError):
        db.get_all("SELECT * FROM nothing")


def test_what_is_asked_for_has_types(db: SyncDatabase) -> None:
    """Checked by the type checker; at run time `assert_type` does nothing."""
    assert_type(db.fetch(Entry, "SELECT * FROM lists"), list[Entry])
    assert_type(db.get_all(NAMES), list[Row])
    assert_type(db.run(lambda tx: tx.fetch(int, "SELECT count(*) FROM lists")), list[int])
    assert_type(next(db.watch("SELECT * FROM lists", row_type=Entry)), list[Entry])
    assert_type(next(db.watch(NAMES)), list[Row])
    with db.write_transaction() as tx:
        assert_type(tx.fetch(Entry, "SELECT * FROM lists"), list[Entry])


@pytest.mark.requirement(58, 59)
def test_the_open_database_is_found_until_it_is_reset(tmp_path: Path) -> None:
    with pytest.raises(DatabaseNotInitialized):
        get_database()
    reset_database()
    db = SyncDatabase(tmp_path / "app.db", schema=SCHEMA)
    with pytest.raises(DatabaseNotInitialized):
        db.get_all(NAMES)
    db.init()
    db.init()
    assert get_database() is db
    with pytest.raises(DatabaseNotInitialized):
        get_async_database()  # the one inside belongs to another loop
    reset_database()
    with pytest.raises(DatabaseNotInitialized):
        get_database()
    with pytest.raises(DatabaseClosed):
        db.get_all(NAMES)


class Counter:
    """Something asynchronous on the database."""

    def __init__(self, database: AsyncDatabase) -> None:
        self.loop = asyncio.get_running_loop()
        self._database = database

    async def count(self) -> int:
        return (await self._database.get("SELECT count(*) FROM lists"))[0]

    def describe(self) -> str:
        asyncio.get_running_loop()
        return "a counter"

    async def each(self) -> AsyncGenerator[str]:
        for row in await self._database.get_all(NAMES):
            yield row["name"]

    async def __aenter__(self) -> Counter:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._database.execute("DELETE FROM lists")


def test_other_parts_of_the_client_can_be_used_from_plain_code(db: SyncDatabase) -> None:
    db.execute_many(INSERT, [["a", "x"], ["b", "y"]])
    counter = db.wrap(Counter)
    assert (counter.count(), counter.describe(), counter.loop) == (2, "a counter", db.loop)
    assert list(counter.each()) == ["x", "y"]
    with counter as entered:
        assert isinstance(entered, Counter)
    assert counter.count() == 0
    assert "count" in dir(counter)
    with pytest.raises(AttributeError):
        counter._database  # noqa: B018 - not for others


def test_transactions_commit_and_roll_back(db: SyncDatabase) -> None:
    with db.write_transaction() as tx:
        tx.execute(INSERT, ["a", "x"])
        with pytest.raises(RuntimeError), tx.savepoint():  # noqa: PT012 - what is left early is the test
            tx.execute(INSERT, ["b", "y"])
            raise RuntimeError
        tx.execute_many(INSERT, [["c", "z"]])
        assert tx.get("SELECT count(*) FROM lists")[0] == 2
    with pytest.raises(RuntimeError), db.write_transaction() as tx:  # noqa: PT012 - what is left early is the test
        tx.execute(INSERT, ["d", "w"])
        raise RuntimeError
    with pytest.raises(KeyboardInterrupt), db.write_transaction() as tx:  # noqa: PT012 - what is left early is the test
        tx.execute(INSERT, ["d", "w"])
        raise KeyboardInterrupt
    with db.write_transaction() as tx:
        tx.execute(INSERT, ["e", "v"])
        tx.rollback()
    with db.read_transaction() as tx:
        assert tx.fetch(str, NAMES) == ["x", "z"]
        db.execute(INSERT, ["f", "u"])
        assert len(tx.get_all(NAMES)) == 2
        assert tx.get_optional("SELECT 1 WHERE 0") is None
    transactions = list(db.crud_transactions())
    assert [[entry.id for entry in transaction.crud] for transaction in transactions] == [["a", "c"], ["f"]]
    transactions[0].complete()
    assert db.get_upload_queue_stats().count == 1
    assert db.get_next_crud_transaction().crud[0].id == "f"


def test_nested_use_raises_at_once(db: SyncDatabase) -> None:
    with db.write_transaction() as tx:
        for call in (
            lambda: db.execute(INSERT, ["a", "x"]),
            lambda: db.get_all(NAMES),
            lambda: db.run(lambda _: None),
            lambda: db.disconnect(),
            lambda: db.write_transaction().__enter__(),
            lambda: db.get_next_crud_transaction(),
        ):
            with pytest.raises(NestedTransaction):
                call()
        tx.execute(INSERT, ["a", "x"])
    with db.read_transaction(), pytest.raises(NestedTransaction):
        db.get_all(NAMES)
    with pytest.raises(NestedTransaction, match="writer thread"):
        db.run(lambda _: db.execute(INSERT, ["b", "y"]))
    assert names(db) == ["x"]


def test_an_open_transaction_expires(db: SyncDatabase) -> None:
    db.set_transaction_limits(warn_after_s=0.01, expire_after_s=0.02)

    def hold() -> None:
        with db.write_transaction() as tx:
            tx.execute(INSERT, ["a", "x"])
            with ThreadPoolExecutor(1) as other:
                other.submit(db.execute, INSERT, ["b", "y"]).result(DEADLINE_S)

    with pytest.raises(TransactionExpired):
        hold()
    assert names(db) == ["y"]


def test_many_threads_share_it(db: SyncDatabase) -> None:
    def work(number: int) -> None:
        for step in range(5):
            with db.write_transaction() as tx:
                tx.execute(INSERT, [f"{number}-{step}", "x"])
                assert tx.get("SELECT count(*) FROM lists WHERE id GLOB ?", [f"{number}-*"])[0] == step + 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert db.get("SELECT count(*) FROM lists")[0] == 40


@pytest.mark.requirement(99, 101)
def test_a_for_loop_follows_a_query(db: SyncDatabase) -> None:
    seen: list[list[str]] = []
    for rows in db.watch(NAMES, throttle_s=0):
        seen.append([row["name"] for row in rows])
        if len(rows) == 3:
            break
        db.execute(INSERT, [str(len(rows)), f"n{len(rows)}"])
    assert seen == [[], ["n0"], ["n0", "n1"], ["n0", "n1", "n2"]]
    with db.watch("SELECT name FROM lists WHERE id = ?", ["0"], row_type=str) as watch:
        assert next(watch) == ["n0"]
        with pytest.raises(TimeoutError):
            watch.get(timeout=0.02)
        watch.update(["1"])
        assert watch.get(timeout=DEADLINE_S) == ["n1"]
        watch.update(["2"])
        assert next(watch) == ["n2"]
    with pytest.raises(StopIteration):
        next(watch)


@pytest.mark.requirement(100)
def test_differences_and_changes_in_a_loop(db: SyncDatabase) -> None:
    changes = db.on_change(["lists"])
    db.execute(INSERT, ["a", "x"])
    assert next(changes) == {"lists"}
    with db.watch_diff("SELECT id, name FROM lists", throttle_s=0) as watch:
        assert len(next(watch).added) == 1
        db.execute("UPDATE lists SET name = 'y'")
        assert [entry.previous["name"] for entry in next(watch).updated] == ["x"]


@pytest.mark.requirement(99, 231)
def test_callbacks_come_in_a_thread_in_which_the_database_can_be_called(db: SyncDatabase) -> None:
    seen: list[tuple[int, str]] = []

    def show(rows: list[Any]) -> None:
        seen.append((db.get("SELECT count(*) FROM lists")[0], threading.current_thread().name))

    subscription = db.watch(NAMES, callback=show, throttle_s=0)
    db.execute(INSERT, ["a", "x"])
    eventually_sync(lambda: seen and seen[-1] == (1, "syncline-callbacks"), timeout_s=DEADLINE_S)
    assert subscription.is_open
    subscription()
    subscription.close()
    subscription()
    count = len(seen)
    db.execute(INSERT, ["b", "y"])
    with db.watch("SELECT 1", callback=lambda _: seen.append((-1, ""))):
        eventually_sync(lambda: seen[-1] == (-1, ""), timeout_s=DEADLINE_S)  # the thread has nothing before this
    assert len(seen) == count + 1


class Window:
    """What a window's loop is: a queue of calls that one thread takes when it likes."""

    def __init__(self) -> None:
        self.waiting: queue.Queue[Callable[[], None]] = queue.Queue()

    def run_one(self) -> None:
        self.waiting.get(timeout=DEADLINE_S)()


@pytest.mark.requirement(68, 99)
def test_a_dispatcher_brings_callbacks_into_the_windows_thread_and_a_slow_one_gets_the_latest(db: SyncDatabase) -> None:
    window, seen = Window(), list[tuple[int, int]]()
    subscription = db.watch(
        NAMES,
        callback=lambda rows: seen.append((threading.get_ident(), len(rows))),
        dispatcher=window.waiting.put,
        throttle_s=0,
    )
    window.run_one()
    for number in range(5):
        db.execute(INSERT, [str(number), "x"])
    while seen[-1][1] != 5:
        window.run_one()
    assert {thread for thread, _ in seen} == {threading.get_ident()}
    assert len(seen) <= 4
    db.execute(INSERT, ["late", "x"])
    dispatched = window.waiting.get(timeout=DEADLINE_S)
    subscription.close()
    dispatched()  # was on its way
    assert seen[-1][1] == 5


def test_errors_of_callbacks_and_of_queries_are_told(db: SyncDatabase, caplog: pytest.LogCaptureFixture) -> None:
    errors: list[Exception] = []
    subscription = db.watch("SELECT * FROM nothing", callback=lambda _: None, on_error=errors.append)
    eventually_sync(lambda: errors, timeout_s=DEADLINE_S)
    assert isinstance(errors[0], apsw.SQLError)
    eventually_sync(lambda: not subscription.is_open, timeout_s=DEADLINE_S)
    seen: list[int] = []

    def fail_once(rows: list[Any]) -> None:
        seen.append(len(rows))
        if len(seen) == 1:
            raise RuntimeError("mine")

    db.watch(NAMES, callback=fail_once, throttle_s=0)
    eventually_sync(lambda: seen, timeout_s=DEADLINE_S)
    db.execute(INSERT, ["a", "x"])
    eventually_sync(lambda: seen[-1] == 1, timeout_s=DEADLINE_S)  # it goes on
    assert "callback_failed" in [getattr(record, "event", "") for record in caplog.records]


@pytest.mark.requirement(69, 231)
def test_the_status_can_be_listened_to_and_listeners_end_more_than_once(db: SyncDatabase) -> None:
    seen: list[Any] = []
    dispose = db.register_listener(seen.append)
    eventually_sync(lambda: seen, timeout_s=DEADLINE_S)
    assert seen[0] == db.current_status
    dispose()
    dispose()
    assert next(db.status_changes()) == db.current_status
    with pytest.raises(TimeoutError):
        db.wait_for_first_sync(timeout=0.01)


@pytest.mark.requirement(68)
async def test_it_works_where_a_loop_runs_already_as_in_a_notebook(tmp_path: Path) -> None:
    with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
        assert db.loop is not asyncio.get_running_loop()
        db.execute(INSERT, ["a", "x"])
        assert names(db) == ["x"]
        assert len(next(db.watch(NAMES))) == 1


def test_the_loops_own_thread_cannot_wait_for_itself(db: SyncDatabase) -> None:
    async def call() -> None:
        db.get_all(NAMES)

    with pytest.raises(ClientError, match="its own event loop"):
        asyncio.run_coroutine_threadsafe(call(), db.loop).result(DEADLINE_S)


def test_nothing_works_after_the_end_and_the_threads_are_gone(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    db = SyncDatabase(tmp_path / "app.db", schema=SCHEMA)
    with db:
        watch, seen = db.watch(NAMES), list[Any]()
        next(watch)
        db.watch(NAMES, callback=seen.append)
        eventually_sync(lambda: seen, timeout_s=DEADLINE_S)
    db.close()
    for call in (lambda: db.get_all(NAMES), lambda: next(watch), lambda: db.watch(NAMES, callback=print)):
        with pytest.raises(DatabaseClosed):
            call()
    eventually_sync(lambda: not [t for t in set(threading.enumerate()) - before if t.name.startswith("syncline")])


def test_closing_in_a_callback_works(tmp_path: Path) -> None:
    db = SyncDatabase(tmp_path / "app.db", schema=SCHEMA)
    db.init()
    ended = threading.Event()

    def end(_: list[Any]) -> None:
        db.close()
        ended.set()

    db.watch(NAMES, callback=end)
    assert ended.wait(DEADLINE_S)


def test_a_file_that_cannot_be_opened_leaves_no_thread(tmp_path: Path) -> None:
    before = threading.active_count()
    with pytest.raises(ClientError), SyncDatabase(tmp_path / "no" / "folder" / "app.db", schema=SCHEMA):
        pass
    eventually_sync(lambda: threading.active_count() <= before)


_SCRIPT = """
import sys
from syncline.client import Column, Schema, Table
from syncline.client.blocking import SyncDatabase
db = SyncDatabase(sys.argv[1], schema=Schema([Table("lists", [Column.text("name")])]))
db.init()
db.execute("INSERT INTO lists(id, name) VALUES (uuid(), 'x')")
db.watch("SELECT * FROM lists", callback=lambda rows: None)
print(len(db.get_all("SELECT * FROM lists")))
"""


def test_a_script_that_never_closes_ends_in_silence(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(tmp_path / "app.db")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")


def test_the_callback_thread_can_be_closed_twice_and_unused() -> None:
    callbacks = CallbackThread()
    callbacks.close()
    seen: list[int] = []
    callbacks(lambda: seen.append(1))
    callbacks.close()
    callbacks.close()
    assert seen == [1]
