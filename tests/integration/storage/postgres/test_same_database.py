"""Storage in the source's own database, in a publication of all tables: what storage writes is no reason to write more."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import pytest

from syncline.storage.postgres import PostgresStorage
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.waiting import eventually
from tests.integration.replication.replicating import Replica, replicating

SETUP = """
CREATE TABLE t (id text PRIMARY KEY, owner text, n int, note text);
INSERT INTO t SELECT 'r' || n, 'ann', n, 'x' FROM generate_series(1, 500) AS n;
CREATE PUBLICATION powersync FOR ALL TABLES
"""
WATCHED_S = 4.0
COMMITS_A_SECOND_MAX = 4  # of an idle service: the lease, and at most one position
WAL_BYTES_A_SECOND_MAX = 20_000


async def assert_equal(replica: Replica, database: ScratchDatabase) -> int:
    """Ann's bucket holds exactly her rows; return how many there are."""
    rows = database.execute("SELECT id, n, note FROM t WHERE owner = 'ann'")
    expected = {row_id: {"id": row_id, "n": n, "note": note} for row_id, n, note in rows}
    assert await replica.rows("ann") == expected
    return len(expected)


async def test_the_buckets_equal_the_table(postgres_database: ScratchDatabase, tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    draw = random.Random(seed)
    postgres_database.execute(SETUP)
    storage = PostgresStorage(postgres_database.dsn)
    compared = 0
    async with replicating(postgres_database.dsn, tmp_path, storage=storage) as replica:
        for number in range(40):
            row = f"'r{draw.randrange(600)}'"
            statement = draw.choice(
                [
                    f"INSERT INTO t VALUES ({row}, 'ann', {number}, 'y') ON CONFLICT (id) DO UPDATE SET n = {number}",
                    f"DELETE FROM t WHERE id = {row}",
                    f"UPDATE t SET owner = CASE owner WHEN 'ann' THEN 'bob' ELSE 'ann' END WHERE id = {row}",
                    f"UPDATE t SET note = repeat('z', 5000) WHERE id = {row}",
                    "UPDATE t SET n = n + 1",
                ]
            )
            postgres_database.execute(statement)
            if number % 10 == 9:
                await replica.caught_up()
                compared += await assert_equal(replica, postgres_database)
    print(f"seed {seed}: {compared} rows compared")
    assert compared > 1000, f"seed {seed}"


@pytest.mark.requirement(226)
async def test_an_idle_service_writes_no_more_than_its_signs_of_life(
    postgres_database: ScratchDatabase, tmp_path: Path
) -> None:
    postgres_database.execute(SETUP)
    storage = PostgresStorage(postgres_database.dsn)
    async with replicating(postgres_database.dsn, tmp_path, storage=storage) as replica:
        await replica.caught_up()
        version = await replica.version()
        await eventually(lambda: _stored_position(postgres_database) > version.consistent_from)
        with postgres_database.connect() as connection:
            look = (
                "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn, txid_snapshot_xmax(txid_current_snapshot()),"
                " (SELECT checkpoint_op FROM syncline.version)"
            )
            before, started_s = connection.execute(look).fetchone(), time.monotonic()
            await asyncio.sleep(WATCHED_S)  # the passing of time is the condition here: nothing may come of it
            after, watched_s = connection.execute(look).fetchone(), time.monotonic() - started_s
    assert before is not None
    assert after is not None
    wal_bytes, transactions = int(after[0] - before[0]), int(after[1]) - int(before[1])
    print(f"idle for {watched_s:.1f} s: {transactions} transactions, {wal_bytes} bytes of log")
    assert 0 < transactions <= COMMITS_A_SECOND_MAX * watched_s, "the lease is renewed, and that is about all"
    assert wal_bytes < WAL_BYTES_A_SECOND_MAX * watched_s
    assert after[2] == before[2], "no operation came of it"


async def test_a_checkpoint_follows_a_marker_at_once(postgres_database: ScratchDatabase, tmp_path: Path) -> None:
    postgres_database.execute(SETUP)
    storage = PostgresStorage(postgres_database.dsn)
    async with replicating(postgres_database.dsn, tmp_path, storage=storage) as replica:
        await replica.caught_up()
        waited: list[float] = []
        for _ in range(20):
            started_s = time.monotonic()
            await replica.caught_up()
            waited.append(time.monotonic() - started_s)
    assert sorted(waited)[10] < 0.5, "a marker of ours is not held back as an idle position is"


async def test_the_storage_schema_is_not_replicated_even_where_a_query_names_everything(
    postgres_database: ScratchDatabase, tmp_path: Path
) -> None:
    postgres_database.execute(SETUP)
    storage = PostgresStorage(postgres_database.dsn)
    async with replicating(postgres_database.dsn, tmp_path, storage=storage) as replica:
        await replica.caught_up()
        published = postgres_database.execute(
            "SELECT count(*) FROM pg_publication_tables WHERE schemaname = 'syncline' AND tablename IN ('op', 'lease')"
        )[0][0]
        assert published == 2, "the publication holds them: leaving them out is replication's doing"
        followed = postgres_database.execute("SELECT schema_name, table_name FROM syncline.source_table")
        assert followed == [("public", "t")]


def _stored_position(database: ScratchDatabase) -> str:
    return database.execute("SELECT position FROM syncline.version")[0][0]
