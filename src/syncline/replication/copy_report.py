"""What is told of the copy of one table while it is under way: status, log and metrics. The same for every way of copying."""

from __future__ import annotations

import logging
import time

from syncline.metrics import ServiceMetrics
from syncline.replication.limits import COPY_TOLD_INTERVAL_S
from syncline.replication.source import Relation, SnapshotChunk
from syncline.replication.status import CopyMeter, JobStatus
from syncline.storage.model import SnapshotProgress

__all__ = ["CopyReport", "copy_event"]


def copy_event(name: str, table: str) -> dict[str, object]:
    """Fields of a log line about the copy of a table."""
    return {"event": f"replication.{name}", "table": table}


class CopyReport:
    """Made when an attempt begins, at `resume` where an earlier one was. Lines go to the log of whoever copies."""

    def __init__(
        self,
        relation: Relation,
        *,
        status: JobStatus,
        metrics: ServiceMetrics,
        log: logging.Logger,
        resume: SnapshotProgress | None,
    ) -> None:
        self.name = f"{relation.schema}.{relation.name}"
        self._status = status
        self._metrics = metrics
        self._log = log
        self._started_s = self._told_s = time.monotonic()
        done = resume or SnapshotProgress(0, 0, 0, 0)
        self._meter = CopyMeter(rows=done.rows, blocks_done=done.next_block, blocks=done.blocks, now_s=self._started_s)
        self._rows = 0
        if resume is not None:
            log.info(
                "The copy of %s goes on at block %d of %d",
                self.name,
                done.next_block,
                done.blocks,
                extra=copy_event("resume", self.name),
            )

    def stored(self, chunk: SnapshotChunk) -> None:
        """The rows of a chunk were handed to storage, and its progress, where it has one, was saved."""
        self._rows += len(chunk.rows)
        self._meter.add_rows(len(chunk.rows))
        self._metrics.replicated(rows=len(chunk.rows))
        if chunk.progress is not None:
            self._meter.reach(blocks_done=chunk.progress.next_block, blocks=chunk.progress.blocks)
        now_s = time.monotonic()
        progress = self._status.copied[self.name] = self._meter.read(now_s)
        if now_s - self._told_s >= COPY_TOLD_INTERVAL_S:
            self._told_s = now_s
            self._log.info("Copying %s: %s", self.name, progress, extra=copy_event("copying", self.name))

    def finished(self) -> None:
        """The table is copied."""
        self._log.info(
            "Copied %s: %d rows in %.2f s",
            self.name,
            self._rows,
            time.monotonic() - self._started_s,
            extra=copy_event("copied", self.name) | {"rows": self._rows},
        )
