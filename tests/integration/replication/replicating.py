"""A replication job on real storage, run in the test's loop, and what its buckets come to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from syncline.protocol.ops import OpType
from syncline.replication.compactor import CompactionLimits
from syncline.replication.job import DeployedConfig, ReplicationJob
from syncline.replication.limits import HEARTBEAT_INTERVAL_S
from syncline.replication.postgres.head import PostgresHead
from syncline.replication.postgres.source import PostgresSource
from syncline.storage.base import BucketStorage, StorageReader, StorageWriter
from syncline.storage.model import OpRow, Version
from syncline.storage.sqlite import SqliteStorage
from syncline.sync_config import compile_sync_config
from syncline.sync_config.plan import ConnectionData
from syncline.testing.waiting import eventually

__all__ = ["Replica", "replicating"]

SYNC_CONFIG = """
config: {edition: 3}
streams:
  by_owner:
    auto_subscribe: true
    query: SELECT id, n, note FROM t WHERE owner = auth.user_id()
"""


class Replica:
    """Reads the buckets of one owner back, as a client would reduce them."""

    def __init__(
        self, reader: StorageReader, head: PostgresHead, job: ReplicationJob, writer: StorageWriter, sync_config: str
    ) -> None:
        self.reader = reader
        self.head = head
        self.job = job
        self.writer = writer
        self.plan = compile_sync_config(sync_config)

    async def version(self) -> Version:
        """The version that serves; waited for."""
        version = await eventually(self.reader.active_version, timeout_s=20, what="a version serves")
        assert version is not None
        return version

    async def caught_up(self, *, timeout_s: float = 20) -> None:
        """Wait until everything committed before this call is visible."""
        head = await eventually(self._head, timeout_s=timeout_s, what="the source answers")

        async def reached() -> bool:
            version = await self.reader.active_version()
            checkpoint = await self.reader.checkpoint(version.number) if version is not None else None
            return checkpoint is not None and checkpoint.position >= head

        await eventually(reached, timeout_s=timeout_s, what=f"replication passes {head}")

    async def _head(self) -> str:
        try:
            head = await self.head.head()
            await self.head.emit_marker()
        except Exception:
            return ""
        return head

    async def rows(self, owner: str) -> dict[str, dict[str, Any]]:
        """Row data by id of everything that this owner may see, after checking the totals."""
        version = await self.version()
        query = self.plan.query_buckets(
            ConnectionData({"sub": owner}), None, version.bucket_prefix, buckets_max=10, parameter_results_max=10
        )
        view = await self.reader.view(version.number, query)
        assert view is not None
        objects: dict[tuple[str, str, str], str] = {}
        for bucket in (one.name for one in view.resolved.buckets):
            checksum = 0
            for op in await self._ops(version.number, bucket, view.checkpoint.op_id):
                checksum = (checksum + op.checksum) & 0xFFFFFFFF
                place = (op.object_type or "", op.object_id or "", op.subkey or "")
                if op.op is OpType.PUT:
                    objects[place] = op.data or ""
                else:
                    objects.pop(place, None)
            totals = view.totals.get(bucket)
            assert checksum == (totals.checksum if totals is not None else 0), "ops and totals agree"
        assert len({object_id for _, object_id, _ in objects}) == len(objects), "one object per row"
        return {object_id: json.loads(data) for (_, object_id, _), data in objects.items()}

    async def _ops(self, version: int, bucket: str, checkpoint_op: int) -> list[OpRow]:
        ops: list[OpRow] = []
        after, has_more = 0, True
        while has_more:
            has_more = False
            for chunk in await self.reader.chunks(
                version,
                [(bucket, after)],
                checkpoint_op=checkpoint_op,
                ops_max=1000,
                chunk_ops_max=1000,
                chunk_bytes_max=1_000_000,
            ):
                ops += chunk.ops
                after, has_more = chunk.next_after, chunk.has_more
        return ops


@asynccontextmanager
async def replicating(
    dsn: str,
    folder: Path,
    *,
    through: str = "",
    storage: BucketStorage | None = None,
    sync_config: str = SYNC_CONFIG,
    heartbeat_interval_s: float = HEARTBEAT_INTERVAL_S,
    compaction: CompactionLimits | None = None,
) -> AsyncGenerator[Replica]:
    """Replicate `dsn` (by way of the conninfo `through`, where given) into `folder`, or `storage`, while the block runs."""
    storage = storage or SqliteStorage(folder)
    writer = storage.open_writer()
    reader = storage.open_reader()
    source = PostgresSource(through or dsn, application_name="syncline/test")
    head = PostgresHead(dsn)
    job = ReplicationJob(
        source=source,
        writer=writer,
        config=DeployedConfig(sync_config, compile_sync_config(sync_config)),
        slot_name_prefix="test_",
        on_checkpoint=lambda _checkpoint: None,
        heartbeat_interval_s=heartbeat_interval_s,
        compaction=compaction,
    )
    task = asyncio.create_task(job.run())
    try:
        yield Replica(reader, head, job, writer, sync_config)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await source.close()
        await head.close()
        await reader.close()
        writer.close()
