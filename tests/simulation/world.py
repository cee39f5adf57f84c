"""One run of the simulation: devices, links, a service, a backend and a source in one world with one clock."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from syncline.backend import TablePolicy
from syncline.client import SyncDatabase
from syncline.client import database as database_module
from syncline.client.core.retry import RetryDelays
from syncline.client.errors import ChecksumMismatch
from syncline.testing.memory_source import MemorySource, SourceTransaction
from syncline.testing.service import MemoryService
from syncline.testing.simulated_loop import SimulatedLoop, simulate
from tests.simulation.checkers import Contract, Violation, check_uploads, check_view
from tests.simulation.others import Others
from tests.simulation.plan import Plan
from tests.simulation.sim_backend import RecordingPersister
from tests.simulation.sim_device import SimDevice
from tests.simulation.subject import READ_IDLE_TIMEOUT_S, RETRY_DELAY_S, WRITE_CHECKPOINT_TIMEOUT_S, Subject
from tests.simulation.tables import SCHEMA, SYNC_CONFIG, History, Snapshot

__all__ = ["IN_SYNC_WITHIN_S", "Report", "World", "run_world"]

IN_SYNC_WITHIN_S = 5.0  # virtual seconds after the last fault, besides the time-outs that a fault may have begun
LOOK_INTERVAL_S = 5.0  # virtual seconds between two looks at every device's status
SETTLE_STEP_S = 0.1  # virtual seconds between the first looks whether all are in sync
SETTLE_STEP_MAX_S = 1.5
USERS = ("ada", "bob")


@dataclass(frozen=True, slots=True)
class Report:
    """What became of one run."""

    seed: int
    counts: Counter[str]
    in_sync_after_s: float
    rows_compared: int
    trace: list[str]

    @property
    def trace_hash(self) -> str:
        """The same for the same run."""
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()[:16]


class World:
    """See the module."""

    def __init__(self, plan: Plan, loop: SimulatedLoop, folder: Path, subject: Subject) -> None:
        self.plan, self.loop, self.subject = plan, loop, subject
        self.counts: Counter[str] = Counter()
        self.history = History()
        self.service = MemoryService(
            SYNC_CONFIG,
            schema=SCHEMA,
            policies={
                table.name: TablePolicy(owner="owner" if table.name == "notes" else None) for table in SCHEMA.tables
            },
            replicates=False,
            token_lifetime_s=plan.token_lifetime_s,
            persister=self._make_persister,
        )
        self.service.source.listen(self._on_commit)
        self.devices = [
            SimDevice(self, f"d{number}", USERS[number % plan.users], folder) for number in range(plan.devices)
        ]
        self.others = Others(self)
        self.lost_write_checkpoints = False
        self.silent_streams = False
        self.rows_compared = 0
        self.draw = random.Random(f"{plan.seed} world")
        self._trace: dict[str, list[str]] = {}

    def _make_persister(self, source: MemorySource) -> RecordingPersister:
        self.persister = self.subject.persister(self, source)
        return self.persister

    async def run(self) -> Report:
        """The whole run. Raises Violation."""
        async with self.service, asyncio.TaskGroup() as lives:
            self.others.fill()
            self.service.replicate()
            running = [lives.create_task(device.live()) for device in self.devices]
            running += [lives.create_task(work) for work in self.others.work()]
            watching = lives.create_task(self._watch_statuses())
            await asyncio.sleep(self.plan.active_s)
            self.note("world", "faults end")
            self.others.end()
            for device in self.devices:
                device.live_on()
            after_s = await self._settle()
            given_up = frozenset(tag for device in self.devices for tag in device.given_up)
            committed = {device.name: device.committed for device in self.devices}
            check_uploads(committed, self.persister.executed, given_up=given_up)
            for task in (*running, watching):
                task.cancel()
        self.counts["token issued"] = self.service.tokens_issued
        for device in self.devices:
            for what, count in device.link.happened.items():
                self.counts[f"link: {what}"] += count
        return Report(self.plan.seed, self.counts, after_s, self.rows_compared, self._sorted_trace())

    # -- what devices and others call

    def note(self, who: str, what: str) -> None:
        """A line of the trace. Each entity has its own: what happens at one instant has no order between them."""
        self._trace.setdefault(who, []).append(f"{self.loop.time():.6f} {who} {what}")

    def executed(self, tag: str) -> bool:
        """Whether the backend has a transaction."""
        return tag in self.persister.placed

    def check_view(self, device: SimDevice, local: Snapshot) -> None:
        """C3 and C4 for one look of a device."""
        self._place(device)
        newest = self.service.storage.position
        found = check_view(self.history, user=device.user, local=local, own=device.own, seen=device.seen, newest=newest)
        if found != device.seen:
            self.note(device.name, f"sees {found}")
            self.counts["view moved on"] += 1
            self.counts["view with levels at different positions"] += len(set(found)) > 1
        self.counts["look with own writes on top"] += any(
            tx.position is None or tx.position > found[-1] for tx in device.own
        )
        device.seen = found
        self.counts["look"] += 1
        self.rows_compared += sum(len(rows) for rows in local.values())

    def _check_newest(self, device: SimDevice, local: Snapshot, rooms: frozenset[str] | None) -> None:
        """C5: the device sees the source as it is now. `rooms`: messages of exactly these."""
        head = self.history.head
        check_view(
            self.history,
            user=device.user,
            local=local,
            own=device.own,
            seen=[head] * len(device.seen),
            newest=head,
            rooms=rooms,
        )

    def _place(self, device: SimDevice) -> None:
        """Where the source has the device's transactions by now."""
        for tx in device.own:
            if tx.position is None and (placed := self.persister.placed.get(tx.tag)):
                tx.position, tx.refused = placed

    def _on_commit(self, transaction: SourceTransaction) -> None:
        self.history.note(transaction)

    # -- the end

    async def _settle(self) -> float:
        """C5 and C6: wait until every device is in sync, no longer than it may take; returns how long it took."""
        limit_s = IN_SYNC_WITHIN_S + 2 * RETRY_DELAY_S + 6 * self.plan.latency_s
        limit_s += (READ_IDLE_TIMEOUT_S if self.silent_streams else 0) + (
            2 * WRITE_CHECKPOINT_TIMEOUT_S if self.lost_write_checkpoints else 0
        )
        # Beside that what the data take: each upload goes there and back, one after the other.
        waiting = max(sum(not self.executed(tx.tag) for tx in device.committed) for device in self.devices)
        limit_s += 2 * self.plan.latency_s * waiting / self.plan.batch
        began_s, pause_s = self.loop.time(), SETTLE_STEP_S
        backing_off_s = 0.0
        while True:
            backing_off_s = max([backing_off_s, *map(_backing_off_s, self.devices)])
            reasons = [reason for device in self.devices if (reason := await self._why_not_in_sync(device))]
            if not reasons:
                return self.loop.time() - began_s
            if self.loop.time() - began_s > limit_s + backing_off_s:
                exact = next((reason for reason in reasons if reason.contract == Contract.EXACT), None)
                raise exact or Violation(Contract.LIVE, f"{limit_s:.0f} s after the last fault: {reasons[0]}")
            await asyncio.sleep(pause_s)
            pause_s = min(SETTLE_STEP_MAX_S, 1.3 * pause_s)

    async def _why_not_in_sync(self, device: SimDevice) -> Violation | None:
        if device.db is None or device.machine is None:
            return Violation(Contract.LIVE, f"{device.name} is off")
        return await device.machine.start(self._check_device(device, device.db))

    async def _check_device(self, device: SimDevice, db: SyncDatabase) -> Violation | None:
        """What is wrong with a device at rest; None for nothing."""
        status = db.current_status
        async with device.writing:
            local = await device.read(db)
            self.check_view(device, local)
        waiting = [tx.tag for tx in device.own if not self.executed(tx.tag)]
        if waiting or not status.connected or status.blocked_by or (await db.get_upload_queue_stats()).count:
            state = replace(status, streams=(), priorities=())
            text = f"{device.name} sees {device.seen} of {self.history.head}, its {waiting} wait, and its status is {state}"
            return Violation(Contract.LIVE, text)
        for rooms, contract in ((None, Contract.LIVE), (frozenset(device.rooms), Contract.EXACT)):
            try:
                self._check_newest(device, local, rooms)
            except Violation as exc:
                return Violation(contract, f"{device.name} rests, but {exc}")
        expected = self.history.seen_by(device.user, self.history.head)
        expected = {**expected, "messages": {k: r for k, r in expected["messages"].items() if r[0] in device.rooms}}
        kept = {(row[0], row[1]) for row in await db.get_all("SELECT row_type, row_id FROM ps_oplog")}
        wanted = {(table, row_id) for table, rows in expected.items() for row_id in rows}
        if kept != wanted:
            return Violation(
                Contract.EXACT, f"{device.name} keeps operations of other rows: {sorted(kept ^ wanted)[:6]}"
            )
        for table in ("ps_updated_rows", "ps_untyped", "ps_crud"):
            if rest := (await db.get(f"SELECT count(*) FROM {table}"))[0]:
                return Violation(Contract.EXACT, f"{device.name} has {rest} rows left in {table}")
        await device.note_client_id(db)
        return None

    # -- watching

    async def _watch_statuses(self) -> None:
        """C6 while faults happen: the status says why something waits."""
        while True:
            await asyncio.sleep(LOOK_INTERVAL_S)
            for device in self.devices:
                if device.db is None:
                    device.watch.look(self.loop.time(), claims_well=False, waits=False)
                    continue
                status = device.db.current_status
                claims_well = status.connected and not (
                    status.download_error
                    or status.upload_error
                    or status.blocked_by
                    or status.uploading
                    or status.downloading
                )
                waits = any(not self.executed(tx.tag) for tx in device.own)
                device.watch.look(self.loop.time(), claims_well=claims_well, waits=waits)

    def _sorted_trace(self) -> list[str]:
        return [line for who in sorted(self._trace) for line in self._trace[who]]


def run_world(plan: Plan, *, subject: Subject | None = None) -> Report:
    """Run one world in a folder of its own, in memory where the system has one. Raises Violation, and whatever fails."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="syncline-simulation-", dir=memory if memory.is_dir() else None))
    subject = subject or Subject()

    async def main(loop: SimulatedLoop) -> Report:
        return await World(plan, loop, folder, subject).run()

    opened = list(database_module._opened)
    logging.disable(logging.CRITICAL)
    try:
        with subject.applied():
            return simulate(main, seed=plan.seed)
    except BaseExceptionGroup as group:
        raise _first(group) from None
    finally:
        database_module._opened[:] = opened  # a violation ends a run with databases open, whose loop is gone
        logging.disable(logging.NOTSET)
        shutil.rmtree(folder, ignore_errors=True)


def _backing_off_s(device: SimDevice) -> float:
    """Seconds that a device waits on purpose: after wrong checksums longer each time, for each try downloads whole buckets again."""
    status = device.db.current_status if device.db is not None else None
    if status is None or not isinstance(status.download_error, ChecksumMismatch):
        return 0.0
    return RetryDelays(RETRY_DELAY_S).delay_s(status.retries, status.download_error)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What went wrong first: violations before what followed from them."""
    leaves: list[BaseException] = []
    waiting: list[BaseException] = [group]
    while waiting:
        found = waiting.pop(0)
        if isinstance(found, BaseExceptionGroup):
            waiting += found.exceptions  # pyright: ignore[reportUnknownMemberType]  # isinstance does not say what is in the group
        else:
            leaves.append(found)
    return next((leaf for leaf in leaves if isinstance(leaf, Violation)), leaves[0])
