"""The replicator killed at every one of its crash points: started again, its buckets equal the tables."""

from __future__ import annotations

import asyncio
import itertools
import random
from pathlib import Path

import pytest

from syncline.failpoints import EXIT_STATUS, FAILPOINTS
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.waiting import POLL_INTERVAL_S
from tests.integration.replication.replicating import SYNC_CONFIG, replicating
from tests.integration.replication.replicator_process import ReplicatorProcess

TABLE = "CREATE TABLE t (id text PRIMARY KEY, owner text, n int, note text)"
OWNERS = ("ann", "bob")
OF_COMPACTION = frozenset({"in-compaction"})  # runs once a minute at most
OF_A_SWITCH = frozenset({"after-switch-before-drop", "after-slot-drop-before-version-drop"})
OF_A_COPY_BESIDE = frozenset({"after-beside-flush-before-commit", "after-beside-progress"})
OLD_CONFIG = SYNC_CONFIG.replace("id, n, note", "id, note")
DEADLINE_S = 30.0  # seconds for a process to come to its crash point


def change(database: ScratchDatabase, draw: random.Random, number: int, *, beside: bool = False) -> None:
    """One transaction; now and then the table is emptied, gets another column (and is copied beside the stream), or another identity
    (and the stream waits for its copy). Not the last one where all of it is to happen `beside`.
    """
    row, owner = f"r{draw.randrange(200)}", draw.choice(OWNERS)
    statement = draw.choice(
        [
            f"UPDATE t SET owner = '{owner}', n = n + 1 WHERE id = '{row}'",
            f"UPDATE t SET id = '{row}x' WHERE id = '{row}' AND NOT EXISTS (SELECT FROM t WHERE id = '{row}x')",
            f"DELETE FROM t WHERE id = '{row}'",
            f"INSERT INTO t VALUES ('{row}', '{owner}', {number}, 'new') ON CONFLICT DO NOTHING",
            f"INSERT INTO t SELECT 'm{number}-' || n, '{owner}', n, 'many' FROM generate_series(1, 300) n",
        ]
    )
    database.execute(statement)
    if number % 7 == 6:
        database.execute("TRUNCATE t; INSERT INTO t SELECT 'r' || n, 'ann', n, 'again' FROM generate_series(1, 200) n")
    if number % 20 == 9:
        database.execute(f"ALTER TABLE t ADD COLUMN c{number} int DEFAULT 1; UPDATE t SET n = n + 1 WHERE n % 3 = 0")
    if number % 20 == 19 and not beside:  # each is a copy: more of them, and there would be nothing else
        identity = ("FULL", "DEFAULT")[number // 20 % 2]
        database.execute(f"ALTER TABLE t REPLICA IDENTITY {identity}; UPDATE t SET n = n + 1 WHERE n % 3 = 0")


async def crash(database: ScratchDatabase, folder: Path, failpoint: str, draw: random.Random) -> int:
    """Run the replicator among changes until it ends at the failpoint; how many changes that took."""
    if failpoint in OF_A_SWITCH:
        async with replicating(database.dsn, folder / "storage", sync_config=OLD_CONFIG) as replica:
            await replica.caught_up()
    with ReplicatorProcess(database.dsn, folder, SYNC_CONFIG, failpoint=failpoint, range_blocks=1) as process:
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + DEADLINE_S
        number = 0
        for number in itertools.count():
            change(database, draw, number, beside=failpoint in OF_A_COPY_BESIDE)
            await asyncio.sleep(POLL_INTERVAL_S)
            if process.exit_status is not None:
                break
            assert loop.time() < deadline_s, f"{failpoint} was not passed:\n{process.output[-2000:]}"
        assert process.exit_status == EXIT_STATUS, process.output
    return number


@pytest.mark.parametrize("failpoint", sorted(FAILPOINTS - OF_COMPACTION))
async def test_after_a_crash_the_buckets_equal_the_table(
    postgres_database: ScratchDatabase, tmp_path: Path, failpoint: str
) -> None:
    seed = random.randrange(2**32)
    draw = random.Random(seed)
    postgres_database.execute(
        f"{TABLE}; INSERT INTO t SELECT 'r' || n, 'ann', n, repeat('x', 100) FROM generate_series(1, 200) n;"
        "CREATE PUBLICATION powersync FOR ALL TABLES"
    )
    changes = await crash(postgres_database, tmp_path, failpoint, draw)
    compared = 0
    async with replicating(postgres_database.dsn, tmp_path / "storage") as replica:
        for number in (1000, 1001):  # also what comes after is applied
            await replica.caught_up()
            for owner in OWNERS:
                rows = postgres_database.execute("SELECT id, n, note FROM t WHERE owner = %s", (owner,))
                expected = {row_id: {"id": row_id, "n": n, "note": note} for row_id, n, note in rows}
                assert await replica.rows(owner) == expected, f"seed {seed}"
                compared += len(expected)
            # Beside the loop: what replicates in it may hold a lock that this waits for.
            await asyncio.to_thread(change, postgres_database, draw, number)
        version = await replica.version()
        slots = postgres_database.execute(
            "SELECT slot_name FROM pg_replication_slots WHERE database = current_database()"
        )
    print(f"seed {seed}: {changes} changes before the crash, {compared} rows compared")
    assert compared > 0
    assert (version.slot_name,) in slots


async def test_a_failpoint_that_is_not_set_ends_nothing(postgres_database: ScratchDatabase, tmp_path: Path) -> None:
    """The process that the other tests start would go on for ever: it is the failpoint that ends it."""
    postgres_database.execute(f"{TABLE}; CREATE PUBLICATION powersync FOR ALL TABLES")
    with ReplicatorProcess(postgres_database.dsn, tmp_path, SYNC_CONFIG) as process:
        for number in range(20):
            change(postgres_database, random.Random(number), number)
            await asyncio.sleep(POLL_INTERVAL_S)
        assert process.exit_status is None
