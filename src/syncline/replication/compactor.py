"""Keeps buckets short: compaction in the background beside replication, and once on command.

The writer is blocking and belongs to replication, so compaction takes bounded steps in the same event loop, and after each leaves
the loop to replication for several times as long. What is compacted: `syncline.storage.compaction`; what readers see of it meanwhile:
"How a checkpoint stays consistent" in docs/internals/architecture.md.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass

from syncline.errors import LeaseLost, StorageError
from syncline.failpoints import failpoint
from syncline.storage.base import StorageWriter
from syncline.storage.compaction import BucketCompaction
from syncline.storage.model import BucketSize, Checkpoint

__all__ = ["CompactionCounts", "CompactionLimits", "Compactor", "compact_all", "compaction_steps"]

log = logging.getLogger(__name__)

LOOKUPS_AGE_MIN_S = (
    60.0  # seconds for which a checkpoint was visible before its lookups are compacted: watchers look each second
)
COMMAND_STEP_OPS = 5_000  # operations of one step on command, when nobody waits for replication
CANDIDATES_MAX = 1_000  # buckets of one round; the next round takes the others


@dataclass(frozen=True, slots=True)
class CompactionLimits:
    """What background compaction may take from replication."""

    interval_s: float = 60.0  # between rounds
    thorough_interval_s: float = 86_400.0  # between rounds that leave out no bucket with anything new
    step_ops: int = 500  # operations of one step: about 5 ms, for which replication waits
    time_share: float = 0.1  # of the event loop's time
    ops_per_s: float = 20_000.0  # operations looked at or changed
    new_ops_min: int = 1_000  # a bucket with fewer new operations waits for the thorough round
    new_ops_share: float = 0.1  # and one whose new operations are less of the whole: all of it would be read for them
    busy_pause_s: float = 0.5  # until looking again whether replication has time


@dataclass(slots=True)
class CompactionCounts:
    """What was done, for metrics and for who gave the command."""

    buckets: int = 0
    moved_ops: int = 0  # that became MOVE: their row data is gone
    removed_ops: int = 0  # that went into a CLEAR
    removed_lookups: int = 0


class Compactor:
    """Compacts one version in the background. Run `run` in the event loop of the replicator; cancel it to stop at the next step.

    `busy` says whether replication needs all the time (it copies tables, say); `clock` gives seconds, `sleep` waits for them.
    """

    def __init__(
        self,
        writer: StorageWriter,
        version: int,
        *,
        limits: CompactionLimits | None = None,
        busy: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._writer = writer
        self._version = version
        self._limits = limits or CompactionLimits()
        self._busy = busy
        self._clock = clock
        self._sleep = sleep
        self._checkpoints: deque[tuple[float, int]] = deque()  # when which op id became visible, at most one a second
        self._refused: set[str] = set()  # buckets on which a step failed for a bug of ours: not tried again
        self.counts = CompactionCounts()

    def note_checkpoint(self, checkpoint: Checkpoint) -> None:
        """A checkpoint became visible just now. Lookups are compacted up to one that was noted `LOOKUPS_AGE_MIN_S` ago."""
        now_s = self._clock()
        if not self._checkpoints or now_s - self._checkpoints[-1][0] >= 1.0:
            self._checkpoints.append((now_s, checkpoint.op_id))
        while len(self._checkpoints) > 1 and self._checkpoints[1][0] <= now_s - LOOKUPS_AGE_MIN_S:
            self._checkpoints.popleft()

    async def run(self) -> None:
        """Compact until cancelled. Raises LeaseLost; all other failures are logged, and end the round only."""
        thorough_at_s = self._clock() + self._limits.thorough_interval_s
        while True:
            await self._sleep(self._limits.interval_s)
            thorough = self._clock() >= thorough_at_s
            if thorough:
                thorough_at_s = self._clock() + self._limits.thorough_interval_s
            try:
                await self.run_round(thorough=thorough)
            except LeaseLost:
                raise
            except StorageError as exc:
                log.warning("Compaction was interrupted: %s", exc, extra={"event": "compaction.error"})
            except Exception:
                log.exception("Compaction failed; replication goes on", extra={"event": "compaction.crash"})

    async def run_round(self, *, thorough: bool) -> None:
        """Compact the buckets that are worth it, or all with anything new, and the lookups."""
        await self._wait_while_busy()
        for size in self._writer.compaction_candidates(self._version, buckets_max=CANDIDATES_MAX):
            if size.bucket not in self._refused and (thorough or self._is_worth_it(size)):
                await self._compact_bucket(size)
        before_op = self._lookups_horizon()
        while before_op:
            started_s = self._clock()
            removed = self._writer.compact_lookups(self._version, before_op=before_op, rows_max=self._limits.step_ops)
            self.counts.removed_lookups += removed
            await self._pause(started_s, removed)
            if not removed:
                break

    def _is_worth_it(self, size: BucketSize) -> bool:
        limits = self._limits
        return size.new_ops >= limits.new_ops_min and size.new_ops >= limits.new_ops_share * size.op_count

    async def _compact_bucket(self, size: BucketSize) -> None:
        steps = compaction_steps(self._writer, size, self.counts, step_ops=self._limits.step_ops)
        while True:
            started_s = self._clock()
            try:
                looked_at = next(steps, None)
            except StorageError:
                raise
            except Exception:
                # A bug must not end replication; nothing was changed, and a bucket that is not compacted is right as well.
                log.exception("Bucket %s is not compacted any more", size.bucket, extra={"event": "compaction.refused"})
                self._refused.add(size.bucket)
                return
            if looked_at is None:
                return
            await self._pause(started_s, looked_at)

    async def _pause(self, started_s: float, ops: int) -> None:
        """Leave the loop to replication until the step's shares of time and of operations are used up."""
        took_s = self._clock() - started_s
        await self._sleep(max(took_s * (1 / self._limits.time_share - 1), ops / self._limits.ops_per_s - took_s, 0))
        await self._wait_while_busy()

    async def _wait_while_busy(self) -> None:
        while self._busy():
            await self._sleep(self._limits.busy_pause_s)

    def _lookups_horizon(self) -> int:
        """Op id of a checkpoint that every watcher has read, 0 where none is that old."""
        oldest = self._checkpoints[0] if self._checkpoints else None
        return oldest[1] if oldest and oldest[0] <= self._clock() - LOOKUPS_AGE_MIN_S else 0


def compact_all(
    writer: StorageWriter,
    version: int,
    *,
    lookups_before_op: int = 0,
    should_stop: Callable[[], bool] = lambda: False,
    step_ops: int = COMMAND_STEP_OPS,
) -> CompactionCounts:
    """Compact every bucket of a version that has anything new, and its lookups below an op id; at full speed, blocking.

    `should_stop` is asked after each step: what was done until then stays, and the next run goes on. Raises LeaseLost and
    StorageUnavailable as every write does.
    """
    counts = CompactionCounts()
    done: set[str] = set()
    while sizes := [
        s for s in writer.compaction_candidates(version, buckets_max=CANDIDATES_MAX) if s.bucket not in done
    ]:
        for size in sizes:
            done.add(size.bucket)
            for _ in compaction_steps(writer, size, counts, step_ops=step_ops):
                if should_stop():
                    return counts
    while lookups_before_op and not should_stop():
        removed = writer.compact_lookups(version, before_op=lookups_before_op, rows_max=step_ops)
        if not removed:
            break
        counts.removed_lookups += removed
    return counts


def compaction_steps(
    writer: StorageWriter, size: BucketSize, counts: CompactionCounts, *, step_ops: int
) -> Generator[int]:
    """Compact one candidate; yields after each bounded step how many operations it looked at or changed. Adds to `counts`."""
    run, bucket = BucketCompaction(clear_ops_max=step_ops), size.bucket
    while not run.is_done:
        page = writer.ops_before(bucket, before=run.before, ops_max=step_ops)
        yield len(page)
        for compacted in run.feed(page):
            writer.apply_compaction(bucket, compacted)
            failpoint("in-compaction")
            counts.moved_ops += len(compacted.moves)
            cleared = compacted.cleared.op_count if compacted.cleared else 0
            counts.removed_ops += max(cleared - 1, 0)
            yield len(compacted.moves) + cleared
    writer.finish_compaction(bucket, new_ops=size.new_ops)
    counts.buckets += 1
