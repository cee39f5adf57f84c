"""A source transaction far larger than memory should be: replicated with bounded memory, and visible in whole or not at all."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from syncline.storage.sqlite import SqliteStorage
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.waiting import eventually
from tests.integration.replication.replicator_process import ReplicatorProcess
from tests.support.sync_config import fixed_buckets

ROWS = 1_000_000 if os.environ.get("SYNCLINE_SOAK") else 100_000
MEMORY_MAX_BYTES = 400_000_000  # of the replicator, at its highest
SYNC_CONFIG = "config: {edition: 3}\nstreams: {all: {auto_subscribe: true, query: SELECT * FROM t}}\n"


def highest_memory_bytes(pid: int) -> int:
    """The largest resident size that a process ever had."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the highest memory of a process is read from /proc")
@pytest.mark.timeout(900)
async def test_a_huge_transaction_is_seen_in_whole_and_takes_bounded_memory(
    postgres_database: ScratchDatabase, tmp_path: Path
) -> None:
    postgres_database.execute(
        "CREATE TABLE t (id int PRIMARY KEY, name text, note text); INSERT INTO t VALUES (0, 'first', 'x');"
        "CREATE PUBLICATION powersync FOR ALL TABLES"
    )
    reader = SqliteStorage(tmp_path / "replica" / "storage").open_reader()
    with ReplicatorProcess(postgres_database.dsn, tmp_path / "replica", SYNC_CONFIG) as process:
        version = await eventually(reader.active_version, timeout_s=30, what="the first copy is served")
        assert version is not None
        number, bucket = version.number, f"{version.bucket_prefix}all|0[]"

        async def op_count() -> int:
            view = await reader.view(number, fixed_buckets(bucket))
            assert view is not None
            return view.totals[bucket].op_count

        before = await op_count()
        writing = asyncio.create_task(
            asyncio.to_thread(
                postgres_database.execute,
                f"INSERT INTO t SELECT n, 'row ' || n, repeat('x', 100) FROM generate_series(1, {ROWS}) n",
            )
        )
        seen: set[int] = set()
        looks = 0

        async def arrived() -> bool:
            nonlocal looks
            seen.add(await op_count())
            looks += 1
            return before + ROWS in seen

        await eventually(arrived, timeout_s=600, what="the transaction is visible")
        await writing
        assert seen == {before, before + ROWS}, "no reader saw a part of it"
        assert looks > 10
        memory = highest_memory_bytes(process.pid)
    await reader.close()
    print(f"{ROWS} rows in one transaction: {memory / 1e6:.0f} MB at most, {looks} looks")
    assert memory < MEMORY_MAX_BYTES
