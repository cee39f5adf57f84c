"""Transactions far larger than memory should be, into storage in Postgres: in whole or not at all, with bounded memory."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from syncline.storage.postgres import PostgresStorage
from syncline.testing.postgres import PostgresServer, ScratchDatabase
from syncline.testing.service_process import ServiceProcess
from syncline.testing.waiting import eventually
from tests.integration.replication.test_large_transaction import MEMORY_MAX_BYTES, SYNC_CONFIG, highest_memory_bytes
from tests.support.sync_config import fixed_buckets

ROWS = 1_000_000 if os.environ.get("SYNCLINE_SOAK") else 30_000
TRANSACTIONS = {
    "insert": f"INSERT INTO t SELECT n, 'row ' || n, repeat('x', 100) FROM generate_series(1, {ROWS}) n",
    "update": "UPDATE t SET name = name || '!' WHERE id > 0",
    "delete": "DELETE FROM t WHERE id > 0",
}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the highest memory of a process is read from /proc")
@pytest.mark.timeout(1800)
async def test_huge_transactions_are_seen_in_whole_and_take_bounded_memory(
    postgres_database: ScratchDatabase, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    postgres_database.execute(
        "CREATE TABLE t (id int PRIMARY KEY, name text, note text); INSERT INTO t VALUES (0, 'first', 'x');"
        "CREATE PUBLICATION powersync FOR TABLE t"
    )
    buckets = postgres_server.create()
    storage = {"type": "postgresql", "uri": buckets.dsn, "sslmode": "disable"}
    with ServiceProcess(
        tmp_path / "service", dsn=postgres_database.dsn, sync_config=SYNC_CONFIG, storage=storage
    ) as service:
        reader = PostgresStorage(buckets.dsn).open_reader()
        version = await reader.active_version()
        assert version is not None
        number, bucket = version.number, f"{version.bucket_prefix}all|0[]"

        async def op_count() -> int:
            view = await reader.view(number, fixed_buckets(bucket))
            assert view is not None
            return view.totals[bucket].op_count

        for what, statement in TRANSACTIONS.items():
            before, seen, looks = await op_count(), set[int](), 0
            writing = asyncio.create_task(asyncio.to_thread(postgres_database.execute, statement))

            async def arrived(goal: int = before + ROWS, seen: set[int] = seen) -> bool:
                nonlocal looks
                seen.add(await op_count())
                looks += 1
                return goal in seen

            await eventually(arrived, timeout_s=900, what=f"the {what} is visible")
            await writing
            assert seen == {before, before + ROWS}, f"no reader saw a part of the {what}"
            memory = highest_memory_bytes(service.pid)
            print(f"{what} of {ROWS} rows in one transaction: {memory / 1e6:.0f} MB at most, {looks} looks")
            assert memory < MEMORY_MAX_BYTES
        await reader.close()
    postgres_server.drop(buckets)
