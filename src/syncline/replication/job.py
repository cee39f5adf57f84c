"""The life of a version: from a sync config to an active version that follows the source.

    choose   the version whose config, source and slot still fit, else a new one with a new number and a new slot
    copy     every table whose snapshot is pending (the slot is older than every copy, so nothing between is missed)
    stream   the source's log, commit by commit; a table that has to be copied (again) leads back to `copy`

Failures of the source end no process: the job says what is wrong, waits, and tries again. Facts: replication reference, 2 to 5.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from syncline.errors import LeaseLost, Retry, SlotLost, SourceError, SynclineError
from syncline.replication.apply import ChangeApplier, TableNeedsCopy
from syncline.replication.limits import (
    ACKNOWLEDGE_INTERVAL_S,
    IDLE_COMMIT_INTERVAL_S,
    RETRY_DELAY_MAX_S,
    RETRY_DELAY_MIN_S,
)
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
from syncline.storage.base import StorageWriter
from syncline.storage.model import Checkpoint, SnapshotState, StoredTable, Version, VersionState, draw_version_number
from syncline.sync_config.plan import SyncPlan

__all__ = ["DeployedConfig", "JobStatus", "ReplicationJob"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DeployedConfig:
    """A sync config as it was read, and its plan."""

    text: str
    plan: SyncPlan


@dataclass(slots=True)
class JobStatus:
    """What the job is doing, for probes and diagnostics. `last_error` is the newest failure, None while all is well."""

    phase: str = "starting"
    last_error: SynclineError | None = None
    copied: dict[str, float] | None = None  # table -> how far its copy is, 0 to 1
    touched_s: float = field(default_factory=time.time)  # last sign of life, in seconds since 1970


class ReplicationJob:
    """Replicates one source into one storage until it is cancelled.

    `on_checkpoint` is called after each visible checkpoint, from the job's own thread. Blocking storage calls run in this
    event loop on purpose: the loop belongs to the replicator alone.
    """

    def __init__(
        self,
        *,
        source: Source,
        writer: StorageWriter,
        config: DeployedConfig,
        slot_name_prefix: str,
        on_checkpoint: Callable[[Checkpoint], None],
    ) -> None:
        self._source = source
        self._writer = writer
        self._config = config
        self._slot_name_prefix = slot_name_prefix
        self._on_checkpoint = on_checkpoint
        self._acknowledged = ""
        self._committed = ""
        self._last_idle_commit_s = 0.0
        self.status = JobStatus()

    async def run(self) -> None:
        """Replicate until cancelled."""
        delay_s = RETRY_DELAY_MIN_S
        while True:
            before = self._committed
            try:
                await self._replicate()
            except LeaseLost:
                raise  # somebody else replicates now: nothing is left to do here
            except SynclineError as exc:
                self._report(exc)
            except Exception as exc:
                # A bug must not end replication for good: say so loudly, then begin again from what is stored.
                log.exception("Replication failed unexpectedly", extra={"event": "replication.crash"})
                self.status.last_error = SourceError(f"Replication failed unexpectedly: {type(exc).__name__}")
            delay_s = RETRY_DELAY_MIN_S if self._committed != before else min(delay_s * 2, RETRY_DELAY_MAX_S)
            await asyncio.sleep(delay_s * random.uniform(0.8, 1.2))  # noqa: S311 - jitter, not a secret

    async def _replicate(self) -> None:
        self.status.phase = "checking the source"
        self.status.touched_s = time.time()
        await self._source.check()
        version = await self._choose_version()
        applier = ChangeApplier(self._writer, version, self._config.plan)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._keep_house())
                while True:
                    try:
                        await self._copy_tables(version, applier)
                        await self._stream(version, applier)
                    except TableNeedsCopy as request:
                        log.info("Copying %s", request, extra={"event": "replication.copy_again"})
        except BaseExceptionGroup as group:
            raise _first(group) from group

    async def _choose_version(self) -> Version:
        """The version to go on with, or a new one; versions that are out of use are dropped with their slots."""
        identity = await self._source.identity()
        chosen: Version | None = None
        for version in self._writer.versions():
            reason = await self._unfit(version, identity)
            if not reason:
                chosen = version
            elif version.state is not VersionState.ACTIVE:
                await self._drop(version, reason)
            else:
                log.warning(
                    "Version %d is replaced: %s", version.number, reason, extra={"event": "replication.replace"}
                )
        await self._name_orphaned_slots()
        return chosen or await self._start_version(identity)

    async def _name_orphaned_slots(self) -> None:
        """A slot of a storage that was deleted keeps the source's log for ever. It may be another service's: only name it."""
        known = {version.slot_name for version in self._writer.versions()}
        for name in await self._source.idle_slots(self._slot_name_prefix):
            if name not in known:
                log.warning(
                    "Nobody uses the replication slot %s, and it keeps the source's log. Unless another service needs it, run on"
                    " the source: SELECT pg_drop_replication_slot('%s');",
                    name,
                    name,
                    extra={"event": "replication.orphaned_slot", "slot": name},
                )

    async def _unfit(self, version: Version, identity: str) -> str:
        """Why a version cannot be gone on with; empty where it can."""
        if version.state is VersionState.STOPPED:
            return "it was replaced"
        if version.sync_config != self._config.text:
            return "the sync config has changed"
        if version.source_identity != identity:
            return "the source is another database, or was restored"
        if await self._source.slot_state(version.slot_name) is not SlotState.VALID:
            return "its replication slot is gone"
        if self._writer.position(version.number) > await self._source.head():
            return "the source's log is behind what was replicated: it was restored"
        return ""

    async def _start_version(self, identity: str) -> Version:
        number = draw_version_number(
            now_ms=time.time_ns() // 1_000_000,
            random_bits=random.getrandbits(10),
            above=self._writer.highest_version_number(),
        )
        slot_name = f"{self._slot_name_prefix}{number}"
        self.status.phase = "creating the replication slot"
        version = self._writer.start_version(
            number, sync_config=self._config.text, slot_name=slot_name, source_identity=identity
        )
        await self._source.create_slot(slot_name)
        log.info(
            "New version %d with slot %s", number, slot_name, extra={"event": "replication.version", "version": number}
        )
        return version

    async def _drop(self, version: Version, reason: str) -> None:
        await self._source.drop_slot(version.slot_name)
        self._writer.drop_version(version.number)
        log.info("Dropped version %d: %s", version.number, reason, extra={"event": "replication.drop"})

    async def _copy_tables(self, version: Version, applier: ChangeApplier) -> None:
        relations = await self._source.relations(self._config.plan.table_patterns)
        if not relations:
            log.warning(
                "The publication holds none of the sync config's tables", extra={"event": "replication.no_tables"}
            )
        copied = 0
        for relation in relations:
            stored = self._stored(version, relation, applier)
            applier.follow(relation, stored)
            if stored.snapshot is SnapshotState.PENDING:
                await self._copy_table(version, relation, stored, applier)
                copied += 1
        if copied or not version.snapshot_done:
            self._writer.finish_snapshot(version.number)
            await self._source.emit_marker()  # streaming then has a position to reach

    def _stored(self, version: Version, relation: Relation, applier: ChangeApplier) -> StoredTable:
        """Storage's record of the table, made or renewed where it does not fit."""
        stored = self._find(version, relation)
        if stored is None:
            return self._writer.add_table(
                version.number,
                schema=relation.schema,
                name=relation.name,
                relation_id=relation.id,
                key_columns=relation.key_columns,
            )
        if stored.relation_id != relation.id or stored.key_columns != relation.key_columns:
            applier.remove_all(stored)
            self._writer.replace_table(stored.id, relation_id=relation.id, key_columns=relation.key_columns)
            return self._find(version, relation) or stored
        return stored

    def _find(self, version: Version, relation: Relation) -> StoredTable | None:
        tables = self._writer.tables(version.number)
        return next((t for t in tables if (t.schema, t.name) == (relation.schema, relation.name)), None)

    async def _copy_table(
        self, version: Version, relation: Relation, stored: StoredTable, applier: ChangeApplier
    ) -> None:
        name = f"{relation.schema}.{relation.name}"
        self.status.phase = f"copying {name}"
        self.status.copied = (self.status.copied or {}) | {name: 0.0}
        begun_before = bool(self._writer.table_rows(stored.id, after=b"", limit=1))
        started_s, rows_before = time.monotonic(), applier.rows_applied
        async for chunk in self._source.snapshot(relation, value_format=self._config.plan.value_format):
            applier.copy(relation, chunk.rows, look_up=begun_before)
            self.status.copied[name] = chunk.progress
        applier.flush()
        self._writer.finish_table_snapshot(version.number, stored.id, position=await self._source.head())
        rows = applier.rows_applied - rows_before
        log.info(
            "Copied %s: %d rows in %.2f s",
            name,
            rows,
            time.monotonic() - started_s,
            extra={"event": "replication.copied", "table": name, "rows": rows},
        )

    async def _stream(self, version: Version, applier: ChangeApplier) -> None:
        self.status.phase = "streaming"
        after = self._writer.position(version.number)
        # Positions of the run before may be another source's; and a new walsender has to be told anew.
        self._committed, self._acknowledged = after, ""
        plan = self._config.plan
        stream = self._source.stream(version.slot_name, plan.table_patterns, after, value_format=plan.value_format)
        async with contextlib.aclosing(stream) as batches:
            async for events in batches:
                self.status.last_error = None
                self._apply(version, applier, events)

    def _apply(self, version: Version, applier: ChangeApplier, events: Sequence[SourceEvent]) -> None:
        """Apply a batch. All its whole transactions become visible in one checkpoint; an open one stays invisible."""
        last_end = max((index for index, event in enumerate(events) if isinstance(event, TransactionEnd)), default=-1)
        changes: list[RowChange] = []
        for index, event in enumerate(events):
            if isinstance(event, RowChange):
                changes.append(event)
            elif isinstance(event, RelationChanged):
                applier.add(changes)
                changes = []
                self._follow_changed(version, applier, event.relation)
            elif index == last_end:
                applier.add(changes)
                changes = []
                applier.flush()
                self._commit(version, event.position)
            elif isinstance(event, Marker) and index > last_end:
                self._commit_marker(version, event)
        applier.add(changes)  # of a transaction that is still open: flushed when it fills a batch, or at its end

    def _follow_changed(self, version: Version, applier: ChangeApplier, relation: Relation) -> None:
        stored = self._stored(version, relation, applier)
        if stored.snapshot is SnapshotState.PENDING:
            raise TableNeedsCopy(stored, "it is new here, or its identity has changed")
        applier.follow(relation, stored)

    def _commit_marker(self, version: Version, marker: Marker) -> None:
        """A position without data: ours always counts, another's at most once a second (the log moves, nothing is new)."""
        now_s = time.monotonic()
        if not marker.ours and now_s - self._last_idle_commit_s < IDLE_COMMIT_INTERVAL_S:
            return
        self._last_idle_commit_s = now_s
        if marker.position > self._committed:
            self._commit(version, marker.position)

    def _commit(self, version: Version, position: str) -> None:
        checkpoint = self._writer.commit(version.number, position)
        self._committed = position
        if checkpoint is not None:
            self._on_checkpoint(checkpoint)

    async def _keep_house(self) -> None:
        """Acknowledge only what is on disk (one durable commit a second, none while nothing new came); drop what was replaced."""
        while True:
            await asyncio.sleep(ACKNOWLEDGE_INTERVAL_S)
            self.status.touched_s = time.time()
            position = self._committed
            if position > self._acknowledged:
                self._writer.sync_to_disk()
                self._source.acknowledge(position)
                self._acknowledged = position
            for version in self._writer.versions():
                if version.state is VersionState.STOPPED:
                    await self._drop(version, "it was replaced")

    def _report(self, exc: SynclineError) -> None:
        self.status.last_error = exc
        self.status.phase = "waiting to try again"
        level = logging.ERROR if exc.retry is Retry.OPERATOR or isinstance(exc, SlotLost) else logging.WARNING
        where = "The source" if isinstance(exc, SourceError) else "Replication"
        log.log(level, "%s: %s", where, exc, extra={"event": "replication.error", "code": exc.error_code})


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error of a group, whose others are its consequences."""
    exc: BaseException = group
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return exc  # pyright: ignore[reportUnknownVariableType]
