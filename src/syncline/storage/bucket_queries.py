"""PURE: several bucket queries, driven side by side at one checkpoint.

The lookups that they ask for next are read together, and what several ask for is read once. A query that fails fails alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from syncline.errors import SynclineError
from syncline.storage.base import CheckpointView
from syncline.storage.model import BucketTotals, Checkpoint
from syncline.sync_config.plan import BucketQuery, ResolvedBuckets

__all__ = ["BucketQueries", "only_view"]


class BucketQueries:
    """Begins the queries. Ask for `next_lookups` and `answer` them until there are none; then read the totals of `bucket_names`."""

    def __init__(self, queries: Sequence[BucketQuery]) -> None:
        self._outcomes: list[ResolvedBuckets | SynclineError | None] = [None] * len(queries)
        self._asking: list[tuple[int, BucketQuery, Sequence[str]]] = []
        self._answers: dict[str, Sequence[str]] = {}
        for number, query in enumerate(queries):
            self._drive(number, query, begun=False)

    def next_lookups(self) -> list[str]:
        """Lookups whose outputs are to be read next, each once in all; none when every query has ended."""
        while self._asking:
            names = (name for _, _, wanted in self._asking for name in wanted if name not in self._answers)
            if unknown := list(dict.fromkeys(names)):
                return unknown
            asking, self._asking = self._asking, []
            for number, query, _ in asking:
                self._drive(number, query, begun=True)
        return []

    def answer(self, outputs: Mapping[str, Sequence[str]]) -> None:
        """The outputs of all of `next_lookups`, as of the checkpoint."""
        self._answers.update(outputs)

    @property
    def bucket_names(self) -> list[str]:
        """The buckets that were found, each once."""
        found = (outcome for outcome in self._outcomes if isinstance(outcome, ResolvedBuckets))
        return list(dict.fromkeys(bucket.name for resolved in found for bucket in resolved.buckets))

    def views(self, checkpoint: Checkpoint, totals: Mapping[str, BucketTotals]) -> list[CheckpointView | SynclineError]:
        """The answer to each query, in their order. `totals` may hold those of other connections' buckets."""
        return [_view(outcome, checkpoint, totals) for outcome in self._outcomes]

    def _drive(self, number: int, query: BucketQuery, *, begun: bool) -> None:
        try:
            wanted = query.send(self._answers) if begun else next(query)
        except StopIteration as stop:
            self._outcomes[number] = stop.value
        except SynclineError as exc:
            self._outcomes[number] = exc
        else:
            self._asking.append((number, query, wanted))


def _view(
    outcome: ResolvedBuckets | SynclineError | None, checkpoint: Checkpoint, totals: Mapping[str, BucketTotals]
) -> CheckpointView | SynclineError:
    assert outcome is not None, "every query has ended"
    if isinstance(outcome, SynclineError):
        return outcome
    mine = {bucket.name: totals[bucket.name] for bucket in outcome.buckets if bucket.name in totals}
    return CheckpointView(checkpoint, outcome, mine)


def only_view(views: Sequence[CheckpointView | SynclineError] | None) -> CheckpointView | None:
    """The answer to the only query of a reading. Raises what the query raised."""
    if views is None:
        return None
    [view] = views
    if isinstance(view, SynclineError):
        raise view
    return view
