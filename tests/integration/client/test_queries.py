"""Statements, transactions and typed rows on a real file."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import threading
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import assert_type

import apsw
import pytest

from syncline.client import Column, Diff, Row, Schema, SyncDatabase, Table, Watch
from syncline.client.core.status import BlockedBy
from syncline.client.errors import DatabaseClosed, NestedTransaction, TransactionExpired
from syncline.client.statements import ThreadTransaction
from syncline.client.transactions import WriteTransaction
from syncline.errors import ClientError
from syncline.testing.waiting import eventually

DEADLINE_S = 20.0
INSERT = "INSERT INTO todos(id, title, done) VALUES (?, ?, ?)"
SCHEMA = Schema(
    [
        Table(
            "todos",
            [
                Column.text("title"),
                Column.integer("done"),
                Column.text("made"),
                Column.text("tags"),
                Column.text("list_id"),
            ],
        ),
        Table("drafts", [Column.text("body")], local_only=True),
    ]
)


@dataclass
class Todo:
    id: str
    title: str
    done: bool
    made: datetime | None
    tags: list[str] | None


@pytest.fixture
async def db(tmp_path: Path) -> AsyncGenerator[SyncDatabase]:
    async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA, readers=2) as database:
        yield database


async def titles(db: SyncDatabase) -> list[str]:
    return await db.fetch(str, "SELECT title FROM todos ORDER BY id")


@pytest.mark.requirement(91, 102, 103)
async def test_typed_rows_come_from_the_columns_of_a_view(db: SyncDatabase) -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    await db.execute(
        "INSERT INTO todos(id, title, done, made, tags) VALUES (:id, :title, :done, :made, :tags)",
        {"id": "a", "title": "x", "done": True, "made": moment, "tags": ["p", "q"]},
    )
    expected = Todo("a", "x", True, moment, ["p", "q"])
    assert await db.fetch(Todo, "SELECT * FROM todos WHERE id = :id", id="a") == [expected]
    assert await db.fetch(Todo, "SELECT * FROM todos WHERE id = ?", ["a"]) == [expected]
    assert await db.fetch(str, "SELECT value FROM todos, json_each(tags)") == ["p", "q"]
    assert await db.fetch(int, "SELECT count(*) FROM todos") == [1]
    async with db.read_transaction() as transaction:
        assert await transaction.fetch(Todo, "SELECT * FROM todos") == [expected]
    with pytest.raises(ClientError, match="both"):
        await db.fetch(Todo, "SELECT 1", [1], id="a")


@pytest.mark.requirement(88)
async def test_ids_of_new_rows_are_made_by_sql(db: SyncDatabase) -> None:
    [row] = await db.execute("INSERT INTO todos(id, title) VALUES (uuid(), 'x') RETURNING id")
    assert len(row["id"]) == 36
    assert await db.fetch(str, "SELECT id FROM todos") == [row["id"]]


async def test_one_statement_for_many_sets_is_one_transaction_all_or_none(db: SyncDatabase) -> None:
    await db.execute_many(INSERT, [["a", "x", 0], ["b", "y", 1]])
    transactions = [transaction async for transaction in db.crud_transactions()]
    assert [[entry.id for entry in transaction.crud] for transaction in transactions] == [["a", "b"]]
    with pytest.raises(apsw.Error):
        await db.execute_many(INSERT, [["c", "z", 0], ["a", "again", 0]])
    assert await titles(db) == ["x", "y"]


async def test_get_reads_one_row_and_get_optional_none(db: SyncDatabase) -> None:
    await db.execute_many(INSERT, [["a", "x", 0], ["b", "y", 1]])
    assert (await db.get("SELECT title FROM todos ORDER BY id"))["title"] == "x"
    assert await db.get_optional("SELECT title FROM todos WHERE id = 'none'") is None
    with pytest.raises(LookupError):
        await db.get("SELECT title FROM todos WHERE id = 'none'")


async def test_reads_cannot_write_and_say_what_to_use(db: SyncDatabase) -> None:
    with pytest.raises(apsw.ReadOnlyError) as caught:
        await db.get_all("INSERT INTO todos(id) VALUES ('a') RETURNING id")
    assert any("execute" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("sql", ["BEGIN", "commit;", " END TRANSACTION", "ROLLBACK"])
async def test_statements_cannot_end_a_transaction(db: SyncDatabase, sql: str) -> None:
    for call in (db.execute(sql), db.get_all(sql), db.get_optional(sql)):
        with pytest.raises(ClientError, match="begins and ends"):
            await call


async def test_a_read_transaction_sees_one_state(db: SyncDatabase) -> None:
    await db.execute(INSERT, ["a", "x", 0])
    async with db.read_transaction() as transaction:
        assert len(await transaction.get_all("SELECT * FROM todos")) == 1
        await db.execute(INSERT, ["b", "y", 0])  # writing is possible meanwhile
        assert len(await transaction.get_all("SELECT * FROM todos")) == 1
    assert len(await db.get_all("SELECT * FROM todos")) == 2


async def test_a_read_begun_after_a_write_has_returned_sees_it(db: SyncDatabase) -> None:
    for number in range(50):
        await db.execute(INSERT, [f"{number}", "x", 0])
        assert await db.fetch(int, "SELECT count(*) FROM todos") == [number + 1]


async def test_nested_use_raises_at_once_wherever_it_would_wait_or_see_something_else(db: SyncDatabase) -> None:
    async with asyncio.timeout(DEADLINE_S):
        async with db.write_transaction() as transaction:
            for call in (db.execute(INSERT, ["a", "x", 0]), db.get_all("SELECT 1"), db.run(lambda _: None)):
                with pytest.raises(NestedTransaction):
                    await call
            with pytest.raises(NestedTransaction):
                async with db.write_transaction():
                    pass
            with pytest.raises(NestedTransaction):
                async with db.read_transaction():
                    pass
            await transaction.execute(INSERT, ["a", "x", 0])
            assert len(await transaction.get_all("SELECT * FROM todos")) == 1
        async with db.read_transaction():
            with pytest.raises(NestedTransaction):
                await db.get_all("SELECT 1")
            with pytest.raises(NestedTransaction):
                async with db.read_transaction():
                    pass
        assert await titles(db) == ["x"]


async def test_another_task_reads_while_a_write_transaction_is_open_and_writes_after_it(db: SyncDatabase) -> None:
    async with asyncio.timeout(DEADLINE_S):
        async with db.write_transaction() as transaction:
            await transaction.execute(INSERT, ["a", "x", 0])
            reader = asyncio.create_task(db.get_all("SELECT * FROM todos"))
            assert await reader == []
        writer = asyncio.create_task(db.execute(INSERT, ["b", "y", 0]))
        await writer
        assert await titles(db) == ["x", "y"]


async def test_a_transaction_can_be_given_up_and_a_part_of_it(db: SyncDatabase) -> None:
    async with db.write_transaction() as transaction:
        await transaction.execute(INSERT, ["a", "x", 0])
        await transaction.rollback()
        with pytest.raises(ClientError, match="ended"):
            await transaction.execute(INSERT, ["b", "y", 0])
    assert await titles(db) == []

    async def fail(transaction: WriteTransaction) -> None:
        async with transaction.savepoint():
            await transaction.execute(INSERT, ["b", "y", 0])
            raise RuntimeError("mine")

    async with db.write_transaction() as transaction:
        await transaction.execute(INSERT, ["a", "x", 0])
        with pytest.raises(RuntimeError, match="mine"):
            await fail(transaction)
        async with transaction.savepoint():
            await transaction.execute(INSERT, ["c", "z", 0])
    assert await titles(db) == ["x", "z"]
    [transaction] = [found async for found in db.crud_transactions()]
    assert [entry.id for entry in transaction.crud] == ["a", "c"]


async def test_a_function_runs_in_the_writer_thread_in_one_transaction(db: SyncDatabase) -> None:
    threads: list[str] = []

    def fill(transaction: ThreadTransaction) -> int:
        threads.append(threading.current_thread().name)
        transaction.execute(INSERT, ["a", "x", True])
        transaction.execute_many(INSERT, [["b", "y", 0]])
        assert transaction.get("SELECT title FROM todos WHERE id = 'b'")["title"] == "y"
        assert transaction.get_optional("SELECT 1 WHERE 0") is None
        assert transaction.fetch(str, "SELECT title FROM todos WHERE id = :id", id="a") == ["x"]
        return len(transaction.get_all("SELECT * FROM todos"))

    assert await db.run(fill) == 2
    assert threads[0].startswith("syncline-writer")

    def fail(transaction: ThreadTransaction) -> None:
        transaction.execute(INSERT, ["c", "z", 0])
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        await db.run(fail)
    assert await titles(db) == ["x", "y"]

    async def wrong(_: ThreadTransaction) -> None: ...

    with pytest.raises(ClientError, match="plain function"):
        await db.run(wrong)


async def test_a_transaction_that_waits_is_named_in_the_status_and_then_rolled_back(
    db: SyncDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    db.set_transaction_limits(warn_after_s=0.02, expire_after_s=0.2)
    blocked = asyncio.create_task(db.wait_for_status(lambda s: s.blocked_by == BlockedBy.OPEN_TRANSACTION, DEADLINE_S))
    inside = asyncio.Event()

    async def wait_for_the_network() -> None:
        async with db.write_transaction() as transaction:
            await transaction.execute(INSERT, ["a", "x", 0])
            inside.set()
            await done.wait()
            await transaction.execute(INSERT, ["b", "y", 0])

    done = asyncio.Event()
    with caplog.at_level(logging.WARNING):
        waiting = asyncio.create_task(wait_for_the_network())
        await inside.wait()
        other = asyncio.create_task(db.execute(INSERT, ["c", "z", 0]))
        await blocked
        async with asyncio.timeout(DEADLINE_S):
            await other  # goes on while the block of the first one is still open
    assert db.current_status.blocked_by is None
    done.set()
    with pytest.raises(TransactionExpired, match="rolled back"):
        await waiting
    assert await titles(db) == ["z"]
    events = [getattr(record, "event", "") for record in caplog.records]
    assert events.count("transaction_open_long") == 1
    assert events.count("transaction_expired") == 1


async def test_a_block_that_ends_without_noticing_hears_that_it_was_rolled_back(db: SyncDatabase) -> None:
    db.set_transaction_limits(warn_after_s=0.01, expire_after_s=0.02)

    async def late() -> None:
        async with db.write_transaction() as transaction:
            await transaction.execute(INSERT, ["a", "x", 0])
            await eventually(lambda: not transaction.is_open, timeout_s=DEADLINE_S)

    with pytest.raises(TransactionExpired):
        await late()
    assert await titles(db) == []
    await db.execute(INSERT, ["b", "y", 0])


async def test_a_long_statement_does_not_count_as_waiting(db: SyncDatabase) -> None:
    db.set_transaction_limits(warn_after_s=0.5, expire_after_s=0.5)
    loop = asyncio.get_running_loop()
    spent_s = 0.0
    async with db.write_transaction() as transaction:
        while spent_s < 1.0:  # twice what the app itself may take
            begun = loop.time()
            await transaction.execute(
                f"{ENDLESS[: -len(') SELECT count(*) FROM n')]} LIMIT 300000) SELECT count(*) FROM n"
            )
            spent_s += loop.time() - begun
        await transaction.execute(INSERT, ["a", "x", 0])
    assert await titles(db) == ["x"]


async def test_who_cannot_begin_in_time_hears_so(db: SyncDatabase) -> None:
    async def late() -> None:
        async with db.write_transaction(lock_timeout_s=0.01):
            pass

    async with db.write_transaction() as transaction:
        waiting = asyncio.get_running_loop().create_task(late(), context=contextvars.Context())
        with pytest.raises(TimeoutError):
            await waiting
        await transaction.execute(INSERT, ["a", "x", 0])
    await late()
    async with contextlib.AsyncExitStack() as readers:
        for _ in range(2):
            held = asyncio.create_task(readers.enter_async_context(db.read_transaction()))
            await held
        with pytest.raises(TimeoutError):
            await readers.enter_async_context(db.read_transaction(lock_timeout_s=0.01))
    assert await titles(db) == ["x"]


async def test_statements_outside_of_a_transaction(db: SyncDatabase) -> None:
    with pytest.raises(apsw.SQLError) as caught:
        await db.execute("VACUUM")
    assert any("transaction=False" in note for note in caught.value.__notes__)
    await db.run(lambda tx: tx.execute("VACUUM"), transaction=False)
    await db.run(lambda tx: tx.execute(INSERT, ["a", "x", 0]), transaction=False)
    assert [len(transaction.crud) async for transaction in db.crud_transactions()] == [1]


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


async def test_a_cancelled_query_stops_and_its_reader_is_free(db: SyncDatabase) -> None:
    async with asyncio.timeout(DEADLINE_S):
        for _ in range(3):  # more than there are readers
            task = asyncio.create_task(db.get_all(ENDLESS))
            await asyncio.sleep(0)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(task, 0.02)
        assert await db.fetch(int, "SELECT 1") == [1]


async def test_a_cancelled_statement_of_a_write_rolls_back_and_frees_the_database(db: SyncDatabase) -> None:
    async with asyncio.timeout(DEADLINE_S):

        async def endless() -> None:
            async with db.write_transaction() as transaction:
                await transaction.execute(INSERT, ["a", "x", 0])
                await transaction.execute(ENDLESS)

        for call in (endless(), db.execute(ENDLESS)):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await call
        await db.execute(INSERT, ["b", "y", 0])
        assert await titles(db) == ["y"]


async def test_readers_run_side_by_side(db: SyncDatabase) -> None:
    async with asyncio.timeout(DEADLINE_S):
        endless = asyncio.create_task(db.get_all(ENDLESS))
        await asyncio.sleep(0)
        assert await db.fetch(int, "SELECT 1") == [1]
        endless.cancel()
        with pytest.raises(asyncio.CancelledError):
            await endless


@pytest.mark.requirement(67)
async def test_the_app_says_which_file_and_prepares_every_connection(tmp_path: Path) -> None:
    prepared: list[tuple[bool, str]] = []

    def prepare(connection: apsw.Connection, writes: bool) -> None:
        prepared.append((writes, threading.current_thread().name.partition("_")[0]))
        connection.create_scalar_function("shout", lambda *texts: f"{texts[0]}!", 1, deterministic=True)

    async with SyncDatabase(
        "app.db", folder=tmp_path, schema=SCHEMA, readers=1, initialize_connection=prepare
    ) as database:
        await database.execute("INSERT INTO todos(id, title) VALUES ('a', shout('x'))")
        assert await database.fetch(str, "SELECT shout(title) FROM todos") == ["x!!"]
    assert (tmp_path / "app.db").is_file()
    assert prepared == [(True, "syncline-writer"), (False, "syncline-reader-0")]
    with pytest.raises(ValueError, match="readers"):
        SyncDatabase(tmp_path / "b.db", schema=SCHEMA, readers=0)


async def test_what_is_asked_for_has_types(db: SyncDatabase) -> None:
    """Checked by the type checker; at run time `assert_type` does nothing."""
    assert_type(await db.fetch(Todo, "SELECT * FROM todos"), list[Todo])
    assert_type(await db.fetch(int, "SELECT count(*) FROM todos"), list[int])
    assert_type(await db.get_all("SELECT 1"), list[Row])
    assert_type(await db.get_optional("SELECT 1"), Row | None)
    assert_type(await db.run(lambda tx: tx.fetch(Todo, "SELECT * FROM todos")), list[Todo])
    assert_type(db.watch("SELECT * FROM todos", row_type=Todo), Watch[list[Todo]])
    assert_type(await anext(db.watch("SELECT * FROM todos")), list[Row])
    assert_type(await anext(db.watch_diff("SELECT * FROM todos", row_type=Todo)), Diff[Todo])
    async with db.read_transaction() as tx:
        assert_type(await tx.fetch(Todo, "SELECT * FROM todos"), list[Todo])


@pytest.mark.requirement(68)
async def test_the_event_loop_goes_on_while_many_rows_are_written_and_read(db: SyncDatabase) -> None:
    rows = 15_000
    values = [[f"{number}", datetime(2026, 1, 1, tzinfo=UTC), True] for number in range(rows)]
    turns = 0

    async def tick() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0.001)

    ticker = asyncio.create_task(tick())
    for call in (
        db.execute_many("INSERT INTO todos(id, made, done) VALUES (?, ?, ?)", values),
        db.fetch(Timed, "SELECT id, made, done FROM todos"),
        anext(db.watch_diff("SELECT id, made FROM todos", row_type=Timed)),
    ):
        turns = 0
        await call
        assert turns >= 5  # in a tenth of a second and more; none while the loop is held up
    ticker.cancel()


@dataclass
class Timed:
    id: str
    made: datetime
    done: bool = False


async def test_nothing_works_after_the_end(db: SyncDatabase) -> None:
    await db.close()
    for call in (db.execute(INSERT, ["a", "x", 0]), db.get_all("SELECT 1"), db.run(lambda _: None)):
        with pytest.raises(DatabaseClosed):
            await call
