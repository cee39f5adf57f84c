from __future__ import annotations

import random

from syncline.client.core.progress import BucketCounters, ProgressTracker
from syncline.client.core.status import Progress, StreamProgress
from syncline.protocol.lines import BucketChecksum


def described(name: str, count: int, priority: int = 3) -> BucketChecksum:
    return BucketChecksum(name, 0, count, priority)


def test_progress_is_told_in_all_by_priority_and_by_stream() -> None:
    tracker = ProgressTracker({"a": BucketCounters(at_last=10, since_last=2)})
    assert not tracker.begin([described("a", 20, 1), described("b", 5, 3), described("c", 7, 3)])
    tracker.assign({"a": (1,), "b": (1, 2)})
    assert tracker.received("b", 3) == (1, 2)
    assert tracker.received("c", 7) == ()
    assert tracker.received("unknown", 7) == ()
    progress = tracker.progress()
    assert progress == Progress(((1, 2, 10), (3, 10, 12)))
    assert (progress.downloaded, progress.total, progress.until(1)) == (12, 22, (2, 10))
    assert tracker.of_stream(1) == StreamProgress(5, 15)
    assert tracker.of_stream(2) == StreamProgress(3, 5)
    assert tracker.of_stream(9) == StreamProgress(0, 0)
    assert tracker.of_stream(2).fraction == 0.6


def test_counters_that_are_larger_than_the_bucket_begin_anew() -> None:
    tracker = ProgressTracker({"a": BucketCounters(at_last=10, since_last=2), "b": BucketCounters(5, 0)})
    assert tracker.begin([described("a", 11), described("b", 5)])  # compaction
    assert tracker.progress() == Progress(((3, 0, 16),))


def test_a_deleted_bucket_is_counted_from_0() -> None:
    tracker = ProgressTracker({"a": BucketCounters(at_last=10, since_last=2)})
    tracker.forget(["a"])
    assert not tracker.begin([described("a", 3)])
    assert tracker.progress() == Progress(((3, 0, 3),))


def test_an_applied_checkpoint_is_the_new_ground() -> None:
    tracker = ProgressTracker({})
    tracker.begin([described("a", 3)])
    tracker.received("a", 3)
    tracker.applied()
    tracker.begin([described("a", 5)])
    assert tracker.progress() == Progress(((3, 0, 2),))


def test_sums_kept_line_by_line_are_those_of_a_new_count() -> None:
    chance = random.Random(7)
    for _ in range(50):
        buckets = [described(f"b{i}", 100 + chance.randrange(9), chance.randrange(4)) for i in range(6)]
        owners = {bucket.bucket: tuple(chance.sample(range(4), chance.randrange(4))) for bucket in buckets}
        counters = {bucket.bucket: BucketCounters(chance.randrange(20), chance.randrange(20)) for bucket in buckets}
        tracker = ProgressTracker(counters)
        tracker.begin(buckets)
        tracker.assign(owners)
        received = dict.fromkeys(counters, 0)
        for _ in range(20):
            name = chance.choice(buckets).bucket
            received[name] += 2
            tracker.received(name, 2)
        now = {name: BucketCounters(c.at_last, c.since_last + received[name]) for name, c in counters.items()}
        again = ProgressTracker(now)
        again.begin(buckets)
        again.assign(owners)
        assert tracker.progress() == again.progress()
        assert [tracker.of_stream(i) for i in range(4)] == [again.of_stream(i) for i in range(4)]
