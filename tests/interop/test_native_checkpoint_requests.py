"""Checkpoint requests side by side with the official native core: numbers, keys of the file, and what counts as applied."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import apsw
import pytest

from syncline.client import Column, Schema, Table
from syncline.client.checkpoint_ids import CheckpointIds
from syncline.client.core import instructions as do
from syncline.client.core.machine import SyncMachine
from syncline.client.core.status import SyncStatus
from syncline.client.local.connection import open_writer, write_transaction
from syncline.client.local.crud_queue import TARGET_DIRTY, CrudQueue
from syncline.client.local.layout import prepare
from syncline.client.sync_engine import SyncEngine
from tests.interop.native_core import NativeCore, core_library

SCHEMA = Schema([Table("lists", [Column.text("name")])])
SEQUENCES = 60
EVENTS = 40
REQUESTS = json.dumps({"checkpoint_mode": "requests"})
KEYS = "SELECT key, CAST(value AS INTEGER) FROM ps_kv WHERE key LIKE '%request_id' ORDER BY key"


@pytest.fixture(scope="module")
def library() -> Path:
    return core_library()


class Ours:
    """Our engine on a file of its own, as the sync loop drives it."""

    def __init__(self) -> None:
        self.connection = open_writer(":memory:")
        prepare(self.connection, SCHEMA)
        self.status = SyncStatus()
        self.engine = SyncEngine(
            self.connection,
            SyncMachine(client_id="c"),
            client_id=lambda: "c",
            now_us=lambda: 1,
            active_streams=lambda: (),
        )
        self.hear(self.engine.start())

    def hear(self, edge: list[do.EdgeInstruction]) -> None:
        for instruction in edge:
            if isinstance(instruction, do.PublishStatus):
                self.status = instruction.status

    def start(self) -> int:
        """Begin an iteration; the number that it would post first."""
        self.hear(self.engine.start())
        return CheckpointIds(self.connection).to_seed()

    def seed(self, number: int) -> None:
        with write_transaction(self.connection, local_writes=False):
            CheckpointIds(self.connection).seed(number)

    def take(self) -> int:
        with write_transaction(self.connection, local_writes=False):
            return CheckpointIds(self.connection).take()

    def write(self, row: int) -> None:
        with write_transaction(self.connection):
            self.connection.execute("INSERT OR REPLACE INTO lists(id, name) VALUES (?, 'x')", (str(row),))

    def upload(self, target: int) -> None:
        with write_transaction(self.connection, local_writes=False):
            queue = CrudQueue(self.connection)
            queue.complete(1 << 40)
            queue.set_target(target)
        self.hear(self.engine.upload_finished())

    def line(self, line: dict[str, Any]) -> None:
        self.hear(self.engine.lines([json.dumps(line).encode()]))


class Core:
    """The same with the official core."""

    def __init__(self, library: Path) -> None:
        self.native = NativeCore(library, SCHEMA)
        self.connection: apsw.Connection = self.native.connection
        self.applied: list[int] = []
        self.start()

    def hear(self, instructions: list[dict[str, Any]]) -> None:
        self.applied += [
            int(told)
            for instruction in instructions
            if "DidCompleteSync" in instruction
            and (told := instruction["DidCompleteSync"].get("applied_checkpoint_request_id")) is not None
        ]

    def start(self) -> int:
        instructions = self.native.control("start", REQUESTS)
        [opened] = [found["EstablishSyncStream"] for found in instructions if "EstablishSyncStream" in found]
        return int(opened["checkpoint_request"]["checkpoint_request_id"])

    def seed(self, number: int) -> None:
        self.native.in_transaction("SELECT powersync_control('seed_checkpoint_request_id', ?)", number)

    def take(self) -> int:
        return int(str(self.native.in_transaction("SELECT powersync_control('next_checkpoint_request_id', NULL)")))

    def write(self, row: int) -> None:
        self.connection.execute("INSERT OR REPLACE INTO lists(id, name) VALUES (?, 'x')", (str(row),))

    def upload(self, target: int) -> None:
        self.connection.execute("DELETE FROM ps_crud")
        self.native.in_transaction("SELECT powersync_control('target_checkpoint_request_id', ?)", target)
        self.hear(self.native.control("completed_upload"))

    def line(self, line: dict[str, Any]) -> None:
        self.hear(self.native.line(line))


def stored_keys(connection: apsw.Connection) -> dict[str, int]:
    return {str(key): int(str(value)) for key, value in connection.execute(KEYS)}


def write_checkpoint_lines(chance: random.Random, newest: int, *, first: bool) -> list[dict[str, Any]]:
    """A checkpoint without buckets that names a request, or none."""
    body: dict[str, Any] = {"last_op_id": "1"}
    if chance.random() < 0.8:
        body["write_checkpoint"] = str(chance.randrange(max(1, newest - 2), newest + 2))
    if first:
        opening: dict[str, Any] = {"checkpoint": {**body, "buckets": [], "streams": []}}
    else:
        opening = {"checkpoint_diff": {**body, "updated_buckets": [], "removed_buckets": []}}
    return [opening, {"checkpoint_complete": {"last_op_id": "1"}}]


@pytest.mark.parametrize("seed", range(0, SEQUENCES, 10))
def test_numbers_keys_and_applied_requests_are_those_of_the_official_core(library: Path, seed: int) -> None:
    happened: Counter[str] = Counter()
    for sequence in range(seed, seed + 10):
        chance = random.Random(sequence)
        ours, core = Ours(), Core(library)
        seeded, opened = False, False
        newest = 1
        for step in range(EVENTS):
            kind = chance.choice(["start", "seed", "take", "write", "upload", "line", "line"])
            where = f"sequence {sequence}, step {step}: {kind}"
            if kind == "start":
                first, expected = ours.start(), core.start()
                assert first == expected, where
                seeded, opened = False, False
            elif kind == "seed":
                newest = max(newest, CheckpointIds(ours.connection).to_seed() + chance.randrange(3))
                ours.seed(newest)
                core.seed(newest)
                seeded = True
            elif kind == "take" and seeded:
                newest = ours.take()
                assert newest == core.take(), where
            elif kind == "write":
                ours.write(step)
                core.write(step)
            elif kind == "upload":
                ours.upload(newest)
                core.upload(newest)
            elif kind == "line":
                for line in write_checkpoint_lines(chance, newest, first=not opened):
                    ours.line(line)
                    core.line(line)
                opened = True
            else:
                continue
            happened[kind] += 1
            keys = stored_keys(ours.connection)
            assert keys == stored_keys(core.connection), where
            if keys.get("target_checkpoint_request_id") == TARGET_DIRTY:
                happened["gate closed"] += 1
            if core.applied and opened:
                # What it tells as applied is applied here too; ours also counts what an earlier checkpoint of the stream named.
                told = core.applied.pop()
                core.applied.clear()
                assert (ours.status.applied_write_checkpoint or 0) >= told, where
                happened["applied"] += 1
    print(f"seeds {seed} to {seed + 9}: {dict(happened)}")
    assert min(happened[kind] for kind in ("start", "seed", "take", "write", "upload", "line", "applied")) > 0
