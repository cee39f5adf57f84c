"""One run of the world: lives of a replicator, each ended by a crash at a failpoint, and a last one in which everything must agree."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from syncline.errors import StorageError
from syncline.failpoints import EXIT_STATUS
from syncline.replication.postgres.head import PostgresHead
from syncline.storage.model import Checkpoint
from syncline.storage.sqlite import SqliteStorage
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.waiting import POLL_INTERVAL_S, eventually
from tests.support.replication_world.nursery import Child, Nursery
from tests.support.replication_world.tables import WorldTable, draw_tables
from tests.support.replication_world.transactions import TransactionWriter
from tests.support.replication_world.watcher import USERS, Watcher

__all__ = ["WorldReport", "run_world"]

LIFE_MAX_S = 40.0  # seconds of wall time for a replicator to come to its failpoint
SETTLE_MAX_S = 40.0
FIRST_ROWS = 150  # of each table, before the first copy

_OF_A_NEW_VERSION = frozenset(
    {
        "after-version-before-slot",
        "after-slot-before-snapshot",
        "after-snapshot-flush-before-progress",
        "after-snapshot-progress",
        "before-table-snapshot-done",
        "before-snapshot-done",
        "after-switch-before-drop",
        "after-slot-drop-before-version-drop",
    }
)
"""Failpoints that are passed when the sync config has changed."""
_OF_A_SWITCH = frozenset({"after-switch-before-drop", "after-slot-drop-before-version-drop"})
_OF_AN_IDENTITY = "after-table-removed-before-replaced"
_BESIDE = frozenset({"after-beside-flush-before-commit", "after-beside-progress"})
COLUMNS_MAX = 35  # added by a run: each has a table copied


@dataclass(slots=True)
class WorldReport:
    """What happened in one run."""

    seed: int
    hits: Counter[str] = field(default_factory=Counter[str])
    changes: Counter[str] = field(default_factory=Counter[str])
    looks: Counter[str] = field(default_factory=Counter[str])
    rows_compared: int = 0


async def run_world(
    database: ScratchDatabase, folder: Path, *, seed: int, failpoints: list[str], nursery: Nursery
) -> WorldReport:
    """Run one world, whose replicators come from the nursery. Raises AssertionError where a client would have seen something wrong."""
    world = _World(database, folder, seed, nursery)
    try:
        for failpoint in failpoints:
            await world.live_until(failpoint)
        await world.settle()
    except AssertionError as exc:
        exc.add_note(f"seed {seed}, failpoints {failpoints}, folder {folder}")
        raise
    finally:
        await world.close()
    return world.report


class _World:
    def __init__(self, database: ScratchDatabase, folder: Path, seed: int, nursery: Nursery) -> None:
        self.report = WorldReport(seed)
        self._database = database
        self._folder = folder
        self._draw = random.Random(seed)
        self._tables = draw_tables(self._draw)
        self._writer = TransactionWriter(self._draw, self._tables)
        self._config_number = 0
        self._nursery = nursery
        self._process: Child | None = None
        self._head = PostgresHead(database.dsn)
        self._storage = SqliteStorage(folder / "storage")
        self._reader = self._storage.open_reader()
        self._watcher = Watcher(self._reader)
        made = [table for table in self._tables if not table.is_late]
        created = "".join(table.create_sql() for table in made)
        self._database.execute(f"{created} CREATE PUBLICATION powersync FOR ALL TABLES")
        for table in made:
            self._database.execute(self._writer.insert_many(table, FIRST_ROWS))

    async def live_until(self, failpoint: str) -> None:
        """One life of the replicator, among changes, until it crashes at the failpoint."""
        if failpoint in _OF_A_SWITCH or failpoint in _BESIDE:  # needs a version that serves already
            await self._serve_something()
        if failpoint in _OF_A_NEW_VERSION or self._config_number == 0:
            self._config_number += 1
        count = 1 if failpoint in _OF_A_NEW_VERSION or failpoint == _OF_AN_IDENTITY else self._draw.randint(1, 4)
        process = self._start(f"{failpoint}:{count}")
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + LIFE_MAX_S
        while process.poll() is None:
            assert loop.time() < deadline_s, f"seed {self.report.seed}: {failpoint} was not passed\n{self._output()}"
            await self._step(failpoint)
        assert process.returncode == EXIT_STATUS, f"seed {self.report.seed}, {failpoint}:\n{self._output()}"
        self.report.hits[failpoint] += 1

    async def settle(self) -> None:
        """A last life without crashes: at its end the buckets hold exactly the rows of the queries."""
        self._start("")
        await asyncio.to_thread(self._database.execute, self._writer.copied_beside())
        for _ in range(3):
            await self._step("")
        await self._copied()
        for table in self._tables:  # an oracle over empty sets proves nothing
            self._database.execute(self._writer.insert_many(table, 6))
        await self._caught_up()
        differences = await self._differences()
        assert not differences, differences
        self.report.changes = self._writer.counts
        self.report.looks = self._watcher.counts

    async def _copied(self) -> None:
        """Wait until what is copied beside the stream is complete."""
        differences = ""

        async def agree() -> bool:
            nonlocal differences
            await self._caught_up()
            differences = await self._differences()
            return not differences

        try:
            await eventually(agree, timeout_s=SETTLE_MAX_S, what="all tables are copied")
        except AssertionError:
            assert not differences, f"{differences}{self._output()}"
            raise

    async def _differences(self) -> str:
        """What sets the buckets apart from the rows of the queries, for a person; empty where nothing does."""
        found = ""
        for table in self._tables:
            expected = [(json.loads(row), owner) for row, owner in self._database.execute(table.rows_sql())]
            found += await self._compare(table, f"{table.name}_all", "ann", [row for row, _ in expected])
            for user in USERS:
                mine = [row for row, owner in expected if owner == user]
                found += await self._compare(table, f"{table.name}_mine", user, mine)
        return found

    async def close(self) -> None:
        """End the replicator and the readers."""
        self._stop()
        await self._reader.close()
        await self._head.close()

    async def _step(self, failpoint: str) -> None:
        """Change something, and look."""
        draw = self._draw
        script = self._writer.transaction()
        if failpoint == _OF_AN_IDENTITY and draw.random() < 0.5:
            script = self._writer.change_identity()
        elif failpoint == "in-truncate" and draw.random() < 0.5:
            table = draw.choice([table for table in self._tables if not table.is_late])
            script = f"{self._writer.insert_many(table, 60)}; {self._writer.truncate(table)}"
        elif draw.random() < (0.08 if failpoint in _BESIDE else 0.03) and self._columns_added() < COLUMNS_MAX:
            script = self._writer.copied_beside()
        elif draw.random() < 0.1:
            script = self._writer.large_transaction()
        await asyncio.to_thread(self._database.execute, script)
        await self._look()
        await asyncio.sleep(draw.random() * POLL_INTERVAL_S * 4)  # lets the replicator get anywhere between two changes

    def _columns_added(self) -> int:
        return self._writer.counts["column added"]

    async def _look(self) -> Checkpoint | None:
        try:
            return await self._watcher.look()
        except StorageError:  # not made yet
            return None

    async def _serve_something(self) -> None:
        if self._config_number == 0:
            self._config_number = 1
        self._start("")
        await self._caught_up()
        self._stop()

    async def _caught_up(self) -> None:
        """Wait until everything committed so far is visible, in the version of the newest config."""
        head = await self._head.head()
        await self._head.emit_marker()

        async def reached() -> bool:
            assert self._process is not None
            assert self._process.poll() is None, f"seed {self.report.seed}: the replicator ended\n{self._output()}"
            checkpoint = await self._look()
            version = await self._reader.active_version() if checkpoint is not None else None
            is_newest = version is not None and version.sync_config == self._config()
            return checkpoint is not None and is_newest and checkpoint.position >= head

        await eventually(reached, timeout_s=SETTLE_MAX_S, what=f"seed {self.report.seed}: replication passes {head}")

    async def _compare(self, table: WorldTable, stream: str, user: str, expected: list[dict[str, Any]]) -> str:
        found = [json.loads(data) for data in await self._watcher.rows(stream, user)]
        self.report.rows_compared += len(expected)
        if _sorted(found) == _sorted(expected):
            return ""
        return (
            f"seed {self.report.seed}: {stream} of {user} ({table.identity}) differs:\n"
            f"only here: {_short([row for row in found if row not in expected])}\n"
            f"missing: {_short([row for row in expected if row not in found])}\n"
        )

    # The replicator

    def _config(self) -> str:
        streams = "".join(
            f"  {name}: {{auto_subscribe: true, query: {query}}}\n"
            for table in self._tables
            for name, query in table.queries().items()
        )
        return f"# {self._config_number}\nconfig: {{edition: 3}}\nstreams:\n{streams}"

    def _start(self, failpoint: str) -> Child:
        self._stop()
        config = self._folder / "sync-config.yaml"
        config.write_text(self._config())
        arguments = [self._database.dsn, str(self._folder / "storage"), str(config)]
        self._process = self._nursery.start(arguments, failpoint=failpoint, output=self._folder / "output")
        return self._process

    def _stop(self) -> None:
        if self._process is not None:
            self._process.end()

    def _output(self) -> str:
        return (self._folder / "output").read_text()[-4000:]


def _short(rows: list[dict[str, Any]]) -> str:
    """A few rows for a person."""
    return "; ".join(str({name: str(value)[:40] for name, value in row.items()}) for row in rows[:4])


def _sorted(rows: list[dict[str, Any]]) -> list[str]:
    """Rows in an order of their own, in which 1 and 1.0 are equal as they are for JSON."""
    return sorted(json.dumps(_plain(row), sort_keys=True) for row in rows)


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: int(v) if isinstance(v, float) and v.is_integer() else v for name, v in row.items()}
