"""Nothing that a person can type crashes the compiler of the sync config: damaged, strange and huge configs end in plans or in problems.

Each within a second of CPU and 100 MB. The seed is printed; SYNCLINE_FUZZ_SEED=… plays a run again, and `python -m
tests.support.sync_config_fuzz SEED 0 --show NUMBER` one mutation of it.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.sync_config_fuzz.report import MEMORY_MAX_BYTES

MUTATIONS = 100_000 if os.environ.get("SYNCLINE_SOAK") else 10_000
TIMEOUT_S = MUTATIONS // 20  # far more than it takes: about two milliseconds each, and half a minute for the bombs
PLANS_MIN, QUERY_PROBLEMS_MIN = 0.1, 0.2  # shares without which the fuzz would only test the reader of YAML


@pytest.mark.timeout(TIMEOUT_S + 60)
def test_whatever_is_typed_ends_in_a_plan_or_in_problems() -> None:
    seed = int(os.environ.get("SYNCLINE_FUZZ_SEED") or random.randrange(2**32))
    print(f"SYNCLINE_FUZZ_SEED={seed}")
    run = subprocess.run(
        [sys.executable, "-m", "tests.support.sync_config_fuzz", str(seed), str(MUTATIONS)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    print(run.stdout)
    assert run.returncode == 0, f"something went wrong (SYNCLINE_FUZZ_SEED={seed}):\n{run.stdout[-20_000:]}"
    found = json.loads(run.stdout.splitlines()[-1])
    assert found["mutations"] == MUTATIONS
    assert found["plans"] >= PLANS_MIN, found
    assert found["query_problems"] >= QUERY_PROBLEMS_MIN, found
    assert found["memory_bytes"] <= MEMORY_MAX_BYTES, found
