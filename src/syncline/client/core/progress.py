"""PURE: how far a download is (client SQLite reference, section 10)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from syncline.client.core.status import Progress
from syncline.protocol.lines import BucketChecksum

__all__ = ["BucketCounters", "ProgressTracker"]


@dataclass(frozen=True, slots=True)
class BucketCounters:
    """What the file remembers of one bucket: operations at the last full apply, and operations received since."""

    at_last: int = 0
    since_last: int = 0


class ProgressTracker:
    """Counts the operations of the current checkpoint. Interrupted downloads go on where they were: the file keeps the counters."""

    def __init__(self, counters: dict[str, BucketCounters]) -> None:
        self._counters = dict(counters)
        self._buckets: dict[str, BucketChecksum] = {}

    def begin(self, buckets: Iterable[BucketChecksum]) -> bool:
        """A checkpoint line came. True when a bucket has shrunk (compaction), so that all counters start at 0 again."""
        self._buckets = {bucket.bucket: bucket for bucket in buckets}
        shrunk = any(
            bucket.count < counters.at_last + counters.since_last
            for bucket in self._buckets.values()
            if (counters := self._counters.get(bucket.bucket)) is not None
        )
        if shrunk:
            self._counters = {}
        return shrunk

    def forget(self, names: Iterable[str]) -> None:
        """These buckets were deleted."""
        for name in names:
            self._counters.pop(name, None)

    def received(self, bucket: str, operations: int) -> None:
        """A data line with this many operations came."""
        counters = self._counters.get(bucket, BucketCounters())
        self._counters[bucket] = BucketCounters(counters.at_last, counters.since_last + operations)

    def applied(self) -> None:
        """The full checkpoint is visible: what it counted is the new ground."""
        for name, bucket in self._buckets.items():
            self._counters[name] = BucketCounters(bucket.count, 0)

    def progress(self) -> Progress:
        """The numbers to show."""
        sums: dict[int, tuple[int, int]] = {}
        for name, bucket in self._buckets.items():
            counters = self._counters.get(name, BucketCounters())
            downloaded, total = sums.get(bucket.priority, (0, 0))
            sums[bucket.priority] = (downloaded + counters.since_last, total + bucket.count - counters.at_last)
        return Progress(tuple((priority, *sums[priority]) for priority in sorted(sums)))
