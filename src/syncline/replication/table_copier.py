"""The copy of one table into storage: its rows, how far it is, and where the next attempt would go on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

from syncline.failpoints import failpoint
from syncline.metrics import ServiceMetrics
from syncline.replication.apply import ChangeApplier
from syncline.replication.limits import COPY_TOLD_INTERVAL_S
from syncline.replication.source import Relation, SnapshotChunk, Source
from syncline.replication.status import CopyMeter, JobStatus
from syncline.storage.base import StorageWriter
from syncline.storage.model import SnapshotProgress, StoredTable, Version
from syncline.sync_config.value_format import ValueFormat

__all__ = ["TableCopier"]

log = logging.getLogger(__name__)


class TableCopier:
    """Copies tables, one at a time, and tells `status` of it."""

    def __init__(
        self,
        source: Source,
        writer: StorageWriter,
        status: JobStatus,
        value_format: ValueFormat,
        metrics: ServiceMetrics,
    ) -> None:
        self._source = source
        self._writer = writer
        self._status = status
        self._value_format = value_format
        self._metrics = metrics

    async def copy(
        self, version: Version, relation: Relation, stored: StoredTable, applier: ChangeApplier, *, look_up: bool
    ) -> None:
        """Copy the table from where an earlier attempt was. No checkpoint is visible until the stream has passed its end.

        `look_up`: storage has rows of the table that the copy is to replace.
        """
        name = f"{relation.schema}.{relation.name}"
        published_later = look_up  # only a version's first copies find a slot that is newer than the publication
        self._status.phase = f"copying {name}"
        if (
            stored.progress is None and not look_up
        ):  # an attempt may have ended between its first rows and their progress
            look_up = bool(self._writer.table_rows(stored.id, after=b"", limit=1))
        done = stored.progress or SnapshotProgress(0, 0, 0, 0)
        started_s = told_s = time.monotonic()
        meter = CopyMeter(rows=done.rows, blocks_done=done.next_block, blocks=done.blocks, now_s=started_s)
        if stored.progress is not None:
            log.info(
                "The copy of %s goes on at block %d of %d",
                name,
                done.next_block,
                done.blocks,
                extra=_event("resume", name),
            )
        rows = 0
        chunks = self._source.snapshot(
            relation,
            slot_name=version.slot_name,
            resume=stored.progress,
            value_format=self._value_format,
            published_later=published_later,
        )
        async with contextlib.aclosing(chunks):
            async for chunk in chunks:
                self._take(relation, stored, chunk, applier, look_up=look_up)
                rows += len(chunk.rows)
                meter.add_rows(len(chunk.rows))
                self._metrics.replicated(rows=len(chunk.rows))
                if chunk.progress is not None:
                    meter.reach(blocks_done=chunk.progress.next_block, blocks=chunk.progress.blocks)
                now_s = time.monotonic()
                progress = self._status.copied[name] = meter.read(now_s)
                if now_s - told_s >= COPY_TOLD_INTERVAL_S:
                    told_s = now_s
                    log.info("Copying %s: %s", name, progress, extra=_event("copying", name))
                await asyncio.sleep(0)  # house keeping goes on, however fast the source is
        applier.flush()
        failpoint("before-table-snapshot-done")
        self._writer.finish_table_snapshot(version.number, stored.id, position=await self._source.head())
        log.info(
            "Copied %s: %d rows in %.2f s",
            name,
            rows,
            time.monotonic() - started_s,
            extra=_event("copied", name) | {"rows": rows},
        )

    def _take(
        self, relation: Relation, stored: StoredTable, chunk: SnapshotChunk, applier: ChangeApplier, *, look_up: bool
    ) -> None:
        """Apply a chunk. Progress is saved behind the rows that it speaks of, never before."""
        applier.copy(relation, chunk.rows, look_up=look_up or chunk.look_up)
        if chunk.progress is not None:
            applier.flush()
            failpoint("after-snapshot-flush-before-progress")
            self._writer.save_snapshot_progress(stored.id, chunk.progress)
            failpoint("after-snapshot-progress")


def _event(name: str, table: str) -> dict[str, object]:
    return {"event": f"replication.{name}", "table": table}
