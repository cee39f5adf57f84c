"""PURE: what a connection knows of its buckets, and the line that brings it from one checkpoint to the next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from syncline.protocol.lines import BucketChecksum, Checkpoint, CheckpointDiff
from syncline.protocol.ops import to_signed32
from syncline.storage.model import BucketTotals
from syncline.sync_config.plan import ResolvedBucket, ResolvedBuckets

__all__ = ["EMPTY_BUCKET", "KnownState"]

EMPTY_BUCKET = BucketTotals(0, 0, 0)


@dataclass(frozen=True, slots=True)
class KnownState:
    """The buckets of a connection at one checkpoint. Empty buckets are in it: every bucket is listed to the client."""

    op_id: int
    resolved: ResolvedBuckets
    buckets: Mapping[str, ResolvedBucket]
    totals: Mapping[str, BucketTotals]
    write_checkpoint: int | None = None

    @classmethod
    def at(
        cls,
        op_id: int,
        resolved: ResolvedBuckets,
        totals: Mapping[str, BucketTotals],
        write_checkpoint: int | None,
    ) -> KnownState:
        """The state of a fresh reading; buckets in the order of their priority."""
        ordered = sorted(resolved.buckets, key=lambda bucket: bucket.priority)
        return cls(op_id, resolved, {bucket.name: bucket for bucket in ordered}, dict(totals), write_checkpoint)

    def advanced(self, op_id: int, totals: Mapping[str, BucketTotals], write_checkpoint: int | None) -> KnownState:
        """The state after a change of totals only; totals of other connections' buckets are left out."""
        mine = {name: total for name, total in totals.items() if name in self.buckets}
        merged = {**self.totals, **mine} if mine else self.totals
        return KnownState(op_id, self.resolved, self.buckets, merged, write_checkpoint)

    def total(self, name: str) -> BucketTotals:
        """Total of a bucket; zero for one without operations."""
        return self.totals.get(name, EMPTY_BUCKET)

    def has_priority_after(self, priority: int) -> bool:
        """Whether a bucket of the checkpoint, changed or not, is less urgent than `priority`."""
        return any(bucket.priority > priority for bucket in self.buckets.values())

    def full_line(self) -> Checkpoint:
        """The first line of a connection."""
        return Checkpoint(
            last_op_id=str(self.op_id),
            buckets=[self._describe(bucket) for bucket in self.buckets.values()],
            write_checkpoint=_text(self.write_checkpoint),
            streams=list(self.resolved.streams),
        )

    def changed_since(self, before: KnownState) -> list[str]:
        """Names of buckets that are new or have another checksum or count than before."""
        if self.totals is before.totals and self.buckets is before.buckets:
            return []
        return [
            name
            for name in self.buckets
            if name not in before.buckets or self.total(name)[1:] != before.total(name)[1:]
        ]

    def diff_line(self, before: KnownState, updated: Sequence[str]) -> CheckpointDiff | None:
        """The line that brings a client from `before` to here, or None when nothing of it concerns this client.

        `updated` is what `changed_since` says of the two.
        """
        same_buckets = self.buckets is before.buckets
        removed = [] if same_buckets else [name for name in before.buckets if name not in self.buckets]
        if not removed and not updated and self.write_checkpoint == before.write_checkpoint:
            return None
        return CheckpointDiff(
            last_op_id=str(self.op_id),
            removed_buckets=removed,
            updated_buckets=[self._describe(self.buckets[name]) for name in updated],
            write_checkpoint=_text(self.write_checkpoint),
        )

    def by_priority(self, names: Iterable[str]) -> list[tuple[int, list[str]]]:
        """Buckets grouped for fetching, the most urgent group first."""
        groups: dict[int, list[str]] = {}
        for name in names:
            groups.setdefault(self.buckets[name].priority, []).append(name)
        return sorted(groups.items())

    def _describe(self, bucket: ResolvedBucket) -> BucketChecksum:
        total = self.total(bucket.name)
        return BucketChecksum(
            bucket=bucket.name,
            checksum=to_signed32(total.checksum),
            count=total.op_count,
            priority=bucket.priority,
            subscriptions=list(bucket.subscriptions),
        )


def _text(write_checkpoint: int | None) -> str | None:
    return str(write_checkpoint) if write_checkpoint else None
