"""Random schemas, transactions and crashes: at the end the buckets hold exactly the rows of the queries, and no client was ever misled.

Each run lives through several crashes of the replicator at named failpoints. Seeds are printed; SYNCLINE_WORLD_SEED=… makes the same
runs again. `make soak` makes 500 of them, and keeps their seeds and results in docs/internals/soak/replication-convergence.txt: a line
when a run is over, so that a soak that was interrupted goes on with the runs that are not in it. Delete the file to begin anew.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest

from syncline.failpoints import FAILPOINTS
from syncline.testing.postgres import PostgresServer
from tests.support.replication_world.nursery import Nursery
from tests.support.replication_world.world import WorldReport, run_world

RUNS = int(os.environ.get("SYNCLINE_WORLD_RUNS") or (500 if os.environ.get("SYNCLINE_SOAK") else 25))
LIVES = 4  # crashes of one run
AT_ONCE = 2  # runs beside each other: each waits for its processes most of the time
HITS_MIN = 5  # of each failpoint, in a whole run of the test
RESULTS = Path(__file__).parents[2] / "docs/internals/soak/replication-convergence.txt"


def plans(seed: int) -> list[tuple[int, list[str]]]:
    """A seed and the failpoints of its lives, for each run: every failpoint comes equally often."""
    draw = random.Random(seed)
    cards: list[str] = []
    while len(cards) < RUNS * LIVES:
        cards += draw.sample(sorted(FAILPOINTS), len(FAILPOINTS))
    return [(draw.randrange(2**32), cards[run * LIVES : (run + 1) * LIVES]) for run in range(RUNS)]


def result_line(report: WorldReport) -> str:
    """One run, for the file of results."""
    changes, looks = report.changes.total(), report.looks["looks"]
    hits = " ".join(sorted(report.hits.elements()))
    return f"seed {report.seed}: ok, {report.rows_compared} rows, {changes} changes, {looks} looks, crashes: {hits}"


class Results:
    """The file of results of a soak: the seed of the whole, then a line for each run that is over."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self.seed = int(lines[0].partition("=")[2]) if lines else None
        self.runs = lines[1:]

    def begin(self, seed: int) -> None:
        """Go on with the file where it has this seed, else begin it anew."""
        if seed != self.seed:
            self.seed, self.runs = seed, []
            self._path.parent.mkdir(exist_ok=True)
            self._path.write_text(f"SYNCLINE_WORLD_SEED={seed}\n")

    def has(self, world_seed: int) -> bool:
        """Whether the run is over."""
        return any(line.startswith(f"seed {world_seed}:") for line in self.runs)

    def add(self, report: WorldReport) -> None:
        """A run is over, and nothing was wrong."""
        self.runs.append(result_line(report))
        with self._path.open("a") as file:
            file.write(f"{self.runs[-1]}\n")

    def hits(self) -> Counter[str]:
        """How often each failpoint ended a replicator in all runs."""
        return Counter(name for line in self.runs for name in line.partition("crashes: ")[2].split())


@pytest.mark.timeout(60 + RUNS * 40)
async def test_after_any_crashes_the_buckets_hold_exactly_the_rows_of_the_queries(
    postgres_server: PostgresServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = Results(RESULTS if os.environ.get("SYNCLINE_SOAK") else tmp_path / "results")
    seed = int(os.environ.get("SYNCLINE_WORLD_SEED") or results.seed or random.randrange(2**32))
    results.begin(seed)
    todo = [(number, *plan) for number, plan in enumerate(plans(seed)) if not results.has(plan[0])]
    slots = asyncio.Semaphore(AT_ONCE)
    nursery = Nursery()

    async def run(number: int, world_seed: int, failpoints: list[str]) -> WorldReport:
        async with slots:
            folder = tmp_path / str(number)
            folder.mkdir()
            database = postgres_server.create()
            try:
                report = await run_world(database, folder, seed=world_seed, failpoints=failpoints, nursery=nursery)
            finally:
                postgres_server.drop(database)
            shutil.rmtree(folder)
            results.add(report)
            return report

    try:
        async with asyncio.TaskGroup() as runs:  # where one fails, the others end before the nursery does
            tasks = [runs.create_task(run(*plan)) for plan in todo]
        reports = [task.result() for task in tasks]
    finally:
        nursery.close()
    hits = results.hits()
    changes = sum((report.changes for report in reports), Counter[str]())
    looks = sum((report.looks for report in reports), Counter[str]())
    with capsys.disabled():
        print(
            f"\nSYNCLINE_WORLD_SEED={seed}: {len(reports)} of {RUNS} runs,"
            f" {sum(report.rows_compared for report in reports)} rows compared"
        )
        print(f"changes {dict(changes)}\nclient {dict(looks)}")
        print("\n".join(f"  {count:5} {name}" for name, count in sorted(hits.items())))
    assert all(report.rows_compared for report in reports)
    if HITS_MIN * len(FAILPOINTS) <= RUNS * LIVES:
        assert {name for name in FAILPOINTS if hits[name] < HITS_MIN} == set()
