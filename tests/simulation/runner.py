"""Many runs, spread over processes; and the file that remembers the runs of a soak."""

from __future__ import annotations

import multiprocessing
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from tests.simulation.plan import Plan
from tests.simulation.world import run_world

__all__ = ["BLOCK_RUNS", "Block", "Results", "run_blocks"]

BLOCK_RUNS = 25  # runs that one process makes at a time
PROCESSES_MAX = 2
FAILURES_SHOWN_MAX = 5


@dataclass(slots=True)
class Block:
    """What became of some runs. `failures` are texts with the seed at their head."""

    seeds: list[int]
    counts: Counter[str] = field(default_factory=Counter[str])
    failures: list[str] = field(default_factory=list[str])
    rows_compared: int = 0
    in_sync_after_s: float = 0.0  # the longest


def run_block(seeds: Sequence[int]) -> Block:
    """Make these runs in this process."""
    block = Block(list(seeds))
    for seed in seeds:
        try:
            report = run_world(Plan.of_seed(seed))
        except Exception as exc:
            block.failures.append(f"seed {seed}: {type(exc).__name__}: {exc}")
        else:
            block.counts += report.counts
            block.rows_compared += report.rows_compared
            block.in_sync_after_s = max(block.in_sync_after_s, report.in_sync_after_s)
    return block


def run_blocks(seeds: Sequence[int]) -> Iterator[Block]:
    """Make the runs in several processes; blocks come in their order, as soon as they are there."""
    blocks = [seeds[start : start + BLOCK_RUNS] for start in range(0, len(seeds), BLOCK_RUNS)]
    processes = min(PROCESSES_MAX, os.cpu_count() or 1)
    # Spawned, for a fork would take over the threads' locks of whatever ran before.
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        failures = 0
        for block in pool.map(run_block, blocks):
            yield block
            failures += len(block.failures)
            if failures >= FAILURES_SHOWN_MAX:
                pool.shutdown(cancel_futures=True)
                return


class Results:
    """The file of a soak: the first seed, then a line for each block that is over. A soak that was interrupted goes on behind it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self.first_seed = int(lines[0].partition("=")[2]) if lines else None
        self._lines = lines[1:]

    def begin(self, first_seed: int) -> None:
        """Go on with the file where it has this seed, else begin it anew."""
        if first_seed != self.first_seed:
            self.first_seed, self._lines = first_seed, []
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(f"SYNCLINE_SIMULATION_SEED={first_seed}\n")

    @property
    def next_seed(self) -> int:
        """The first that no line tells of."""
        assert self.first_seed is not None
        ends = [int(match[1]) for line in self._lines if (match := re.match(r"seeds \d+ to (\d+):", line))]
        return max(ends, default=self.first_seed - 1) + 1

    def add(self, block: Block) -> None:
        """A block is over, and nothing was wrong."""
        counts = msgspec.json.encode(dict(sorted(block.counts.items()))).decode()
        self._lines.append(
            f"seeds {block.seeds[0]} to {block.seeds[-1]}: ok, {block.rows_compared} rows,"
            f" in sync after {block.in_sync_after_s:.1f} s at most, {counts}"
        )
        with self._path.open("a") as file:
            file.write(f"{self._lines[-1]}\n")

    def counts(self) -> Counter[str]:
        """How often everything happened, over all lines."""
        total: Counter[str] = Counter()
        for line in self._lines:
            total += Counter(msgspec.json.decode(line[line.index("{") :], type=dict[str, int]))
        return total
