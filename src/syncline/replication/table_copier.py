"""The copy of one table into storage: its rows, how far it is, and where the next attempt would go on."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from syncline.failpoints import failpoint
from syncline.metrics import ServiceMetrics
from syncline.replication.apply import ChangeApplier
from syncline.replication.copy_report import CopyReport
from syncline.replication.source import Relation, SnapshotChunk, Source
from syncline.replication.status import JobStatus
from syncline.storage.base import StorageWriter
from syncline.storage.model import StoredTable, Version
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
        published_later = look_up  # only a version's first copies find a slot that is newer than the publication
        self._status.phase = f"copying {relation.schema}.{relation.name}"
        if (
            stored.progress is None and not look_up
        ):  # an attempt may have ended between its first rows and their progress
            look_up = bool(self._writer.table_rows(stored.id, after=b"", limit=1))
        report = CopyReport(relation, status=self._status, metrics=self._metrics, log=log, resume=stored.progress)
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
                report.stored(chunk)
                await asyncio.sleep(0)  # house keeping goes on, however fast the source is
        applier.flush()
        failpoint("before-table-snapshot-done")
        self._writer.finish_table_snapshot(version.number, stored.id, position=await self._source.head())
        report.finished()

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
