"""A device of the simulation: an app that writes, reads, goes offline and dies, over any number of lives with one file."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from syncline.client import SyncDatabase
from syncline.client.core.status import SyncStatus
from syncline.client.errors import PendingWrites
from syncline.client.transactions import WriteTransaction
from syncline.testing.memory_transport import MemoryTransport
from syncline.testing.service import MemoryService
from syncline.testing.simulated_loop import Machine
from tests.simulation.checkers import LocalTransaction, LocalWrite, StatusWatch
from tests.simulation.plan import Plan
from tests.simulation.sim_backend import REFUSED_TEXT
from tests.simulation.sim_link import SimLink
from tests.simulation.subject import Subject
from tests.simulation.tables import LEVELS, ROOMS, SCHEMA, TEAMS, Snapshot

__all__ = ["SimDevice"]

STEPS_OF_A_COMMIT = 6  # the call, its statements, and its end
STEPS_MEAN = 40.0  # steps of a device's threads until a planned death in the middle of one


class Surroundings(Protocol):
    """What a device needs of the world."""

    plan: Plan
    service: MemoryService
    subject: Subject
    counts: Counter[str]

    def note(self, who: str, what: str) -> None: ...
    def check_view(self, device: SimDevice, local: Snapshot) -> None: ...
    def executed(self, tag: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class _Backup:
    """A copy of the file, and what it holds."""

    files: dict[str, bytes]
    own: list[LocalTransaction]
    seen: list[int]
    rooms: set[str]


class SimDevice:
    """One device: its file, its user, and what its app has done."""

    def __init__(self, world: Surroundings, name: str, user: str, folder: Path) -> None:
        plan = world.plan
        self.world, self.name, self.user = world, name, user
        self.link = SimLink(name, seed=plan.seed, faults=plan.faults, latency_s=plan.latency_s)
        self.own: list[LocalTransaction] = []
        """What the file holds of the app's writes, in order."""
        self.committed: list[LocalTransaction] = []
        """What was ever committed, but for what went with a restored file before it was uploaded."""
        self.given_up: set[str] = set()
        self.seen = [0] * len(LEVELS)
        self.rooms: set[str] = set()
        self.watch = StatusWatch(name)
        self.calm = False
        """True: the app stays connected and writes no more."""
        self._folder = folder
        self._draw = random.Random(f"{plan.seed} device {name}")
        self._machine: Machine | None = None
        self._lives = 0
        self._rows = 0
        self._in_flight: LocalTransaction | None = None
        self._clears = False
        self._backup: _Backup | None = None
        self._client_id = ""
        self.db: SyncDatabase | None = None
        self.writing = asyncio.Lock()
        """Held from a transaction's beginning until it is noted: who compares waits for that."""

    # -- lives

    async def live(self) -> None:
        """One life after the other, until cancelled."""
        while True:
            self._lives += 1
            machine = self._machine = Machine(f"{self.name}.{self._lives}")
            task = machine.start(self._life())
            await asyncio.wait([task])
            if not machine.is_dead:
                task.result()  # raises what a checker has found
                raise AssertionError(f"the app of {self.name} ended")
            await self._bury(machine)
            await asyncio.sleep(self._draw.uniform(0.0, 2.0))
            if self._backup is not None and self._draw.random() < self.world.plan.faults.restored:
                self._restore(self._backup)

    def die(self) -> None:
        """Power off, now."""
        if self._machine is not None and not self._machine.is_dead:
            self.world.note(self.name, "dies")
            self.world.counts["crash"] += 1
            self._machine.die()

    def die_at_step(self, *, within: int | None = None) -> None:
        """Power off in the middle of what the database's threads do next, at one of the next `within` steps where given."""
        if self._machine is not None and self._machine.dies_at is None and not self.calm:
            steps = self._draw.randint(1, within) if within else 1 + int(self._draw.expovariate(1 / STEPS_MEAN))
            self._machine.dies_at = self._machine.steps + steps

    def live_on(self) -> None:
        """Faults have ended: no planned death any more."""
        self.calm = True
        self.link.heal()
        if self._machine is not None:
            self._machine.dies_at = None

    async def _bury(self, machine: Machine) -> None:
        if machine.is_dead and machine.dies_at is not None and machine.steps >= machine.dies_at:
            self.world.counts["crash at a step"] += 1
            self.world.note(self.name, f"died at step {machine.steps}")
        await machine.buried()
        self.db = None

    def _back_up(self) -> None:
        files = {suffix: path.read_bytes() for suffix in ("", "-wal") if (path := self._path(suffix)).exists()}
        self._backup = _Backup(files, list(self.own), list(self.seen), set(self.rooms))

    def _restore(self, backup: _Backup) -> None:
        """The file is as it was; what the app wrote since is gone, unless the backend has it."""
        self.world.counts["restored from a backup"] += 1
        self.world.note(self.name, f"restored with {len(backup.own)} of {len(self.own)}")
        for suffix in ("", "-wal", "-shm"):
            self._path(suffix).unlink(missing_ok=True)
        for suffix, content in backup.files.items():
            self._path(suffix).write_bytes(content)
        if self._in_flight is not None:
            self.committed.append(self._in_flight)
            self._in_flight = None
        kept = {tx.tag for tx in backup.own}
        self.given_up |= {tx.tag for tx in self.committed if tx.tag not in kept and not self.world.executed(tx.tag)}
        self.committed = [tx for tx in self.committed if tx.tag not in self.given_up]
        self.own, self.seen, self.rooms = list(backup.own), list(backup.seen), set(backup.rooms)
        self._clears = False

    def _path(self, suffix: str) -> Path:
        return self._folder / f"{self.name}.db{suffix}"

    @property
    def machine(self) -> Machine | None:
        """The machine of the present life."""
        return self._machine

    # -- one life

    async def _life(self) -> None:
        world = self.world
        self.writing = asyncio.Lock()
        db = SyncDatabase(self._path(""), schema=SCHEMA, readers=1)
        await db.init()
        db.register_listener(self._on_status)
        await self._resolve(db)
        self.db = db  # not before: nobody may look while it is not known what was committed
        await self._look(db)
        await self.note_client_id(db)
        if self._backup is None or self._draw.random() < 0.5:
            self._back_up()
        await self._subscribe_all(db)
        await self._connect(db)
        while True:
            await asyncio.sleep(self._draw.expovariate(world.plan.writes))
            if self.calm:
                await asyncio.sleep(0.5)
                continue
            action = self._draw.random()
            if action < 0.6:
                await self._write(db)
            elif action < 0.68:
                room = self._draw.choice(ROOMS)
                self.rooms ^= {room}
                world.note(self.name, f"rooms {sorted(self.rooms)}")
                await self._subscribe(db, room, wanted=room in self.rooms)
            elif action < 0.68 + world.plan.faults.disconnect:
                world.counts["disconnect"] += 1
                await db.disconnect()
                await asyncio.sleep(self._draw.uniform(0.0, 3.0))
                await self._look(db)
                await self._connect(db)
            elif action > 1 - world.plan.faults.cleared:
                await self._clear(db)
            await self._look(db)

    async def _connect(self, db: SyncDatabase) -> None:
        world = self.world
        connector = world.subject.connector(world.service, self.user, self.link, world.plan)
        transport = MemoryTransport(world.service, self.link, limits=world.subject.transport_limits())
        await db.connect(connector, transport=transport, **world.subject.connect_options())

    async def _clear(self, db: SyncDatabase) -> None:
        """The app signs out and in again."""
        self._clears = True  # until it is known, which may be in another life
        try:
            await db.disconnect_and_clear()
        except PendingWrites:
            self._clears = False
            self.world.counts["clearing refused, writes wait"] += 1
        else:
            self._cleared()
            await self._look(db)
        await self._subscribe_all(db)
        await self._connect(db)

    def _cleared(self) -> None:
        self._clears = False
        self.world.counts["cleared"] += 1
        self.world.note(self.name, "cleared")
        self.own, self.seen = [], [0] * len(LEVELS)

    async def note_client_id(self, db: SyncDatabase) -> None:
        """Count how often the device became another one for the backend."""
        client_id = await db.get_client_id()
        self.world.counts["client id renewed"] += self._client_id not in ("", client_id)
        self._client_id = client_id

    async def _subscribe_all(self, db: SyncDatabase) -> None:
        for room in ROOMS:
            await self._subscribe(db, room, wanted=room in self.rooms)

    async def _subscribe(self, db: SyncDatabase, room: str, *, wanted: bool) -> None:
        stream = db.sync_stream("messages", {"room": room})
        if wanted:
            await stream.subscribe()
        else:
            await stream.unsubscribe_all()

    async def _resolve(self, db: SyncDatabase) -> None:
        """Whether the transaction, or the clearing, in which the device died was committed."""
        if self._clears:
            left = [*(f"ps_data__{table.name}" for table in SCHEMA.tables), "ps_buckets", "ps_crud"]
            if not await db.get_all(" UNION ALL ".join(f"SELECT 1 FROM {table}" for table in left)):
                self._cleared()
                self.world.counts["cleared, and died before it was told"] += 1
            self._clears = False
        tx = self._in_flight
        if tx is None:
            return
        queued = [entry async for entry in db.crud_transactions()]
        tags = {entry.op_data.get("tag") for found in queued for entry in found.crud if entry.op_data}
        self._in_flight = None  # not before: the device may have died again while it looked
        if tx.tag in tags or self.world.executed(tx.tag):
            self.own.append(tx)
            self.committed.append(tx)
            self.world.counts["committed, and died before it was told"] += 1
        else:
            self.world.counts["died before the commit"] += 1

    def _on_status(self, status: SyncStatus) -> None:
        if self._machine is None or self._machine.is_dead:
            return
        if status.blocked_by:
            self.world.counts[f"blocked by {status.blocked_by}"] += 1
        for error in (status.download_error, status.upload_error):
            if error is not None:
                self.world.counts[f"status: {type(error).__name__}"] += 1

    # -- the app

    async def _write(self, db: SyncDatabase) -> None:
        tag = f"{self.name}-{len(self.committed)}-{self._lives}"
        async with self.writing:
            async with db.write_transaction() as tx:
                writes = [await self._write_row(tx) for _ in range(self._draw.choice([1, 1, 2, 4]))]
                await tx.execute("INSERT INTO journal (id, tag) VALUES (?, ?)", [f"j-{tag}", tag])
                self._in_flight = LocalTransaction(tag, tuple(writes))
                if self._draw.random() < self.world.plan.faults.crash_at_step / 2:
                    self.die_at_step(within=STEPS_OF_A_COMMIT)
            self.own.append(self._in_flight)
            self.committed.append(self._in_flight)
            self._in_flight = None
        self.world.counts["local transaction"] += 1
        self.world.note(self.name, f"committed {tag}")

    async def _write_row(self, tx: WriteTransaction) -> LocalWrite:
        table = self._draw.choice(["notes", "tasks", "tasks", "messages"])
        kind = self._draw.choice(["insert", "insert", "update", "update", "delete"])
        rows = await tx.get_all(f"SELECT id{', room' if table == 'messages' else ''} FROM {table} ORDER BY id")
        if kind == "insert" or not rows:
            return await self._insert(tx, table)
        row = self._draw.choice(rows)
        room = row["room"] if table == "messages" else None
        if kind == "delete":
            await tx.execute(f"DELETE FROM {table} WHERE id = ?", [row["id"]])
            return LocalWrite("delete", table, row["id"], room=room)
        column = SCHEMA_COLUMNS[table].index("text")
        text = self._text()
        await tx.execute(f"UPDATE {table} SET text = ? WHERE id = ?", [text, row["id"]])
        return LocalWrite("update", table, row["id"], {column: text}, room=room)

    async def _insert(self, tx: WriteTransaction, table: str) -> LocalWrite:
        self._rows += 1
        row_id = f"{self.name}-{self._lives}-{self._rows}"
        values: dict[str, Any] = {
            "notes": lambda: {"owner": self.user, "text": self._text(), "n": self._number(), "r": self._draw.random()},
            "tasks": lambda: {"team": self._draw.choice(TEAMS), "text": self._text(), "n": self._number()},
            "messages": lambda: {"room": self._draw.choice(ROOMS), "text": self._text()},
        }[table]()
        names = ", ".join(values)
        marks = ", ".join("?" for _ in values)
        await tx.execute(f"INSERT INTO {table} (id, {names}) VALUES (?, {marks})", [row_id, *values.values()])
        return LocalWrite("insert", table, row_id, dict(enumerate(values.values())), room=values.get("room"))

    def _text(self) -> str | None:
        if self._draw.random() < self.world.plan.refusals:
            return REFUSED_TEXT
        return self._draw.choice([f"text {self._draw.randrange(10**6)}", "ünï\u2028 'q\" \\ {}", "", None, "x" * 300])

    def _number(self) -> int | None:
        return self._draw.choice([0, 1, -1, 2**53 + 1, self._draw.randrange(100), None])

    # -- looking

    async def _look(self, db: SyncDatabase) -> None:
        self.world.check_view(self, await self.read(db))

    async def read(self, db: SyncDatabase) -> Snapshot:
        """All tables in one read transaction."""
        local: Snapshot = {}
        async with db.read_transaction() as tx:
            for table, columns in SCHEMA_COLUMNS.items():
                rows = await tx.get_all(f"SELECT id, {', '.join(columns)} FROM {table}")
                local[table] = {row[0]: tuple(row)[1:] for row in rows}
        return local

    async def run(self, work: Callable[[SyncDatabase], Any]) -> Any:
        """Run something on this device's machine; None where it is off."""
        if self.db is None or self._machine is None or self._machine.is_dead:
            return None
        with contextlib.suppress(asyncio.CancelledError):
            return await self._machine.start(work(self.db))
        return None


SCHEMA_COLUMNS: dict[str, list[str]] = {
    table.name: [column.name for column in table.columns] for table in SCHEMA.tables if not table.insert_only
}
