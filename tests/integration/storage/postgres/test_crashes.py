"""The storage server crashes while replication writes: what was not on disk is lost, and the source sends it again."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Generator
from pathlib import Path

import pytest

from syncline.embedded import EmbeddedPostgres
from syncline.storage.postgres import PostgresStorage
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.waiting import eventually
from tests.integration.replication.replicating import Replica, replicating

SETUP = """
CREATE TABLE t (id text PRIMARY KEY, owner text, n int, note text);
CREATE PUBLICATION powersync FOR ALL TABLES
"""
FILL = "INSERT INTO t SELECT '{name}' || n, 'ann', n, 'x' FROM generate_series(1, {rows}) AS n"
CRASHES = 5


@pytest.fixture
def server() -> Generator[EmbeddedPostgres]:
    """A storage server of the test's own, to be crashed."""
    with EmbeddedPostgres() as server:
        yield server


def crash(server: EmbeddedPostgres) -> None:
    """An immediate shutdown, which is a crash to all that is stored, and a start on what is left."""
    assert server.pid is not None
    os.kill(server.pid, signal.SIGQUIT)
    server.restart()


def counts(server: EmbeddedPostgres) -> tuple[int, int]:
    """The last op that is stored, and the last that is visible."""
    look = "SELECT s.last_op, v.checkpoint_op FROM syncline.storage_state s, syncline.version v"
    [(stored, visible)] = ScratchDatabase(server.dsn(), "postgres").execute(look)
    return stored, visible


def last_op(server: EmbeddedPostgres) -> int:
    return counts(server)[0]


async def equal(replica: Replica, database: ScratchDatabase) -> bool:
    rows = database.execute("SELECT id, n, note FROM t WHERE owner = 'ann'")
    return await replica.rows("ann") == {row_id: {"id": row_id, "n": n, "note": note} for row_id, n, note in rows}


async def test_replication_goes_on_after_the_storage_server_crashed(
    postgres_database: ScratchDatabase, server: EmbeddedPostgres, tmp_path: Path
) -> None:
    seed = random.randrange(2**32)
    draw = random.Random(seed)
    postgres_database.execute(SETUP)
    storage = PostgresStorage(server.dsn())
    async with replicating(postgres_database.dsn, tmp_path, storage=storage) as replica:
        await replica.caught_up()
        number = (await replica.version()).number
        in_between = 0
        for name in "abcde"[:CRASHES]:
            rows = draw.choice([10, 3000, 25_000, 45_000])
            reached = last_op(server) + int(rows * draw.uniform(0, 0.6))
            await asyncio.to_thread(postgres_database.execute, FILL.format(name=name, rows=rows))
            await eventually(lambda: last_op(server) >= reached, what=f"half-way (seed {seed})")  # noqa: B023 - awaited within the turn of the loop
            stored, visible = counts(server)
            in_between += stored > visible
            await asyncio.to_thread(crash, server)
            postgres_database.execute("UPDATE t SET n = n + 1 WHERE id LIKE '%7'")
            await eventually(lambda: _caught_up(replica), timeout_s=30, what=f"replication goes on (seed {seed})")
            assert await equal(replica, postgres_database), f"seed {seed}"
        assert (await replica.version()).number == number, "no rebuild was needed"
    count = postgres_database.execute("SELECT count(*) FROM t")[0][0]
    print(
        f"seed {seed}: {CRASHES} crashes, {in_between} of them in the middle of a transaction, {count} rows at the end"
    )


async def _caught_up(replica: Replica) -> bool:
    await replica.caught_up(timeout_s=30)
    return True
