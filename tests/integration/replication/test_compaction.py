"""Compaction in the replicator's own event loop, while a real source writes: buckets stay short and equal to the table."""

from __future__ import annotations

from pathlib import Path

from syncline.replication.compactor import CompactionLimits
from syncline.sync_config.plan import ConnectionData
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.waiting import eventually
from tests.integration.replication.replicating import Replica, replicating

ROWS, UPDATES = 20, 100
SETUP = f"""
CREATE TABLE t (id text PRIMARY KEY, owner text, n int, note text);
CREATE PUBLICATION powersync FOR ALL TABLES;
INSERT INTO t SELECT 'r' || i, 'ann', 0, 'x' FROM generate_series(1, {ROWS}) i;
"""


async def op_count(replica: Replica) -> int:
    version = await replica.version()
    query = replica.plan.query_buckets(
        ConnectionData({"sub": "ann"}), None, version.bucket_prefix, buckets_max=10, parameter_results_max=10
    )
    view = await replica.reader.view(version.number, query)
    assert view is not None
    return sum(total.op_count for total in view.totals.values())


async def test_buckets_stay_short_and_equal_to_the_table_while_the_source_writes(
    postgres_database: ScratchDatabase, tmp_path: Path
) -> None:
    eager = CompactionLimits(interval_s=0.01, step_ops=50, new_ops_min=1, new_ops_share=0, busy_pause_s=0.01)
    postgres_database.execute(SETUP)
    async with replicating(postgres_database.dsn, tmp_path, compaction=eager) as replica:
        await replica.version()
        for number in range(UPDATES):
            postgres_database.execute(f"UPDATE t SET n = {number}")
            if number % 20 == 19:
                await replica.caught_up()
                assert {row["n"] for row in (await replica.rows("ann")).values()} == {number}

        async def is_short() -> bool:
            return await op_count(replica) <= 2 * ROWS

        written = ROWS * (UPDATES + 1)
        await eventually(is_short, timeout_s=20, what=f"{written} operations of {ROWS} rows shrink")
        assert len(await replica.rows("ann")) == ROWS
        compactor = replica.job._compactor
        assert compactor is not None
        assert compactor.counts.moved_ops >= written - 2 * ROWS
