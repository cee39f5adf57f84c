"""Compaction of one large bucket, and the end of its version, in the steps that replication waits for. No server, one process."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

from bench.table import Figure, percentile
from syncline.protocol.ops import OpType, put_checksum
from syncline.replication.compactor import CompactionCounts, CompactionLimits, compaction_steps
from syncline.replication.limits import DROP_ROWS_MAX, FLUSH_ROWS_MAX
from syncline.storage.base import StorageWriter
from syncline.storage.model import FlushBatch, NewOp
from syncline.storage.sqlite import SqliteStorage

__all__ = ["run"]

VERSION, BUCKET = 1, "1#items[]"
DATA = '{"text":"' + "x" * 230 + '"}'
OPS_PER_ROW = 5


def run(*, rows: int) -> Generator[Figure]:
    """Write each of `rows` rows about `OPS_PER_ROW` times in random order, compact that, then drop the version."""
    with tempfile.TemporaryDirectory() as folder:
        writer = SqliteStorage(Path(folder) / "storage").open_writer()
        ops = rows * OPS_PER_ROW
        _fill(writer, ops=ops, rows=rows)
        read_s = _read_all(writer)
        counts, [size] = CompactionCounts(), writer.compaction_candidates(VERSION, buckets_max=1)
        step_ops = CompactionLimits().step_ops
        steps_s = _timed(compaction_steps(writer, size, counts, step_ops=step_ops))
        assert counts.moved_ops > ops / 2, "most of the operations are superseded"
        what, wall = f"{ops:,} operations of {rows:,} rows in one bucket", "reading the bucket once"
        yield Figure(
            "compact", what, ops / sum(steps_s), "ops/s", ops / read_s, wall, note=f"{counts.moved_ops:,} MOVE"
        )
        note = f"{len(steps_s):,} steps; p50 {percentile(steps_s, 50) * 1e3:.2f} ms"
        yield Figure("compact", f"a step of {step_ops} operations, p99", percentile(steps_s, 99) * 1e3, "ms", note=note)
        writer.stop_version(VERSION)
        steps_s = _timed(_drop(writer))
        yield Figure("compact", "rows of a replaced version dropped", ops / sum(steps_s), "rows/s")
        note = f"{len(steps_s)} steps"
        yield Figure("compact", f"a step of {DROP_ROWS_MAX} rows, p99", percentile(steps_s, 99) * 1e3, "ms", note=note)
        writer.close()


def _fill(writer: StorageWriter, *, ops: int, rows: int) -> None:
    draw = random.Random(1)
    writer.start_version(VERSION, sync_config="", slot_name="", source_identity="")
    writer.finish_snapshot(VERSION)
    for start in range(0, ops, FLUSH_ROWS_MAX):
        ids = [str(draw.randrange(rows)) for _ in range(min(FLUSH_ROWS_MAX, ops - start))]
        batch = [
            NewOp(BUCKET, OpType.PUT, "items", row_id, put_checksum("items", row_id, DATA), f"k{row_id}", DATA)
            for row_id in ids
        ]
        writer.flush(VERSION, FlushBatch(ops=batch))
    writer.commit(VERSION, "1")


def _read_all(writer: StorageWriter) -> float:
    """Seconds that one reading of the whole bucket takes."""
    before: int | None = None
    started = time.perf_counter()
    while page := writer.ops_before(BUCKET, before=before, ops_max=CompactionLimits().step_ops):
        before = page[-1].op_id
    return time.perf_counter() - started


def _drop(writer: StorageWriter) -> Iterator[None]:
    while not writer.drop_version(VERSION, rows_max=DROP_ROWS_MAX):
        yield


def _timed(steps: Iterator[object]) -> list[float]:
    """Seconds that each step takes."""
    clock: Callable[[], float] = time.perf_counter
    times: list[float] = []
    started = clock()
    for _ in steps:
        times.append(clock() - started)
        started = clock()
    return [*times, clock() - started]
