"""The replicator of the world, in a process of its own: `python -m tests.support.replication_world.replicator DSN FOLDER CONFIG_FILE`.

Its limits are small, so that a few rows are several flushes, block ranges and steps of compaction.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from syncline.replication import apply
from syncline.replication.compactor import CompactionLimits
from syncline.replication.job import DeployedConfig, ReplicationJob
from syncline.replication.postgres import beside, snapshot
from syncline.replication.postgres.source import PostgresSource
from syncline.storage.sqlite import SqliteStorage
from syncline.sync_config import compile_sync_config

__all__ = ["SLOT_NAME_PREFIX", "main"]

SLOT_NAME_PREFIX = "world_"
FAST_COMPACTION = CompactionLimits(
    interval_s=0.05, step_ops=20, time_share=0.5, ops_per_s=1e6, new_ops_min=1, new_ops_share=0.0, busy_pause_s=0.02
)


async def _replicate(dsn: str, folder: Path, config: str) -> None:
    storage = SqliteStorage(folder)
    replication = ReplicationJob(
        source=PostgresSource(dsn, application_name="syncline/world"),
        writer=storage.open_writer(),
        config=DeployedConfig(config, compile_sync_config(config)),
        slot_name_prefix=SLOT_NAME_PREFIX,
        on_checkpoint=lambda _checkpoint: None,
        compaction=FAST_COMPACTION,
    )
    await replication.run()


def main(arguments: Sequence[str]) -> None:
    """Run until killed."""
    logging.basicConfig(level=logging.INFO, stream=sys.stdout)
    apply.FLUSH_ROWS_MAX = 40
    snapshot.SNAPSHOT_RANGE_BLOCKS = 1
    beside.BESIDE_FIRST_BLOCKS, beside.BESIDE_CHUNK_ROWS = 1, 7
    dsn, folder, config = arguments
    asyncio.run(_replicate(dsn, Path(folder), Path(config).read_text()))
