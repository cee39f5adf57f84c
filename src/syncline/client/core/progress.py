"""PURE: how far a download is (client SQLite reference, section 10): in all, by priority, and by stream."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from syncline.client.core.status import Progress, StreamProgress
from syncline.protocol.lines import BucketChecksum

__all__ = ["BucketCounters", "ProgressTracker"]


@dataclass(frozen=True, slots=True)
class BucketCounters:
    """What the file remembers of one bucket: operations at the last full apply, and operations received since."""

    at_last: int = 0
    since_last: int = 0


class _Sum:
    """Operations received and wanted, of some buckets."""

    __slots__ = ("downloaded", "total")

    def __init__(self) -> None:
        self.downloaded = 0
        self.total = 0

    def add(self, downloaded: int, total: int) -> None:
        self.downloaded += downloaded
        self.total += total


class ProgressTracker:
    """Counts the operations of the current checkpoint. Interrupted downloads go on where they were: the file keeps the counters.

    Sums are kept up to date line by line: a checkpoint may have 1,000 buckets, and a first sync thousands of lines.
    """

    def __init__(self, counters: dict[str, BucketCounters]) -> None:
        self._counters = dict(counters)
        self._buckets: dict[str, BucketChecksum] = {}
        self._owners: dict[str, tuple[int, ...]] = {}
        self._of_priority: dict[int, _Sum] = {}
        self._of_owner: dict[int, _Sum] = {}

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
        self._sum_up()
        return shrunk

    def assign(self, owners: dict[str, tuple[int, ...]]) -> None:
        """Say which streams (ids of subscriptions) each bucket belongs to."""
        self._owners = owners
        self._sum_up()

    def forget(self, names: Iterable[str]) -> None:
        """These buckets were deleted; a checkpoint line follows."""
        for name in names:
            self._counters.pop(name, None)

    def received(self, bucket: str, operations: int) -> tuple[int, ...]:
        """A data line with this many operations came; returns the streams that have moved on."""
        counters = self._counters.get(bucket, BucketCounters())
        self._counters[bucket] = BucketCounters(counters.at_last, counters.since_last + operations)
        described = self._buckets.get(bucket)
        if described is None:
            return ()
        self._of_priority[described.priority].add(operations, 0)
        owners = self._owners.get(bucket, ())
        for owner in owners:
            self._of_owner[owner].add(operations, 0)
        return owners

    def applied(self) -> None:
        """The full checkpoint is visible: what it counted is the new ground."""
        for name, bucket in self._buckets.items():
            self._counters[name] = BucketCounters(bucket.count, 0)

    def progress(self) -> Progress:
        """The numbers to show."""
        return Progress(
            tuple(
                (priority, found.downloaded, found.total)
                for priority, found in sorted(self._of_priority.items(), key=lambda item: item[0])
            )
        )

    def of_stream(self, owner: int) -> StreamProgress:
        """The numbers of one stream."""
        found = self._of_owner.get(owner)
        return StreamProgress(0, 0) if found is None else StreamProgress(found.downloaded, found.total)

    def _sum_up(self) -> None:
        self._of_priority, self._of_owner = {}, {}
        for name, bucket in self._buckets.items():
            counters = self._counters.get(name, BucketCounters())
            wanted = bucket.count - counters.at_last
            self._of_priority.setdefault(bucket.priority, _Sum()).add(counters.since_last, wanted)
            for owner in self._owners.get(name, ()):
                self._of_owner.setdefault(owner, _Sum()).add(counters.since_last, wanted)
