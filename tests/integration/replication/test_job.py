"""The job on a real Postgres and real storage: what a client reduces equals the table."""

from __future__ import annotations

import asyncio
import random
import shutil
from pathlib import Path
from typing import Any

import psycopg
import pytest

from syncline.embedded import EmbeddedPostgres
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.proxy import FaultyProxy
from syncline.testing.waiting import eventually
from tests.integration.replication.replicating import Replica, replicating

TABLE = "CREATE TABLE t (id text PRIMARY KEY, owner text, n int, note text)"
OWNERS = ("ann", "bob", "cy")
TRANSACTIONS = 150
BIG = "(SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 200))"  # 6 kB: left out of updates elsewhere


def port_of(dsn: str) -> int:
    return int(dsn.rpartition(":")[2].partition("/")[0])


async def assert_equal(replica: Replica, database: ScratchDatabase) -> int:
    """Each owner's buckets hold exactly the owner's rows; return how many there are."""
    count = 0
    for owner in OWNERS:
        rows = database.execute("SELECT id, n, note FROM t WHERE owner = %s", (owner,))
        expected = {row_id: {"id": row_id, "n": n, "note": note} for row_id, n, note in rows}
        assert await replica.rows(owner) == expected
        count += len(expected)
    return count


def random_statement(draw: random.Random) -> str:
    row_id, other, owner = f"r{draw.randrange(60)}", f"r{draw.randrange(60)}", draw.choice([*OWNERS, "nobody"])
    note = draw.choice(["'small'", "NULL", BIG])
    upsert = f"INSERT INTO t VALUES ('{row_id}', '{owner}', 0, {note}) ON CONFLICT (id) DO UPDATE SET owner = '{owner}', note = {note}"
    return draw.choice(
        [
            upsert,
            upsert,
            f"UPDATE t SET n = n + 1 WHERE id = '{row_id}'",
            f"UPDATE t SET owner = '{owner}' WHERE id = '{row_id}'",
            f"UPDATE t SET id = '{other}' WHERE id = '{row_id}' AND NOT EXISTS (SELECT FROM t WHERE id = '{other}')",
            f"DELETE FROM t WHERE id = '{row_id}'",
            f"UPDATE t SET n = n + 1 WHERE owner = '{owner}'",
        ]
    )


def run_transaction(connection: psycopg.Connection[tuple[Any, ...]], draw: random.Random) -> None:
    statements = [random_statement(draw) for _ in range(draw.choice([1, 2, 5, 20]))]
    if draw.random() < 0.02:
        statements.insert(draw.randrange(len(statements)), "TRUNCATE t")
    end = "ROLLBACK" if draw.random() < 0.1 else "COMMIT"
    connection.execute(f"BEGIN; {'; '.join(statements)}; {end}".encode())


async def test_the_buckets_equal_the_table_whatever_happens_to_the_connection(
    postgres_database: ScratchDatabase, tmp_path: Path
) -> None:
    seed = random.randrange(2**32)
    draw = random.Random(seed)
    postgres_database.execute(f"{TABLE}; CREATE PUBLICATION powersync FOR ALL TABLES")
    port, cuts, compared = port_of(postgres_database.dsn), 0, 0
    async with FaultyProxy("127.0.0.1", port) as proxy:
        through = postgres_database.dsn.replace(str(port), str(proxy.port))
        with postgres_database.connect() as connection:
            for _ in range(50):
                run_transaction(connection, draw)
            async with replicating(postgres_database.dsn, tmp_path, through=through) as replica:
                for number in range(TRANSACTIONS):
                    run_transaction(connection, draw)
                    if draw.random() < 0.05:
                        cuts += proxy.cut()
                    if number % 50 == 49:
                        await replica.caught_up()
                        compared += await assert_equal(replica, postgres_database)
        print(f"seed {seed}: {TRANSACTIONS} transactions, {cuts} connections cut, {compared} rows compared")
    assert compared > 0, f"seed {seed}"


async def test_a_deleted_storage_is_rebuilt_under_a_new_number(
    postgres_database: ScratchDatabase, tmp_path: Path
) -> None:
    postgres_database.execute(
        f"{TABLE}; INSERT INTO t VALUES ('r1', 'ann', 1, 'x'); CREATE PUBLICATION powersync FOR ALL TABLES"
    )
    numbers: list[int] = []
    for _ in range(2):
        async with replicating(postgres_database.dsn, tmp_path / "storage") as replica:
            await replica.caught_up()
            numbers.append((await replica.version()).number)
            assert await assert_equal(replica, postgres_database) == 1
        shutil.rmtree(tmp_path / "storage")
    assert numbers[0] < numbers[1]


async def test_a_kept_storage_goes_on_where_it_was(postgres_database: ScratchDatabase, tmp_path: Path) -> None:
    postgres_database.execute(f"{TABLE}; CREATE PUBLICATION powersync FOR ALL TABLES")
    numbers: set[int] = set()
    for number in range(3):
        postgres_database.execute(f"INSERT INTO t VALUES ('r{number}', 'ann', 1, 'x')")
        async with replicating(postgres_database.dsn, tmp_path) as replica:
            await replica.caught_up()
            numbers.add((await replica.version()).number)
            assert await assert_equal(replica, postgres_database) == number + 1
    assert len(numbers) == 1


async def test_a_storage_restored_from_an_older_copy_is_rebuilt(
    postgres_database: ScratchDatabase, tmp_path: Path
) -> None:
    postgres_database.execute(
        f"{TABLE}; INSERT INTO t VALUES ('r1', 'ann', 1, 'x'); CREATE PUBLICATION powersync FOR ALL TABLES"
    )
    async with replicating(postgres_database.dsn, tmp_path / "storage") as replica:
        await replica.caught_up()
        old = (await replica.version()).number
    shutil.copytree(tmp_path / "storage", tmp_path / "backup")
    postgres_database.execute("INSERT INTO t VALUES ('r2', 'ann', 2, 'y')")
    async with replicating(postgres_database.dsn, tmp_path / "storage") as replica:
        await replica.caught_up()
        confirmed = "SELECT bool_and(confirmed_flush_lsn > %s::pg_lsn) FROM pg_replication_slots WHERE database = %s"
        head = postgres_database.execute("SELECT pg_current_wal_insert_lsn()::text")[0][0]
        await replica.caught_up()
        await eventually(lambda: postgres_database.execute(confirmed, (head, postgres_database.name))[0][0])
    async with replicating(postgres_database.dsn, tmp_path / "backup") as replica:

        async def replaced() -> bool:
            return (await replica.version()).number > old

        await eventually(replaced, what="a new version serves")
        assert await assert_equal(replica, postgres_database) == 2


@pytest.mark.parametrize(
    "statements",
    [
        ("DROP TABLE t", TABLE, "INSERT INTO t VALUES ('r2', 'ann', 2, 'y')"),
        ("ALTER TABLE t REPLICA IDENTITY FULL", "UPDATE t SET n = 5", "DELETE FROM t WHERE id = 'r1'"),
        ("ALTER TABLE t RENAME TO gone", TABLE, "INSERT INTO t VALUES ('r1', 'ann', 3, 'z')"),
        ("ALTER TABLE t ALTER n TYPE bigint", "UPDATE t SET n = 6000000000"),
        ("DROP PUBLICATION powersync; UPDATE t SET n = 7", "CREATE PUBLICATION powersync FOR ALL TABLES"),
        ("SELECT pg_terminate_backend(active_pid), pg_sleep(0) FROM pg_replication_slots", "UPDATE t SET n = 8"),
    ],
    ids=["recreated", "identity", "renamed", "retyped", "publication", "walsender"],
)
async def test_buckets_follow_what_becomes_of_the_table(
    postgres_database: ScratchDatabase, tmp_path: Path, statements: tuple[str, ...]
) -> None:
    postgres_database.execute(
        f"{TABLE}; INSERT INTO t VALUES ('r1', 'ann', 1, 'x'); CREATE PUBLICATION powersync FOR ALL TABLES"
    )
    async with replicating(postgres_database.dsn, tmp_path) as replica:
        await replica.caught_up()
        for statement in statements:
            postgres_database.execute(statement)

        async def equal() -> bool:
            await replica.caught_up()
            rows = postgres_database.execute("SELECT id, n, note FROM t WHERE owner = 'ann'")
            return await replica.rows("ann") == {i: {"id": i, "n": n, "note": note} for i, n, note in rows}

        await eventually(equal, timeout_s=15, what="the bucket equals the table")


async def test_replication_goes_on_within_seconds_after_the_source_restarted(tmp_path: Path) -> None:
    with EmbeddedPostgres() as server:
        database = ScratchDatabase(server.dsn(), "postgres")
        database.execute(f"{TABLE}; CREATE PUBLICATION powersync FOR ALL TABLES")
        async with replicating(server.dsn(), tmp_path) as replica:
            await replica.caught_up()
            number = (await replica.version()).number
            await asyncio.to_thread(server.restart)  # a stopping walsender waits for our answer
            database.execute("INSERT INTO t VALUES ('r1', 'ann', 1, 'x')")
            await replica.caught_up(timeout_s=5)
            assert await assert_equal(replica, database) == 1
            assert (await replica.version()).number == number
