"""First simulation: devices, service, backend and source in one world with a virtual clock; contracts C2 to C6 hold in every run.

The client is the real one (machine, loops, uploader, SQLite file), as are the service's sessions, the sync config compiler and the
backend's core. Simulated are time, threads, network, the source and bucket storage. Each run draws from its seed which faults it has.

`SYNCLINE_SIMULATION_SEED=… SYNCLINE_SIMULATION_RUNS=1` makes one run again. Under `make soak` it is 50,000 runs, and their results are in
docs/internals/soak/simulation.txt: a line for each block of runs, behind which an interrupted soak goes on. Delete the file to begin anew.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.simulation.plan import Plan
from tests.simulation.runner import Results, run_blocks
from tests.simulation.world import run_world

SOAK = bool(os.environ.get("SYNCLINE_SOAK"))
RUNS = int(os.environ.get("SYNCLINE_SIMULATION_RUNS") or (50_000 if SOAK else 500))
ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs/internals/soak/simulation.txt"
SEEN_MIN = 3  # times that everything interesting has to happen in 500 runs
INTERESTING = (
    "backend busy",
    "blocked by pending_uploads",
    "blocked by write_checkpoint",
    "committed, and died before it was told",
    "compaction",
    "crash",
    "crash at a step",
    "died before the commit",
    "disconnect",
    "link: cut",
    "link: cut at a line",
    "link: line corrupted",
    "link: line duplicated",
    "link: line lost",
    "link: not reachable",
    "link: stall",
    "link: stream: answer lost",
    "link: token: refused",
    "link: upload: answer lost",
    "link: upload: repeated",
    "link: upload: request lost",
    "link: write checkpoint: answer lost",
    "look with own writes on top",
    "redeployed",
    "replication stalled",
    "service restarted",
    "service restarted in silence",
    "status: AuthFailed",
    "status: ChecksumMismatch",
    "tokens revoked",
    "upload refused",
    "upload repeated, answered from the verdicts",
    "view with levels at different positions",
    "write checkpoints lost",
)


@pytest.mark.soak
@pytest.mark.requirement(52)
@pytest.mark.timeout(120 + 3 * RUNS)
def test_no_contract_is_broken_in_any_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = Results(RESULTS if SOAK else tmp_path / "results")
    first = int(os.environ.get("SYNCLINE_SIMULATION_SEED") or results.first_seed or random.randrange(2**32))
    results.begin(first)
    failures: list[str] = []
    rows, slowest_s = 0, 0.0
    for block in run_blocks(range(results.next_seed, first + RUNS)):
        failures += block.failures
        rows += block.rows_compared
        slowest_s = max(slowest_s, block.in_sync_after_s)
        if not failures:
            results.add(block)
    counts = results.counts()
    with capsys.disabled():
        print(
            f"\nSYNCLINE_SIMULATION_SEED={first}: {RUNS} runs, {rows} rows compared,"
            f" in sync {slowest_s:.1f} virtual seconds after the last fault at most"
        )
        print("\n".join(f"  {count:7} {what}" for what, count in sorted(_without_devices(counts).items())))
    assert failures == []
    if RUNS >= 500:
        assert {what: counts[what] for what in INTERESTING if counts[what] < SEEN_MIN} == {}


def _without_devices(counts: Counter[str]) -> Counter[str]:
    """`d0 cut` and `d1 cut` are told as one."""
    total: Counter[str] = Counter()
    for what, count in counts.items():
        total["a device's " + what[3:] if what[0] == "d" and what[1].isdigit() else what] += count
    return total


def test_a_seed_makes_the_same_run_again() -> None:
    """In this process, and in another one, whose sets and dictionaries have another order."""
    seeds = random.sample(range(2**32), 2)
    print(f"seeds {seeds}")
    for seed in seeds:
        assert run_world(Plan.of_seed(seed)).trace == run_world(Plan.of_seed(seed)).trace
    program = (
        "import sys; from tests.simulation.plan import Plan; from tests.simulation.world import run_world\n"
        "for seed in map(int, sys.argv[1:]): print(run_world(Plan.of_seed(seed)).trace_hash)"
    )
    elsewhere = subprocess.run(
        [sys.executable, "-c", program, *map(str, seeds)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": "4711"},
    )
    assert elsewhere.stdout.split() == [run_world(Plan.of_seed(seed)).trace_hash for seed in seeds]


def test_another_seed_makes_another_run() -> None:
    traces = {run_world(Plan.of_seed(seed)).trace_hash for seed in range(3)}
    assert len(traces) == 3
