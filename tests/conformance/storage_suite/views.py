"""Views of several connections in one reading."""

from __future__ import annotations

from collections.abc import Callable

from syncline.errors import LimitExceeded
from syncline.protocol.lines import SubscriptionReason
from syncline.storage.base import BucketStorage, CheckpointView
from syncline.sync_config.plan import BucketQuery, ResolvedBucket, ResolvedBuckets
from tests.conformance.storage_suite.builders import begun, committed, lookup, put
from tests.support.sync_config import buckets_of_lookup, fixed_buckets

__all__ = ["ViewSuite"]

A = "10#a[]"
B = "10#b[]"
EMPTY = "10#empty[]"
REASON = (SubscriptionReason(default=0),)


def failing(after_lookup: str) -> BucketQuery:
    """A query that fails once it has an answer, as one does that finds too many buckets."""
    yield [after_lookup]
    raise LimitExceeded("The connection has more than 0 buckets")


def chained(names: list[str], commit: Callable[[], object]) -> BucketQuery:
    """A query that asks for one lookup after the other, and `commit`s in between."""
    found: list[str] = []
    for name in names:
        answers = yield [name]
        found += answers[name]
        commit()
    return ResolvedBuckets((), tuple(ResolvedBucket(bucket, 3, REASON) for bucket in found), frozenset(names))


class ViewSuite:
    """Views of several connections in one reading."""

    async def test_views_are_what_each_query_alone_would_find_in_their_order(self, storage: BucketStorage) -> None:
        writer, reader = storage.open_writer(), storage.open_reader()
        version = begun(writer)
        entries = [lookup("l[1]", A, key=b"1"), lookup("l[1]", B, key=b"2"), lookup("l[2]", B)]
        checkpoint = committed(writer, version, "A", put(A, "1"), put(B, "1"), put(B, "2"), lookups=entries)
        starts: list[Callable[[], BucketQuery]] = [
            lambda: buckets_of_lookup("l[1]"),
            lambda: fixed_buckets(B, EMPTY),
            lambda: buckets_of_lookup("l[2]"),
            lambda: buckets_of_lookup("l[none]"),
            lambda: buckets_of_lookup("l[1]"),
            fixed_buckets,
        ]
        views = await reader.views(version, [start() for start in starts])
        assert views is not None
        assert list(views) == [await reader.view(version, start()) for start in starts]
        assert [sorted(view.totals) for view in views if isinstance(view, CheckpointView)] == [
            [A, B],
            [B],
            [B],
            [],
            [A, B],
            [],
        ]
        assert all(isinstance(view, CheckpointView) and view.checkpoint == checkpoint for view in views)
        assert await reader.views(version, []) == []
        writer.close()
        await reader.close()

    async def test_a_query_that_fails_leaves_the_others_alone(self, storage: BucketStorage) -> None:
        writer, reader = storage.open_writer(), storage.open_reader()
        version = begun(writer)
        committed(writer, version, "A", put(A, "1"), lookups=[lookup("l[1]", A)])
        views = await reader.views(
            version, [buckets_of_lookup("l[1]"), failing("l[1]"), fixed_buckets(A), failing("l[none]")]
        )
        assert views is not None
        kinds = [type(view) for view in views]
        assert kinds == [CheckpointView, LimitExceeded, CheckpointView, LimitExceeded]
        found = [view.totals[A].op_count for view in views if isinstance(view, CheckpointView)]
        assert found == [1, 1]
        writer.close()
        await reader.close()

    async def test_all_views_are_of_one_checkpoint_whatever_is_committed_meanwhile(
        self, storage: BucketStorage
    ) -> None:
        writer, reader = storage.open_writer(), storage.open_reader()
        version = begun(writer)
        names = [f"l[{number}]" for number in range(3)]
        first = committed(writer, version, "A", put(A, "1"), lookups=[lookup(name, A) for name in names])
        commits: list[str] = []

        def commit() -> None:
            commits.append(f"B{len(commits)}")
            later = [lookup(name, B, key=b"later") for name in names]
            committed(writer, version, commits[-1], put(A, commits[-1]), put(B, commits[-1]), lookups=later)

        queries = [chained(names, commit), fixed_buckets(A, B), chained(names[::-1], commit)]
        views = await reader.views(version, queries)
        assert len(commits) == 6, "the commits fell into the middle of the reading"
        assert views is not None
        for view in views:
            assert isinstance(view, CheckpointView)
            assert view.checkpoint == first
            assert {name: total.op_count for name, total in view.totals.items()} == {A: 1}
        writer.close()
        await reader.close()

    async def test_no_view_is_read_of_a_version_without_a_checkpoint(self, storage: BucketStorage) -> None:
        reader = storage.open_reader()
        queries = [fixed_buckets(A), failing("l[1]")]
        assert await reader.views(10, queries) is None
        assert all(next(query, None) is None for query in queries), "they are closed"
        await reader.close()
