"""The life of a version: from a sync config to an active version that follows the source.

    choose   the version whose config, source and slot still fit, else a new one with a new number and a new slot
    copy     every table whose snapshot is pending (the slot is older than every copy, so nothing between is missed)
    stream   the source's log, commit by commit; a table that has to be copied (again) leads back to `copy`

Beside them: house keeping, once a second, and a look at the publication every few. Failures of the source end no process: the job
says what is wrong, waits, and tries again. Facts: replication reference, 2 to 5.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from syncline.errors import LeaseLost, SlotLost, SourceError, SynclineError
from syncline.failpoints import failpoint
from syncline.metrics import ServiceMetrics
from syncline.replication.apply import ChangeApplier, TableNeedsCopy
from syncline.replication.beside import BesideCopier
from syncline.replication.compactor import CompactionLimits, Compactor
from syncline.replication.custom_write_checkpoints import CustomCheckpointFeed
from syncline.replication.limits import (
    ACKNOWLEDGE_INTERVAL_S,
    BESIDE_TRANSACTIONS_MAX,
    HEARTBEAT_INTERVAL_S,
    PUBLICATION_INTERVAL_S,
    RETRY_DELAY_MAX_S,
    RETRY_DELAY_MIN_S,
    RETRY_REFUSED_S,
    SLOT_BUDGET_TOLD,
    SLOT_INTERVAL_S,
    SMALL_BATCH_EVENTS_MAX,
)
from syncline.replication.replicated_log import ReplicatedLog
from syncline.replication.source import (
    Marker,
    Relation,
    RelationChanged,
    RowChange,
    SlotState,
    Source,
    SourceEvent,
    TransactionEnd,
)
from syncline.replication.source_tables import SourceTables
from syncline.replication.status import CopyProgress, JobStatus
from syncline.replication.table_copier import TableCopier
from syncline.replication.troubles import Troubles
from syncline.replication.versions import VersionChooser
from syncline.storage.base import StorageWriter
from syncline.storage.model import Checkpoint, StoredTable, Version
from syncline.sync_config.plan import SyncPlan

__all__ = ["CopyProgress", "DeployedConfig", "JobStatus", "ReplicationJob"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DeployedConfig:
    """A sync config as it was read, and its plan.

    `number` is that of its deployment: versions with lower numbers are not of it, even where their text is the same. 0 takes any.
    """

    text: str
    plan: SyncPlan
    number: int = 0


class ReplicationJob:
    """Replicates one source into one storage until it is cancelled.

    `on_checkpoint` is called after each visible checkpoint, from the job's own thread. `small_batch` is entered around the work on a
    batch of at most SMALL_BATCH_EVENTS_MAX events: somebody may wait for this change, and what else the process does can give way.
    Blocking storage calls run in this event loop on purpose: the loop belongs to the replicator alone.
    """

    def __init__(
        self,
        *,
        source: Source,
        writer: StorageWriter,
        config: DeployedConfig,
        slot_name_prefix: str,
        on_checkpoint: Callable[[Checkpoint], None],
        heartbeat_interval_s: float = HEARTBEAT_INTERVAL_S,
        compaction: CompactionLimits | None = None,
        metrics: ServiceMetrics | None = None,
        small_batch: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> None:
        self._source = source
        self._writer = writer
        self._plan = config.plan
        self._patterns = CustomCheckpointFeed(config.plan.events).followed(config.plan.table_patterns)
        self._on_checkpoint = on_checkpoint
        self._heartbeat_interval_s = heartbeat_interval_s
        self._compaction = compaction
        self._metrics = metrics or ServiceMetrics()
        self._small_batch = small_batch
        self.status = JobStatus()
        self._troubles = Troubles(writer, self.status)
        self._versions = VersionChooser(
            source=source,
            writer=writer,
            sync_config=config.text,
            plan=config.plan,
            slot_name_prefix=slot_name_prefix,
            status=self.status,
            number=config.number,
        )
        self._copier = TableCopier(source, writer, self.status, config.plan.value_format, self._metrics)
        self._acknowledged = ""
        self._committed = ""
        self._compactor: Compactor | None = None  # of the version that is replicated
        self._beside: BesideCopier | None = None  # of the stream at hand
        self._told: ReplicatedLog | None = None  # of the version that is replicated
        self._ended = deque[int](maxlen=BESIDE_TRANSACTIONS_MAX)  # transactions that streams brought
        self._snapshot_done = False
        self._streaming = asyncio.Event()
        self._look_soon = asyncio.Event()  # at the publication
        self._last_heartbeat_s = 0.0
        self._last_slot_look_s = 0.0

    async def run(self) -> None:
        """Replicate until cancelled."""
        delay_s = RETRY_DELAY_MIN_S
        while True:
            before = self._committed
            refused = False
            try:
                await self._replicate()
            except LeaseLost:
                raise  # somebody else replicates now: nothing is left to do here
            except SynclineError as exc:
                self._troubles.report(exc)
                refused = bool(exc.context.get("refused"))
            except Exception as exc:
                # A bug must not end replication for good: say so loudly, then begin again from what is stored.
                log.exception("Replication failed unexpectedly", extra={"event": "replication.crash"})
                self._troubles.report(SourceError(f"Replication failed unexpectedly: {type(exc).__name__}"))
            delay_s = RETRY_DELAY_MIN_S if self._committed != before else min(delay_s * 2, RETRY_DELAY_MAX_S)
            jitter = random.uniform(0.8, 1.2)  # noqa: S311 - no secret
            await asyncio.sleep((RETRY_REFUSED_S if refused else delay_s) * jitter)

    async def _replicate(self) -> None:
        self.status.phase = "checking the source"
        self.status.touched_s = time.time()
        await self._source.check()
        version = await self._versions.choose()
        self._troubles.begin(version)
        self._snapshot_done = version.snapshot_done
        applier = ChangeApplier(self._writer, version, self._plan)
        self._told = ReplicatedLog(version, lambda: applier.flushed)
        tables = SourceTables(self._writer, version.number, applier)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._keep_house(version))
                tasks.create_task(self._watch_publication(tables))
                tasks.create_task(self._versions.drop_replaced())
                busy = lambda: not self._streaming.is_set()  # noqa: E731 - copies need all the time
                self._compactor = Compactor(self._writer, version.number, limits=self._compaction, busy=busy)
                tasks.create_task(self._compactor.run())
                while True:
                    try:
                        beside = await self._copy_tables(version, applier, tables)
                        await self._stream(version, applier, tables, beside)
                    except TableNeedsCopy as request:
                        log.info("Copying %s", request, extra={"event": "replication.copy_again"})
                        if request.incomplete is not None:
                            tables.copy_over(request.incomplete)
        except BaseExceptionGroup as group:
            raise _first(group) from group

    async def _copy_tables(
        self, version: Version, applier: ChangeApplier, tables: SourceTables
    ) -> list[tuple[Relation, StoredTable]]:
        """Copy what is pending: nothing of it is visible before the stream has passed the end of the last copy.

        Returns the tables that are to be copied beside the stream.
        """
        relations = await self._source.relations(self._patterns)
        pending, beside = tables.begin(relations, await self._source.head(), streams=self._snapshot_done)
        self.status.unpublished = tables.unpublished()
        if not relations:
            log.warning(
                "The publication holds none of the sync config's tables", extra={"event": "replication.no_tables"}
            )
        for relation, stored in pending:
            # Only a version's first copy finds nothing of the table in storage but what it wrote itself.
            await self._copier.copy(version, relation, stored, applier, look_up=self._snapshot_done)
            tables.copied(stored)
        if pending or not self._snapshot_done:
            failpoint("before-snapshot-done")
            self._writer.finish_snapshot(version.number)
            self._snapshot_done = True
            await self._source.emit_marker()  # streaming then has a position to reach
        return beside

    async def _stream(
        self,
        version: Version,
        applier: ChangeApplier,
        tables: SourceTables,
        beside: Sequence[tuple[Relation, StoredTable]],
    ) -> None:
        self.status.phase = "streaming"
        tables.stream_begins()
        if self._told is not None:
            self._told.stream_begins()
        after = self._writer.position(version.number)
        # Positions of the run before may be another source's; and a new walsender has to be told anew.
        self._committed, self._acknowledged = after, ""
        plan = self._plan
        stream = self._source.stream(version.slot_name, self._patterns, after, value_format=plan.value_format)
        copier = self._beside = BesideCopier(
            self._source,
            self._writer,
            self.status,
            version=version,
            applier=applier,
            value_format=plan.value_format,
            tables=beside,
            ended=self._ended,
            metrics=self._metrics,
        )
        self._look_soon.set()
        self._streaming.set()
        try:
            async with contextlib.aclosing(stream) as batches, asyncio.TaskGroup() as tasks:
                tasks.create_task(copier.run())
                async for events in batches:
                    self._troubles.clear()
                    if copier.active:
                        await copier.values_left_out(events)
                    with self._small_batch() if len(events) <= SMALL_BATCH_EVENTS_MAX else contextlib.nullcontext():
                        self._apply(version, applier, tables, events)
                    self._count(events)
        except BaseExceptionGroup as group:
            raise _first(group) from group
        finally:
            self._streaming.clear()

    def _apply(
        self, version: Version, applier: ChangeApplier, tables: SourceTables, events: Sequence[SourceEvent]
    ) -> None:
        """Apply a batch. All its whole transactions become visible in one checkpoint; an open one stays invisible."""
        last_end = max((index for index, event in enumerate(events) if isinstance(event, TransactionEnd)), default=-1)
        changes: list[RowChange] = []
        ignored = tables.ignored
        beside = self._beside if self._beside is not None and self._beside.active else None
        for index, event in enumerate(events):
            if isinstance(event, RowChange):
                if not ignored or event.relation.id not in ignored:
                    changes.append(event)
                    if beside is not None:
                        beside.note(event)
            elif isinstance(event, RelationChanged):
                applier.add(changes)
                changes = []
                if tables.announced(event.relation, event.position):
                    self._look_soon.set()
            elif isinstance(event, TransactionEnd):
                self._ended.append(event.transaction)
                if beside is not None:
                    beside.note_end()
                if index == last_end:
                    applier.add(changes)
                    changes = []
                    applier.flush()
                    failpoint("after-flush-before-commit")
                    self._reach(version, tables, event.position)
            elif index > last_end:
                self._commit_marker(version, tables, event)
        applier.add(changes)  # of a transaction that is still open: flushed when it fills a batch, or at its end

    def _count(self, events: Sequence[SourceEvent]) -> None:
        """For metrics: the lag is that of the newest transaction; nothing waits where the source only gave a sign of life."""
        ends = [event for event in events if isinstance(event, TransactionEnd)]
        rows = sum(isinstance(event, RowChange) for event in events)
        self._metrics.replicated(rows=rows, transactions=len(ends))
        if self._told is not None:
            self._told.count(rows=rows, transactions=len(ends))
        if ends:
            self._metrics.lag(time.time() - ends[-1].commit_time_ms / 1000)
        elif not rows:
            self._metrics.lag(0.0)

    def _commit_marker(self, version: Version, tables: SourceTables, marker: Marker) -> None:
        """A position without data. Only a marker of ours is found again in the log, which tells whether it is still the same log."""
        if marker.ours and marker.position > self._committed:
            self._reach(version, tables, marker.position)

    def _reach(self, version: Version, tables: SourceTables, position: str) -> None:
        """Everything up to `position` is applied: make it visible, and act upon what the catalog said of tables before it."""
        if self._beside is not None and self._beside.active:
            self._beside.reach(position)
        if tables.is_whole:
            self._commit(version, position)
        elif self._told is not None:
            self._told.held_back(position, "a table is copied again first", now_s=time.monotonic())
        self._settle(version, tables, position)

    def _commit(self, version: Version, position: str) -> None:
        checkpoint = self._writer.commit(version.number, position)
        self._committed = position
        self._versions.reached(version.number, position)
        told = self._told
        assert told is not None, "a version is replicated"
        if checkpoint is None:
            told.held_back(position, "the copies of its tables end later", now_s=time.monotonic())
        else:
            told.visible(checkpoint)
            failpoint("after-commit-before-notify")
            if self._compactor is not None:
                self._compactor.note_checkpoint(checkpoint)
            self._on_checkpoint(checkpoint)

    def _settle(self, version: Version, tables: SourceTables, position: str) -> None:
        """Act upon what the catalog said, where the stream has come to it; the stream then begins anew, with the names of now."""
        done = tables.settle(position)
        if done:
            for text in done:
                log.warning("%s", text, extra={"event": "replication.tables_changed"})
            self._commit(version, position)
            raise TableNeedsCopy("what the publication says", "; ".join(done))

    async def _watch_publication(self, tables: SourceTables) -> None:
        """Ask the catalog now and then: the stream tells nothing of tables that left, of filters, of what is not published."""
        while True:
            await self._streaming.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PUBLICATION_INTERVAL_S):
                    await self._look_soon.wait()
            self._look_soon.clear()
            await self._source.check()
            relations = await self._source.relations(self._patterns)
            listed_at = await self._source.head()
            if self._streaming.is_set() and tables.heard(relations, listed_at):
                await self._source.emit_marker()  # the stream has to pass the position, also where nobody writes

    async def _keep_house(self, version: Version) -> None:
        """Once a second: acknowledge what is on disk, and now and then move the slot of an idle source and look how it is."""
        while True:
            await asyncio.sleep(ACKNOWLEDGE_INTERVAL_S)
            self.status.touched_s = time.time()
            self._acknowledge()
            now_s = time.monotonic()
            if self._told is not None:
                self._told.tell(self._committed, now_s=now_s)
            if self._streaming.is_set() and now_s - self._last_heartbeat_s >= self._heartbeat_interval_s:
                self._last_heartbeat_s = now_s
                await self._source.emit_marker()
            if now_s - self._last_slot_look_s >= SLOT_INTERVAL_S:
                self._last_slot_look_s = now_s
                await self._look_at_slot(version)

    def _acknowledge(self) -> None:
        """Only what is on disk: one durable commit a second, none while nothing new came."""
        position = self._committed
        if position > self._acknowledged:
            self._writer.sync_to_disk()
            failpoint("after-commit-before-acknowledge")
            self._source.acknowledge(position)
            self._acknowledged = position
            failpoint("after-acknowledge")

    async def _look_at_slot(self, version: Version) -> None:
        """Say when the source is about to give up the slot; while tables are copied nobody else would notice that it did."""
        if not self._streaming.is_set() and await self._source.slot_state(version.slot_name) is SlotState.LOST:
            raise SlotLost(
                f"The replication slot {version.slot_name} was lost while tables were copied.",
                hint="Its log grew beyond max_slot_wal_keep_size: allow the source more, enough for the time of a whole copy.",
            )
        left = self.status.slot_budget = await self._source.slot_budget(version.slot_name)
        if left is not None and left <= SLOT_BUDGET_TOLD:
            log.warning(
                "[PSYNC_S1146] %.0f %% of max_slot_wal_keep_size is left for the replication slot %s: without any, everything has to be"
                " copied again",
                left * 100,
                version.slot_name,
                extra={"event": "replication.slot_budget", "slot": version.slot_name, "left": left},
            )


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error of a group, whose others are its consequences."""
    exc: BaseException = group
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  # isinstance does not say what is in the group
    return exc  # pyright: ignore[reportUnknownVariableType]  # isinstance does not say what is in the group
