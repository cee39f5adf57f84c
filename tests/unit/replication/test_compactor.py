"""The compactor beside replication: what it takes on, how much time it leaves, and how it stops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from syncline.errors import LeaseLost, StorageUnavailable
from syncline.protocol.ops import OpType
from syncline.replication.compactor import LOOKUPS_AGE_MIN_S, CompactionLimits, Compactor, compact_all
from syncline.storage.model import BucketSize, Checkpoint, CompactedOps, FlushBatch
from syncline.storage.sqlite import SqliteStorage
from syncline.storage.sqlite.writer import SqliteWriter
from tests.conformance.storage_suite.builders import begun, committed, lookup, put, remove

A, B, C = "10#a[]", "10#b[]", "10#c[]"


class FakeTime:
    """A clock that a step of work moves by `work_s`, and a sleep that moves it and runs what the test wants meanwhile."""

    def __init__(self, *, work_s: float = 0.0) -> None:
        self.now_s = 1000.0
        self.work_s = work_s
        self.slept: list[float] = []
        self.meanwhile: Callable[[int], None] = lambda _: None

    def clock(self) -> float:
        self.now_s += self.work_s
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds
        self.meanwhile(len(self.slept))
        await asyncio.sleep(0)


@pytest.fixture
def writer(tmp_path: Path) -> Generator[SqliteWriter]:
    writer = SqliteStorage(tmp_path / "storage").open_writer()
    begun(writer)
    yield writer
    writer.close()


def fill(writer: SqliteWriter, position: str, **ops: int) -> None:
    """Commit so many ops of one row to each bucket, by its letter."""
    committed(
        writer, 10, position, *[put(f"10#{name}[]", "1", f"[{n}]") for name, count in ops.items() for n in range(count)]
    )


def kinds(writer: SqliteWriter, bucket: str) -> list[OpType]:
    return [op.op for op in writer.ops_before(bucket, before=None, ops_max=10_000)]


def compactor(writer: SqliteWriter, time: FakeTime, **limits: float) -> Compactor:
    values = {"step_ops": 10, "new_ops_min": 20, "new_ops_share": 0.5} | limits
    return Compactor(writer, 10, limits=CompactionLimits(**values), clock=time.clock, sleep=time.sleep)  # pyright: ignore[reportArgumentType]  # limits by name


async def test_a_round_takes_the_buckets_with_enough_new_operations_and_a_thorough_one_all(
    writer: SqliteWriter,
) -> None:
    fill(writer, "A", a=19, b=20, c=100)
    time = FakeTime()
    machine = compactor(writer, time)
    await machine.run_round(thorough=False)
    assert [len(kinds(writer, bucket)) for bucket in (A, B, C)] == [19, 2, 2]
    fill(writer, "B", b=30)
    committed(writer, 10, "C", *[put(C, str(n)) for n in range(1000)])
    await machine.run_round(thorough=False)
    fill(writer, "D", c=400)  # of 1,402: less than half of it is new
    await machine.run_round(thorough=False)
    assert [size.bucket for size in writer.compaction_candidates(10, buckets_max=9)] == [C, A]
    assert machine.counts.buckets == 4
    await machine.run_round(thorough=True)
    assert writer.compaction_candidates(10, buckets_max=9) == []
    assert len(kinds(writer, A)) == 2
    # Of A, of B twice, and of C twice; then 400 in C that stand behind other rows, so that no CLEAR takes them in.
    assert machine.counts.moved_ops == 18 + (19 + 30) + (99 + 1) + 400
    assert machine.counts.removed_ops == 17 + (18 + 30) + (98 + 1)


async def test_the_steps_leave_replication_its_share_of_time(writer: SqliteWriter) -> None:
    fill(writer, "A", a=500)
    time = FakeTime(work_s=0.01)
    await compactor(writer, time, time_share=0.1, ops_per_s=1e9).run_round(thorough=True)
    assert len(time.slept) > 100  # 50 pages with as many changes, and the CLEAR in 50 batches
    assert min(time.slept) == pytest.approx(0.01 / 0.1 - 0.01)


async def test_the_steps_keep_to_their_operations_per_second(writer: SqliteWriter) -> None:
    fill(writer, "A", a=500)
    time = FakeTime()
    await compactor(writer, time, ops_per_s=1000).run_round(thorough=True)
    assert sum(time.slept) == pytest.approx(
        (500 + 499 + 500 + 48) / 1000, rel=0.02
    )  # read, MOVE, CLEAR and its growing


async def test_no_step_changes_more_than_its_operations_and_replication_writes_between_them(
    writer: SqliteWriter,
) -> None:
    fill(writer, "A", a=500)
    time = FakeTime()
    total_changes = [writer._connection.total_changes()]
    steps: list[int] = []

    def meanwhile(number: int) -> None:
        steps.append(writer._connection.total_changes() - total_changes[0])
        writer.flush(10, FlushBatch(ops=[put(A, "1", f"[new {number}]"), put(B, str(number))]))
        if number % 3 == 0:
            writer.commit(10, f"B{number:05}")
        total_changes[0] = writer._connection.total_changes()

    time.meanwhile = meanwhile
    await compactor(writer, time, step_ops=10).run_round(thorough=False)
    assert len(steps) > 100
    assert max(steps) <= 10 + 3  # rows, then the bucket, the new CLEAR and SQLite's own count
    writer.commit(10, "C")
    assert kinds(writer, A)[-1] is OpType.CLEAR
    assert len(kinds(writer, B)) == len(steps)


async def test_it_stops_at_the_next_step_when_it_is_cancelled(writer: SqliteWriter) -> None:
    fill(writer, "A", a=500)
    time = FakeTime()
    task = asyncio.create_task(compactor(writer, time, interval_s=60).run())

    def cancel_at(number: int) -> None:
        if number == 6:
            task.cancel()

    time.meanwhile = cancel_at
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(time.slept) == 6
    moved = kinds(writer, A).count(OpType.MOVE)
    assert 0 < moved <= 30
    time.meanwhile = lambda _: None
    await compactor(writer, time).run_round(thorough=True)  # what was done until then stays, and the next run goes on
    assert kinds(writer, A) == [OpType.PUT, OpType.CLEAR]


async def test_nothing_is_compacted_while_replication_needs_all_the_time(writer: SqliteWriter) -> None:
    fill(writer, "A", a=500)
    time = FakeTime()
    busy_until = 20
    machine = Compactor(writer, 10, busy=lambda: len(time.slept) < busy_until, clock=time.clock, sleep=time.sleep)
    before = writer._connection.total_changes()
    changes: list[int] = []
    time.meanwhile = lambda _: changes.append(writer._connection.total_changes() - before)
    await machine.run_round(thorough=True)
    assert changes[: busy_until - 1] == [0] * (busy_until - 1)
    assert changes[-1] > 0


async def test_lookups_are_compacted_up_to_a_checkpoint_that_was_visible_for_a_minute(writer: SqliteWriter) -> None:
    time = FakeTime()
    machine = compactor(writer, time)
    for position, output in (("A", "10#a[]"), ("B", "10#b[]"), ("C", "10#c[]")):
        machine.note_checkpoint(committed(writer, 10, position, lookups=[lookup("l[1]", output)]))
        time.now_s += 20
    await machine.run_round(thorough=True)  # the first checkpoint is a minute old: nothing below it
    assert machine.counts.removed_lookups == 0
    time.now_s += LOOKUPS_AGE_MIN_S - 20
    machine.note_checkpoint(Checkpoint(10, 3, "D"))
    await machine.run_round(thorough=True)  # the third, at op 3: of 1 and 2, the older one was replaced
    assert machine.counts.removed_lookups == 1


async def test_rounds_come_again_and_a_thorough_one_once_a_day(writer: SqliteWriter) -> None:
    time = FakeTime()
    fill(writer, "A", a=3)
    task = asyncio.create_task(compactor(writer, time, interval_s=60, thorough_interval_s=600).run())

    def end(_: int) -> None:
        if not writer.compaction_candidates(10, buckets_max=1):
            task.cancel()

    time.meanwhile = end
    async with asyncio.timeout(10):
        with pytest.raises(asyncio.CancelledError):
            await task
    assert time.slept.count(60) == 10 + 1  # the tenth round was the thorough one, and the next pause ended the test


async def test_a_lost_lease_ends_it_and_an_unavailable_storage_only_the_round(
    writer: SqliteWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(writer, "A", a=100)
    time = FakeTime()
    answers: list[Exception] = [StorageUnavailable("full"), StorageUnavailable("full"), LeaseLost("another")]

    def refuse(bucket: str, compacted: CompactedOps) -> None:
        raise answers.pop(0)

    monkeypatch.setattr(writer, "apply_compaction", refuse)
    with pytest.raises(LeaseLost):
        await compactor(writer, time, interval_s=60).run()
    assert answers == []
    assert time.slept.count(60) == 3


async def test_a_bucket_on_which_it_fails_is_left_alone_and_the_others_go_on(
    writer: SqliteWriter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fill(writer, "A", a=200, b=100)
    apply_compaction = writer.apply_compaction

    def apply(bucket: str, compacted: CompactedOps) -> None:
        assert bucket != A, "a bug"
        apply_compaction(bucket, compacted)

    monkeypatch.setattr(writer, "apply_compaction", apply)
    machine = compactor(writer, FakeTime())
    await machine.run_round(thorough=True)
    await machine.run_round(thorough=True)
    assert [len(kinds(writer, bucket)) for bucket in (A, B)] == [200, 2]
    assert [record.message for record in caplog.records] == [f"Bucket {A} is not compacted any more"]


async def test_a_round_that_fails_for_a_bug_is_logged_and_the_next_one_comes(
    writer: SqliteWriter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answers: list[Exception] = [ValueError("a bug"), LeaseLost("another")]

    def refuse(version: int, *, buckets_max: int) -> list[BucketSize]:
        raise answers.pop(0)

    monkeypatch.setattr(writer, "compaction_candidates", refuse)
    with pytest.raises(LeaseLost):
        await compactor(writer, FakeTime()).run()
    assert answers == []
    assert [record.message for record in caplog.records] == ["Compaction failed; replication goes on"]


def test_on_command_everything_is_compacted(writer: SqliteWriter) -> None:
    fill(writer, "A", a=30, b=2)
    committed(writer, 10, "B", put(C, "1"), remove(C, "1"), lookups=[lookup("l[1]", A)])
    committed(writer, 10, "C", lookups=[lookup("l[1]", None)])
    counts = compact_all(writer, 10, lookups_before_op=100, step_ops=7)
    assert [kinds(writer, bucket) for bucket in (A, B, C)] == [
        [OpType.PUT, OpType.CLEAR],
        [OpType.PUT, OpType.MOVE],
        [OpType.CLEAR],
    ]
    assert (counts.buckets, counts.moved_ops, counts.removed_ops, counts.removed_lookups) == (3, 31, 29, 2)
    again = compact_all(writer, 10, lookups_before_op=100)
    assert (again.buckets, again.moved_ops, again.removed_ops, again.removed_lookups) == (0, 0, 0, 0)


def test_on_command_it_stops_when_asked(writer: SqliteWriter) -> None:
    fill(writer, "A", a=300)
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 3

    counts = compact_all(writer, 10, should_stop=should_stop, step_ops=10)
    assert asked == 4
    assert 0 < counts.moved_ops <= 20
    assert compact_all(writer, 10).buckets == 1
    assert kinds(writer, A) == [OpType.PUT, OpType.CLEAR]
