"""Tables that are copied while the stream goes on: nobody waits for them, and what the stream brings meanwhile wins."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from syncline.replication import beside as beside_module
from syncline.replication import job as job_module
from syncline.replication.job import ReplicationJob
from syncline.replication.postgres import beside as reading
from syncline.replication.postgres.source import PostgresSource
from syncline.replication.source import SourceView
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.waiting import eventually
from tests.integration.replication.replicating import Replica, replicating

CONFIG = """
config: {edition: 3}
streams:
  old: {auto_subscribe: true, query: "SELECT id, n, note FROM t WHERE owner = auth.user_id()"}
  new: {auto_subscribe: true, query: "SELECT * FROM late WHERE owner = auth.user_id()"}
"""
LATE = "CREATE TABLE late (id text PRIMARY KEY, owner text, n int, body text)"
ROWS = "INSERT INTO late SELECT 'l' || lpad(n::text, 4, '0'), 'ann', n, repeat('b', 100) FROM generate_series(1, 900) n"
LARGE = "(SELECT string_agg(md5(m::text), '') FROM generate_series(1, 200) m)"  # stored out of line


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read a few rows at a time, and look at the publication often."""
    monkeypatch.setattr(job_module, "PUBLICATION_INTERVAL_S", 0.1)
    monkeypatch.setattr(reading, "BESIDE_CHUNK_ROWS", 50)
    monkeypatch.setattr(reading, "BESIDE_FIRST_BLOCKS", 1)


@pytest.fixture
def database(postgres_database: ScratchDatabase) -> ScratchDatabase:
    """A table that is replicated, and one that is not published yet."""
    postgres_database.execute(
        "CREATE TABLE t (id text PRIMARY KEY, owner text, n int, note text); INSERT INTO t VALUES ('r1', 'ann', 1, 'x');"
        f"{LATE}; {ROWS}; CREATE PUBLICATION powersync FOR TABLE t"
    )
    return postgres_database


@asynccontextmanager
async def followed(database: ScratchDatabase, folder: Path) -> AsyncGenerator[Replica]:
    async with replicating(database.dsn, folder, sync_config=CONFIG) as replica:
        await replica.caught_up()
        yield replica


def expected(database: ScratchDatabase) -> dict[str, dict[str, Any]]:
    late = database.execute("SELECT to_jsonb(late), id FROM late WHERE owner = 'ann'")
    old = database.execute("SELECT jsonb_build_object('id', id, 'n', n, 'note', note), id FROM t WHERE owner = 'ann'")
    return {row_id: row for row, row_id in [*late, *old]}


async def settled(database: ScratchDatabase, replica: Replica) -> None:
    """Wait until the copy is done; then what is stored is what is there, and stays so."""
    await eventually(lambda: not copying(replica), what="the copy is done", timeout_s=30)
    for _ in range(2):
        await replica.caught_up()
        assert await replica.rows("ann") == expected(database)
        database.execute("UPDATE late SET n = n + 1 WHERE n % 7 = 0; UPDATE t SET n = n + 1")


def copying(replica: Replica) -> bool:
    return any(table.snapshot == "beside" for table in replica.writer.tables(replica.writer.versions()[-1].number)) or (
        len(replica.writer.tables(replica.writer.versions()[-1].number)) < 2
    )


@contextmanager
def held(database: ScratchDatabase, table: str) -> Generator[psycopg.Connection[tuple[Any, ...]]]:
    """Nobody can read the table while the block runs."""
    with database.connect() as connection:
        connection.autocommit = False
        connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
        yield connection
        connection.rollback()


def between_reading_and_storing(monkeypatch: pytest.MonkeyPatch, act: Callable[[int], object]) -> list[int]:
    """Call `act` with 0, 1, … each time that a chunk was read and is not stored yet; returns the list of the calls."""
    calls: list[int] = []
    hand_over = beside_module.BesideCopier._hand_over  # pyright: ignore[reportPrivateUsage] - the moment has no public face

    async def acting(self: Any, chunk: Any, part: Any) -> None:
        calls.append(len(calls))
        await asyncio.to_thread(act, calls[-1])
        await hand_over(self, chunk, part)

    monkeypatch.setattr(beside_module.BesideCopier, "_hand_over", acting)
    return calls


async def test_other_tables_go_on_while_a_new_one_is_copied(database: ScratchDatabase, tmp_path: Path) -> None:
    async with followed(database, tmp_path) as replica:
        database.execute("ALTER PUBLICATION powersync ADD TABLE late")
        with held(database, "late"):
            for n in range(2, 6):
                database.execute("UPDATE t SET n = %s", (n,))
                await replica.caught_up()
                assert (await replica.rows("ann"))["r1"]["n"] == n
        await settled(database, replica)


async def test_what_changes_between_reading_and_storing_is_stored_as_it_is(
    database: ScratchDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def act(call: int) -> None:
        first = f"ctid IN (SELECT ctid FROM late ORDER BY ctid OFFSET {call * 45} LIMIT 10)"
        database.execute(
            f"UPDATE late SET n = -n WHERE {first}; DELETE FROM late WHERE ctid IN (SELECT ctid FROM late WHERE n < 0 LIMIT 3);"
            f"UPDATE late SET id = id || 'k' WHERE ctid IN (SELECT ctid FROM late WHERE n < 0 AND length(id) < 9 LIMIT 3);"
            f"INSERT INTO late VALUES ('new{call}', 'ann', {call}, 'x'); UPDATE late SET owner = 'bob' WHERE id = 'new{call - 1}'"
        )

    calls = between_reading_and_storing(monkeypatch, act)
    async with followed(database, tmp_path) as replica:
        database.execute("ALTER PUBLICATION powersync ADD TABLE late")
        await settled(database, replica)
        assert len(calls) >= 10


async def test_a_value_that_an_update_leaves_out_is_asked_for(
    database: ScratchDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows move to pages that the copy does not read any more: the stream has them, but for the large value."""
    database.execute(f"UPDATE late SET body = {LARGE} WHERE n % 10 = 0")
    database.execute("VACUUM FULL late")
    asked: list[int] = []
    rows = PostgresSource.rows

    async def counted(self: PostgresSource, relation: Any, keys: Any, **options: Any) -> Any:
        asked.append(len(keys))
        return await rows(self, relation, keys, **options)

    monkeypatch.setattr(PostgresSource, "rows", counted)
    last = "UPDATE late SET n = n + 1000 WHERE n % 10 = 0 AND id > 'l0500'; UPDATE late SET id = id || 'k' WHERE id LIKE 'l089%'"
    between_reading_and_storing(monkeypatch, lambda call: database.execute(last) if call == 0 else None)
    async with followed(database, tmp_path) as replica:
        database.execute("ALTER PUBLICATION powersync ADD TABLE late")
        await settled(database, replica)
        assert sum(asked) >= 30


async def test_a_table_that_is_truncated_meanwhile_is_read_again(
    database: ScratchDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = f"TRUNCATE late; {ROWS.replace('900', '100')}"
    between_reading_and_storing(monkeypatch, lambda call: database.execute(script) if call == 3 else None)
    async with followed(database, tmp_path) as replica:
        database.execute("ALTER PUBLICATION powersync ADD TABLE late")
        await settled(database, replica)
        assert len(await replica.rows("ann")) == 101


async def test_what_was_written_before_the_table_was_published_is_waited_for(
    database: ScratchDatabase, tmp_path: Path
) -> None:
    """The stream leaves out what a transaction wrote before, although it commits after."""
    async with followed(database, tmp_path) as replica:
        with database.connect() as writer:
            writer.autocommit = False
            writer.execute("INSERT INTO late VALUES ('early', 'ann', 0, 'written early')")
            database.execute("ALTER PUBLICATION powersync ADD TABLE late")
            await eventually(
                lambda: copying(replica) and len(replica.writer.tables(replica.writer.versions()[-1].number)) == 2,
                what="the copy begins",
            )
            database.execute("UPDATE t SET n = 5")
            await replica.caught_up()
            assert (await replica.rows("ann"))["r1"]["n"] == 5
            writer.commit()
        await settled(database, replica)
        assert "early" in await replica.rows("ann")


async def test_a_reading_that_does_not_see_what_was_streamed_before_is_not_stored(
    database: ScratchDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit can be streamed before it is seen. Here: a transaction that counts as streamed while it is still open."""
    jobs: list[ReplicationJob] = []
    copy_tables = ReplicationJob._copy_tables  # pyright: ignore[reportPrivateUsage] - the moment has no public face

    async def noting(self: Any, *arguments: Any) -> Any:
        jobs.append(self)
        return await copy_tables(self, *arguments)

    monkeypatch.setattr(ReplicationJob, "_copy_tables", noting)
    async with followed(database, tmp_path) as replica:
        with database.connect() as unseen:
            unseen.autocommit = False
            row = unseen.execute("SELECT pg_current_xact_id()::text").fetchone()
            assert row is not None
            jobs[-1]._ended.append(int(row[0]) % 2**32)  # pyright: ignore[reportPrivateUsage] - stands for the stream
            database.execute("ALTER PUBLICATION powersync ADD TABLE late")
            await eventually(lambda: len(jobs) > 1, what="the table is to be copied")
            database.execute("UPDATE t SET n = 6")
            await replica.caught_up()
            assert len(await replica.rows("ann")) == 1, "no row is stored that the transaction might have changed"
            unseen.commit()
        await settled(database, replica)


async def test_more_changes_than_are_noted_have_a_part_read_again(
    database: ScratchDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(beside_module, "BESIDE_KEYS_MAX", 20)
    script = "UPDATE late SET n = n + 1"
    between_reading_and_storing(monkeypatch, lambda call: database.execute(script) if call in (1, 2) else None)
    async with followed(database, tmp_path) as replica:
        with caplog.at_level("INFO", logger="syncline.replication.beside"):
            database.execute("ALTER PUBLICATION powersync ADD TABLE late")
            await settled(database, replica)
    assert caplog.text.count("too many of its rows were changed meanwhile") >= 2


async def test_a_page_of_large_rows_is_one_chunk_and_more_are_not(
    database: ScratchDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BESIDE_FIRST_BLOCKS", 8)
    monkeypatch.setattr(reading, "BESIDE_BYTES_MAX", 100_000)
    database.execute(
        f"TRUNCATE late; INSERT INTO late SELECT 'l' || n, 'ann', n, {LARGE} FROM generate_series(1, 300) n"
    )
    database.execute("ALTER PUBLICATION powersync ADD TABLE late")
    source = PostgresSource(database.dsn, application_name="test")
    try:
        relations = await source.relations(replicating_patterns())
        [late] = [relation for relation in relations if relation.name == "late"]
        chunks = [chunk async for chunk in source.snapshot(late, beside=True)]
    finally:
        await source.close()
    assert sum(len(chunk.rows) for chunk in chunks) == 300
    blocks = [chunk.progress.next_block for chunk in chunks if chunk.progress is not None]
    assert blocks == sorted(set(blocks)), "each chunk is a part of its own"
    assert max(len(chunk.rows) for chunk in chunks) < 300


def replicating_patterns() -> Any:
    from syncline.sync_config import compile_sync_config

    return compile_sync_config(CONFIG).table_patterns


async def test_a_copy_goes_on_where_it_was(
    database: ScratchDatabase, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with followed(database, tmp_path) as replica:
        database.execute("ALTER PUBLICATION powersync ADD TABLE late")

        def some_progress() -> bool:
            tables = replica.writer.tables(replica.writer.versions()[-1].number)
            return any(table.progress is not None and table.progress.next_block > 2 for table in tables)

        await eventually(some_progress, what="a part is stored")
        before = await replica.version()
    with caplog.at_level("DEBUG", logger="syncline.replication.postgres.table_reading"):
        async with replicating(database.dsn, tmp_path, sync_config=CONFIG) as replica:
            database.execute("UPDATE late SET n = n + 1 WHERE n % 3 = 0; DELETE FROM late WHERE n % 5 = 0")
            await settled(database, replica)
            assert (await replica.version()).number == before.number
    assert "Reading blocks 0 " not in caplog.text


@pytest.mark.parametrize(
    ("end", "running", "transaction", "sees"),
    [
        (100, [], 99, True),
        (100, [], 100, False),
        (100, [98], 98, False),
        (100, [98], 97, True),
        (5, [], 2**32 - 3, True),  # the ids have begun again from 3
        (2**32 - 3, [], 5, False),
    ],
)
def test_which_transactions_a_reading_sees(end: int, running: list[int], transaction: int, sees: bool) -> None:
    assert SourceView(end, frozenset(running)).sees(transaction) is sees
