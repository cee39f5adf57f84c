"""Which version is replicated: the stored one whose config, source and slot still fit, else a new one with a new number and slot."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time

from syncline.failpoints import failpoint
from syncline.replication.apply import ChangeApplier
from syncline.replication.custom_write_checkpoints import CustomCheckpointFeed
from syncline.replication.limits import ACKNOWLEDGE_INTERVAL_S, DROP_PAUSE_S, DROP_ROWS_MAX, ERROR_TOLD_INTERVAL_S
from syncline.replication.source import SlotState, Source
from syncline.replication.source_tables import SourceTables
from syncline.replication.status import JobStatus
from syncline.storage.base import StorageWriter
from syncline.storage.model import Version, VersionState, draw_version_number
from syncline.sync_config.plan import SyncPlan

__all__ = ["BEING_REPLACED", "VersionChooser"]

log = logging.getLogger(__name__)

BEING_REPLACED = "It is being replaced: "  # what the recorded error of the version that still serves begins with


class VersionChooser:
    """Chooses, makes and drops versions of one sync config. `number`: see `DeployedConfig`."""

    def __init__(
        self,
        *,
        source: Source,
        writer: StorageWriter,
        sync_config: str,
        plan: SyncPlan,
        slot_name_prefix: str,
        status: JobStatus,
        number: int = 0,
    ) -> None:
        self._source = source
        self._writer = writer
        self._sync_config = sync_config
        self._plan = plan
        self._patterns = CustomCheckpointFeed(plan.events).followed(plan.table_patterns)
        self._slot_name_prefix = slot_name_prefix
        self._number = number
        self._status = status
        self._wait_told_s = -math.inf  # when we said what a slot waits for
        self._reached: dict[int, str] = {}  # by version, what this process has made visible
        self._without_slot = 0  # the version for which this process could not make a slot yet: nothing of it was copied

    async def choose(self) -> Version:
        """The version to go on with, or a new one; versions that are out of use are dropped with their slots."""
        identity = await self._source.identity()
        chosen: Version | None = None
        for version in self._writer.versions():
            reason = await self._unfit(version, identity)
            if not reason:
                chosen = version
            elif version.state is VersionState.STOPPED:
                await self._source.drop_slot(version.slot_name)  # it may be that a new one has no room yet
            elif version.state is not VersionState.ACTIVE:
                log.info("Version %d is dropped: %s", version.number, reason, extra={"event": "replication.stop"})
                self._writer.stop_version(version.number)
                await self._source.drop_slot(version.slot_name)  # room for a new one; the data go in the background
            else:
                log.warning(
                    "Version %d is replaced: %s", version.number, reason, extra={"event": "replication.replace"}
                )
                self._writer.record_error(version.number, f"{BEING_REPLACED}{reason}")
        await self._name_orphaned_slots()
        version = chosen or await self._start(identity)
        if version.number == self._without_slot:
            await self._make_slot(version)
        return version

    def reached(self, number: int, position: str) -> None:
        """The version is visible up to here. A storage that knows of less later was set back, and clients are ahead of it."""
        self._reached[number] = position

    async def drop_replaced(self) -> None:
        """Drop what was replaced, in steps, whenever there is something. Runs until cancelled."""
        while True:
            await asyncio.sleep(ACKNOWLEDGE_INTERVAL_S)
            for version in self._writer.versions():
                if version.state is VersionState.STOPPED:
                    failpoint("after-switch-before-drop")
                    await self._drop(version)

    async def _drop(self, version: Version) -> None:
        await self._source.drop_slot(version.slot_name)
        failpoint("after-slot-drop-before-version-drop")
        while True:
            if self._writer.drop_version(version.number, rows_max=DROP_ROWS_MAX):
                break
            await asyncio.sleep(DROP_PAUSE_S)  # replication goes on in between
        log.info("Dropped version %d: it was replaced", version.number, extra={"event": "replication.drop"})

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
        if version.sync_config != self._sync_config:
            return "the sync config has changed"
        if version.number < self._number:
            return "the sync config was deployed again"
        if version.source_identity != identity:
            return "the source is another database, or was restored"
        slot = await self._source.slot_state(version.slot_name)
        if slot is not SlotState.VALID and not (slot is SlotState.MISSING and version.number == self._without_slot):
            return "[PSYNC_S1146] its replication slot is gone"
        position = self._writer.position(version.number)
        if position < self._reached.get(version.number, ""):
            return "its storage was restored to an earlier state"
        if position > await self._source.head():
            return "the source's log is behind what was replicated: it was restored"
        return ""

    async def _start(self, identity: str) -> Version:
        """Make a version, without its slot. Its tables are recorded before that is made: what is altered from then on shows."""
        relations = await self._source.relations(self._patterns)
        highest = self._writer.highest_version_number()
        number = self._number  # who deployed was told the name of its slot
        if number <= highest:
            number = draw_version_number(
                now_ms=time.time_ns() // 1_000_000, random_bits=random.getrandbits(10), above=highest
            )
        slot_name = f"{self._slot_name_prefix}{number}"
        version = self._writer.start_version(
            number, sync_config=self._sync_config, slot_name=slot_name, source_identity=identity
        )
        SourceTables(self._writer, number, ChangeApplier(self._writer, version, self._plan)).add(relations)
        self._without_slot = number
        failpoint("after-version-before-slot")
        return version

    async def _make_slot(self, version: Version) -> None:
        """A source that refuses is asked again: the same version then goes on, under the number that was told."""
        self._status.phase = "creating the replication slot"
        if await self._source.slot_state(version.slot_name) is SlotState.MISSING:
            await self._source.create_slot(version.slot_name, tell=lambda text: self._tell_wait(version, text))
        self._without_slot = 0
        failpoint("after-slot-before-snapshot")
        number, slot_name = version.number, version.slot_name
        self._writer.record_error(number, "")
        log.info(
            "New version %d with slot %s", number, slot_name, extra={"event": "replication.version", "version": number}
        )

    def _tell_wait(self, version: Version, text: str) -> None:
        self._status.phase = f"creating the replication slot. {text}"
        self._status.touched_s = time.time()
        self._writer.record_error(version.number, text)
        now_s = time.monotonic()
        if now_s - self._wait_told_s >= ERROR_TOLD_INTERVAL_S:
            self._wait_told_s = now_s
            log.warning("%s", text, extra={"event": "replication.slot_wait", "slot": version.slot_name})
