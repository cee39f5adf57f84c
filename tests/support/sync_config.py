"""The sync config that most tests of a service use, and bucket queries written by hand, for tests of storage that need no compiler."""

from __future__ import annotations

from syncline.protocol.lines import SubscriptionReason
from syncline.sync_config.plan import BucketQuery, ResolvedBucket, ResolvedBuckets

LISTS_OF_OWNER = """
config: {edition: 3}
streams:
  lists:
    auto_subscribe: true
    query: SELECT * FROM lists WHERE owner_id = auth.user_id()
"""
"""Each user sees the lists that are his: `lists (id text PRIMARY KEY, name text, owner_id text)`."""


def fixed_buckets(*names: str) -> BucketQuery:
    """A query for these buckets, without any lookup."""
    yield from ()
    reason = (SubscriptionReason(default=0),)
    return ResolvedBuckets((), tuple(ResolvedBucket(name, 3, reason) for name in names), frozenset())


def buckets_of_lookup(lookup: str) -> BucketQuery:
    """A query for one bucket per output of a lookup; the outputs are the names."""
    answers = yield [lookup]
    reason = (SubscriptionReason(default=0),)
    buckets = tuple(ResolvedBucket(name, 3, reason) for name in sorted(answers[lookup]))
    return ResolvedBuckets((), buckets, frozenset([lookup]))
