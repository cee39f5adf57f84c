"""A process that ends in the middle of a compaction, after any of its steps: nobody sees it, and the next run finishes it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from syncline.failpoints import EXIT_STATUS, VARIABLE
from syncline.protocol.ops import OpType
from syncline.replication.compactor import compact_all
from syncline.storage.sqlite import SqliteStorage
from tests.conformance.storage_suite.builders import begun, committed, ops_of, put, remove, totals_of
from tests.support.bucket_model import BucketModel, reduced

A = "10#a[]"
STEPS = 6  # three pages with MOVEs, then three batches of the CLEAR


def run_until(step: int, folder: Path) -> int:
    """Compact in a process of its own that ends after so many changes; its exit status."""
    return subprocess.run(
        [sys.executable, "-m", "tests.integration.storage.compacting_process", str(folder), "10"],
        env={**os.environ, VARIABLE: f"in-compaction:{step}"},
        capture_output=True,
        timeout=60,
        check=False,
    ).returncode


@pytest.mark.parametrize("step", range(1, STEPS + 2))
async def test_a_crash_in_compaction_changes_nothing_for_clients(tmp_path: Path, step: int) -> None:
    storage = SqliteStorage(tmp_path / "s")
    writer, reader = storage.open_writer(), storage.open_reader()
    begun(writer)
    ops = [op for n in range(14) for op in (put(A, f"r{n % 3}", f"[{n}]"), remove(A, f"r{n % 3}"))]
    checkpoint = committed(writer, 10, "A", *ops, put(A, "kept"), put(A, "last"))
    writer.close()
    history = await ops_of(reader, A, checkpoint_op=checkpoint.op_id)
    assert len(history) == 30

    status = run_until(step, tmp_path / "s")
    assert status == (EXIT_STATUS if step <= STEPS else 0), "the crash comes after each of the steps, and no further"

    left = await ops_of(reader, A, checkpoint_op=checkpoint.op_id)
    kinds = [op.op for op in left]
    assert OpType.MOVE in kinds or OpType.CLEAR in kinds
    assert (OpType.CLEAR in kinds) == (step > 3)
    totals = (await totals_of(reader, 10, A))[A]
    assert (totals.op_count, totals.checksum) == (len(left), sum(op.checksum for op in left) % 2**32)
    expected = reduced(history, upto=checkpoint.op_id).state
    for position in range(checkpoint.op_id + 1):
        client: BucketModel = reduced(history, upto=position)
        assert reduced(left, upto=checkpoint.op_id, client=client).state == expected

    writer = storage.open_writer()
    compact_all(writer, 10)
    assert writer.compaction_candidates(10, buckets_max=10) == []
    kinds = [op.op for op in await ops_of(reader, A, checkpoint_op=checkpoint.op_id)]
    assert kinds == [OpType.CLEAR, OpType.PUT, OpType.PUT]
    writer.close()
    await reader.close()
