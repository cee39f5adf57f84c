"""Kill -9 at random moments of random writes, uploads and downloads: what was committed is there, and arrives once (C1, C2).

Seeds are printed; SYNCLINE_SEED=… plays one again, as far as the moments of the kills allow. SYNCLINE_KILL_RUNS=… says how many runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from syncline.client import HttpConnector, SyncDatabase
from syncline.testing.waiting import eventually
from tests.integration.client.writing_device import SCHEMA, replay
from tests.support.living_source import LivingSource, serve_living_source

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the devices are forked from one process")

ROOT = Path(__file__).parents[3]
RUNS = int(os.environ.get("SYNCLINE_KILL_RUNS") or (200 if os.environ.get("SYNCLINE_SOAK") else 15))
KILLS_MAX = 3  # of one file
TOGETHER = 4  # files at a time
DEADLINE_S = 60.0


class Nursery:
    """The process that forks devices."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._lock = asyncio.Lock()

    async def start(self, **options: str | int) -> int:
        """A new device; its process id."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        async with self._lock, asyncio.timeout(DEADLINE_S):
            self._process.stdin.write(json.dumps(options).encode() + b"\n")
            return int(await self._process.stdout.readline())


@contextlib.asynccontextmanager
async def nursery() -> AsyncGenerator[Nursery]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.client.writing_device"),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Nursery(process)
    finally:
        process.kill()
        await process.wait()


def told(path: Path) -> list[int]:
    """The transactions whose commits had returned; a line without its end was not told."""
    return [int(line) for line in path.read_text().split("\n")[:-1]] if path.exists() else []


async def write_until_killed(
    devices: Nursery, source: LivingSource, folder: Path, seed: int, draw: random.Random
) -> None:
    """One life of the device: it goes on behind what it has, and is killed at a random moment."""
    first = await next_number(folder, seed)
    goal = len(told(folder / "told")) + draw.randint(1, 25)
    pid = await devices.start(
        file=str(folder / "app.db"), url=source.url, told=str(folder / "told"), seed=seed, first=first
    )
    try:
        others = draw.randint(0, 6)
        for number in range(others):
            source.write(f"other-{first}-{number}", f"{number}")
        await eventually(lambda: len(told(folder / "told")) >= goal, timeout_s=DEADLINE_S)
        await asyncio.sleep(draw.random() * 0.03)  # a random moment is what this test is about
    finally:
        os.kill(pid, signal.SIGKILL)
    await eventually(lambda: not is_alive(pid), timeout_s=DEADLINE_S)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def own_rows(db: SyncDatabase) -> dict[str, str]:
    return {row["id"]: row["name"] for row in await db.get_all("SELECT id, name FROM lists WHERE id GLOB 'own-*'")}


async def next_number(folder: Path, seed: int) -> int:
    """Check a file that was killed, before anything syncs: exactly the told transactions, or one more whole; gives the next number."""
    committed = told(folder / "told")
    assert committed == sorted(set(committed))
    if not (folder / "app.db").exists():
        return 0
    async with SyncDatabase(folder / "app.db", schema=SCHEMA) as db:
        rows = await own_rows(db)
    count = committed[-1] + 1 if committed else 0
    for known in (count, count + 1):  # killed between the commit and its report
        if rows == replay(seed, range(known)):
            if known > count:
                with (folder / "told").open("a") as file:
                    file.write(f"{count}\n")
            return known
    raise AssertionError(f"{count} transactions were committed; the file holds other rows")


async def run_one(devices: Nursery, folder: Path, seed: int, seen: Counter[str]) -> None:
    """A file through its lives, and to rest."""
    draw = random.Random(seed)
    folder.mkdir()
    async with serve_living_source(seed) as source:
        for _ in range(draw.randint(1, KILLS_MAX)):
            await write_until_killed(devices, source, folder, seed, draw)
            seen["kill"] += 1
        count = await next_number(folder, seed)
        async with SyncDatabase(folder / "app.db", schema=SCHEMA) as db:
            waiting = (await db.get_upload_queue_stats()).count
            seen["killed with writes in the queue"] += waiting > 0
            [row] = await db.get_all("SELECT count(*) AS ops FROM ps_oplog")
            seen["killed with downloaded operations"] += row["ops"] > 0
            await db.connect(HttpConnector(source.url), retry_delay_s=0.02, upload_throttle_s=0)

            async def at_rest() -> bool:
                local = {row["id"]: {"name": row["name"]} for row in await db.get_all("SELECT id, name FROM lists")}
                return local == source.rows and not (await db.get_upload_queue_stats()).count

            await eventually(at_rest, timeout_s=DEADLINE_S, what=f"at rest, seed {seed}")
            assert await db.dead_letters.count() == 0
        expected = replay(seed, range(count))
        assert {key: row["name"] for key, row in source.rows.items() if key.startswith("own-")} == expected
        assert source.forks == []
        assert set(source.effects.values()) == {1}
        own = [row_id for row_id in source.arrived if row_id.startswith("own-")]
        assert own == sorted(own)  # in the order in which they were written
        assert len(own) == len(set(own))  # and each once
        seen["own transactions"] += count
        seen.update(source.events)


@pytest.mark.requirement(24, 52)
@pytest.mark.timeout(3600)
async def test_what_was_committed_is_there_and_arrives_once(tmp_path: Path) -> None:
    base = int(os.environ.get("SYNCLINE_SEED") or random.randrange(2**32))
    print(f"SYNCLINE_SEED={base} SYNCLINE_KILL_RUNS={RUNS}")
    seen: Counter[str] = Counter()
    async with nursery() as devices:
        together = asyncio.Semaphore(TOGETHER)

        async def run(number: int) -> None:
            async with together:
                await run_one(devices, tmp_path / f"{number}", base + number, seen)

        async with asyncio.TaskGroup() as group:
            for number in range(RUNS):
                group.create_task(run(number))
    print(dict(sorted(seen.items())))
    assert seen["kill"] >= RUNS
    if RUNS >= 15:  # what the test is about has happened
        for event in ("killed with writes in the queue", "killed with downloaded operations", "repeat", "answer lost"):
            assert seen[event], event
