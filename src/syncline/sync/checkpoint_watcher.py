"""One per process: reads once per checkpoint what has changed, and tells only the sessions whom it concerns.

Work follows change (design decision 7): an idle stream costs memory and no CPU. Sessions are found through an inverted index from
buckets, lookups and users; what they have not taken yet is merged in their inbox, so that a slow client never makes a queue grow.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from syncline.errors import NoActiveSyncConfig, SynclineError
from syncline.storage.base import StorageReader, WriteCheckpoints
from syncline.storage.model import BucketTotals, Checkpoint, StorageChanges, Version, WriteCheckpointCursor
from syncline.sync.light_event import LightEvent
from syncline.sync.precedence import Precedence
from syncline.sync.small_sets import SmallSets
from syncline.sync_config.plan import SyncPlan

__all__ = ["CheckpointWatcher", "Inbox", "ServedVersion"]

log = logging.getLogger(__name__)

POLL_INTERVAL_S = 1.0  # seconds after which storage is looked at without a wake-up: one may have been lost


@dataclass(frozen=True, slots=True)
class ServedVersion:
    """The active version with its compiled plan."""

    version: Version
    plan: SyncPlan


@dataclass(slots=True, eq=False)
class Inbox:
    """What a session has not been told yet. `op_id` is the newest checkpoint heard of."""

    user_key: str
    arrived: LightEvent = field(default_factory=LightEvent)
    op_id: int | None = None
    totals: dict[str, BucketTotals] = field(default_factory=dict[str, BucketTotals])
    lookups_changed: bool = False
    write_checkpoint: int | None = None
    ended: bool = False
    buckets: Collection[str] = ()
    lookups: Collection[str] = ()


class CheckpointWatcher:
    """Watches one storage. `compile_plan` turns a version's sync config into its plan."""

    def __init__(
        self, *, reader: StorageReader, write_checkpoints: WriteCheckpoints, compile_plan: Callable[[str], SyncPlan]
    ) -> None:
        self._reader = reader
        self._write_checkpoints = write_checkpoints
        self._compile_plan = compile_plan
        self._wake = asyncio.Event()
        self._served: ServedVersion | None = None
        self._checkpoint: Checkpoint | None = None
        self._cursor = WriteCheckpointCursor()
        self._unsettled: set[Inbox] = set()
        self._by_bucket: SmallSets[Inbox] = SmallSets()
        self._by_lookup: SmallSets[Inbox] = SmallSets()
        self._by_user: SmallSets[Inbox] = SmallSets()
        self._changed = asyncio.Condition()
        self.precedence = Precedence()

    def wake(self) -> None:
        """There may be a new checkpoint. Call from the watcher's event loop; costs nothing when there is none."""
        if not self._wake.is_set():
            self.precedence.begin()  # of the look that follows
            self._wake.set()

    def served(self) -> ServedVersion:
        """The version to serve. Raises NoActiveSyncConfig (PSYNC_S2302) before the first consistent checkpoint."""
        if self._served is None:
            raise NoActiveSyncConfig(
                "No sync config is active yet.",
                hint="The first copy of the source is under way, or failed: see the service's log.",
            )
        return self._served

    @property
    def is_serving(self) -> bool:
        """Whether a version is active."""
        return self._served is not None

    async def wait_until_serving(self) -> None:
        """Return when a version is active."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._served is not None)

    async def run(self) -> None:
        """Watch until cancelled. Failures of storage are logged and tried again."""
        self.wake()
        while True:
            self._wake.clear()
            try:
                await self._look()
            except SynclineError as exc:
                log.warning("Bucket storage cannot be read: %s", exc, extra={"event": "sync.watch_error"})
            except Exception:
                log.exception("Watching checkpoints failed", extra={"event": "sync.watch_crash"})
            finally:
                self.precedence.end()
            try:
                async with asyncio.timeout(POLL_INTERVAL_S):
                    await self._wake.wait()
            except TimeoutError:
                self.wake()

    def register(self, user_key: str) -> Inbox:
        """Begin to listen. Call before the session's first reading, then `settle` with what it found."""
        inbox = Inbox(user_key)
        self._unsettled.add(inbox)
        self._by_user.add(user_key, inbox)
        return inbox

    def unsettle(self, inbox: Inbox) -> None:
        """The session is about to read its buckets again: until it settles, every change concerns it."""
        self._unsettled.add(inbox)

    def settle(self, inbox: Inbox, *, buckets: Collection[str], lookups: Collection[str]) -> None:
        """The session's buckets and lookups are these from now on. They are kept as they are: a tuple is a fourth of a set."""
        self._unsettled.discard(inbox)
        _move(self._by_bucket, inbox, inbox.buckets, buckets)
        _move(self._by_lookup, inbox, inbox.lookups, lookups)
        inbox.buckets, inbox.lookups = buckets, lookups

    def unregister(self, inbox: Inbox) -> None:
        """Stop listening."""
        self.settle(inbox, buckets=(), lookups=())
        self._by_user.discard(inbox.user_key, inbox)

    @property
    def session_count(self) -> int:
        """Open sessions."""
        return len(self._by_user)

    def inboxes(self) -> list[Inbox]:
        """The inboxes of all sessions."""
        return list(self._by_user.members())

    @property
    def serves_custom_write_checkpoints(self) -> bool:
        """Whether those of the served version come from a replicated table."""
        return self._served is not None and self._served.plan.has_custom_write_checkpoints

    def listeners(self, bucket: str) -> int:
        """How many sessions hold a bucket."""
        return len(self._by_bucket.of(bucket))

    async def _look(self) -> None:
        served = self._served
        changes = None
        if served is not None and self._checkpoint is not None:
            changes = await self._reader.changes(served.version.number, self._checkpoint)
        if changes is None:
            await self._look_for_version()
            return
        if changes.checkpoint.position != self._checkpoint_position or changes.totals or changes.lookups:
            await self._deliver(changes)

    @property
    def _checkpoint_position(self) -> str:
        return self._checkpoint.position if self._checkpoint else ""

    async def _look_for_version(self) -> None:
        """The served version is gone, or none was served yet."""
        version = await self._reader.active_version()
        checkpoint = await self._reader.checkpoint(version.number) if version else None
        if self._served is not None:
            log.info("Version %d is no longer active", self._served.version.number, extra={"event": "sync.version_end"})
            for inbox in self.inboxes():
                inbox.ended = True
                inbox.arrived.set()
        if version is None or checkpoint is None:
            self._served = None
            return
        self._cursor = WriteCheckpointCursor()
        self._checkpoint = checkpoint
        async with self._changed:
            self._served = ServedVersion(version, self._compile_plan(version.sync_config))
            self._changed.notify_all()
        log.info("Serving version %d", version.number, extra={"event": "sync.version", "version": version.number})

    async def _deliver(self, changes: StorageChanges) -> None:
        reached = changes.custom_write_checkpoints
        if not self.serves_custom_write_checkpoints:
            position = changes.checkpoint.position
            reached, self._cursor = await self._write_checkpoints.newly_reached(position, self._cursor)
        self._checkpoint = changes.checkpoint
        op_id = changes.checkpoint.op_id
        touched: set[Inbox] = set()
        for name, total in changes.totals.items():
            for inbox in self._by_bucket.of(name):
                inbox.totals[name] = total
                touched.add(inbox)
        for lookup in changes.lookups:
            for inbox in self._by_lookup.of(lookup):
                inbox.lookups_changed = True
                touched.add(inbox)
        if changes.totals or changes.lookups:
            for inbox in self._unsettled:
                inbox.lookups_changed = True  # its reading may be older than this: it reads again
                touched.add(inbox)
        for user_key, value in reached.items():
            for inbox in self._by_user.of(user_key):
                inbox.write_checkpoint = value
                touched.add(inbox)
        for inbox in touched:
            inbox.op_id = op_id
            inbox.arrived.set()


def _move(index: SmallSets[Inbox], inbox: Inbox, before: Collection[str], after: Collection[str]) -> None:
    """Bring an inverted index from one set of keys to another."""
    keep = set(after)
    for key in before:
        if key not in keep:
            index.discard(key, inbox)
    for key in keep:
        index.add(key, inbox)
