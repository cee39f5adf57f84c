"""PURE: how large the buckets of a version are, for people: the largest ones, and those of each stream together."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "BUCKETS_LOOKED_AT_MAX",
    "LARGEST_BUCKETS",
    "SAMPLED_OPS",
    "BucketSizes",
    "SizedBucket",
    "largest_of",
    "sizes_of",
]

BUCKETS_LOOKED_AT_MAX = 100_000  # buckets of one answer: reading them takes a fraction of a second
LARGEST_BUCKETS = 20  # buckets that are named, and whose bytes are estimated
SAMPLED_OPS = 200  # newest operations of a bucket by which the bytes of all are estimated


@dataclass(frozen=True, slots=True)
class SizedBucket:
    """A bucket with its operations. `estimated_bytes` are those of their row data, by the average of the newest SAMPLED_OPS."""

    name: str
    op_count: int
    estimated_bytes: int


@dataclass(frozen=True, slots=True)
class BucketSizes:
    """Sizes of a version's buckets. `streams`: buckets and operations by the name of their stream.

    `is_cut`: there are more than BUCKETS_LOOKED_AT_MAX, and only so many were counted.
    """

    bucket_count: int
    op_count: int
    is_cut: bool
    streams: dict[str, tuple[int, int]]
    largest: tuple[SizedBucket, ...]


def largest_of(buckets: Sequence[tuple[int, str, int]]) -> list[tuple[int, str, int]]:
    """The LARGEST_BUCKETS with most operations, the largest first. A bucket is its id in storage, its name, its operations."""
    return heapq.nlargest(LARGEST_BUCKETS, buckets[:BUCKETS_LOOKED_AT_MAX], key=lambda bucket: bucket[2])


def sizes_of(buckets: Sequence[tuple[int, str, int]], largest: Sequence[tuple[str, int, int, int]]) -> BucketSizes:
    """Put together from all `buckets` that were read (one more than BUCKETS_LOOKED_AT_MAX shows that there are more).

    `largest` are those of `largest_of`: name, operations, and of the sample how many operations and bytes it has.
    """
    counted = buckets[:BUCKETS_LOOKED_AT_MAX]
    streams: dict[str, tuple[int, int]] = {}
    for _, name, op_count in counted:
        stream = name.partition("#")[2].partition("[")[0].partition("|")[0]
        before = streams.get(stream, (0, 0))
        streams[stream] = (before[0] + 1, before[1] + op_count)
    return BucketSizes(
        len(counted),
        sum(op_count for _, _, op_count in counted),
        len(buckets) > len(counted),
        streams,
        tuple(
            SizedBucket(name, op_count, sampled_bytes * op_count // sampled if sampled else 0)
            for name, op_count, sampled, sampled_bytes in largest
        ),
    )
