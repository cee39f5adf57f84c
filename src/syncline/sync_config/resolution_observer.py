"""What a resolution tells of its steps, for explanations. Sessions have no observer and pay nothing for it."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any, Protocol

from syncline.sync_config.evaluation.closures import Environment
from syncline.sync_config.request_closures import ReadyQuerier

__all__ = ["QuerierOutcome", "ResolutionObserver"]

Row = tuple[Any, ...]


class QuerierOutcome(enum.StrEnum):
    """How a querier ended for one subscription."""

    BUCKETS = "buckets"  # it gave at least one
    REQUEST_FILTER = "request_filter"  # a condition on the connection alone does not hold
    NO_VALUE = "no_value"  # a partition key that the connection fixes is NULL, or would have to be two values at once
    NOTHING_FOUND = "nothing_found"  # the lookups of one group found no rows
    NO_COMBINATION = "no_combination"  # rows were found, but they do not agree on the partition keys
    FAILED = "failed"  # an expression over the connection could not be evaluated


class ResolutionObserver(Protocol):
    """Hears of each step, in order: a subscription, its queriers one after the other, and of each querier what it asked."""

    def subscription(self, stream: str, label: str | int, environment: Environment, /) -> None:
        """A subscription begins. `label` is `default` or its index in the request; `environment` is what closures read."""
        ...

    def querier(self, querier: ReadyQuerier, /) -> None:
        """The next querier of the subscription's stream begins."""
        ...

    def looked_up(self, asked: Sequence[tuple[Row, Sequence[Row] | None]], results: int, /) -> None:
        """The next stage of the querier (group by group) found these rows under these keys; None: keys that nothing can have.

        `results` is how many the limit of parameter results counts for it.
        """
        ...

    def combined(self, partitions: Sequence[tuple[Row, str | None]], /) -> None:
        """The combinations of partition values with their text; None where there is no such bucket."""
        ...

    def stopped(self, outcome: QuerierOutcome, /, error: str = "") -> None:
        """The querier gives no bucket, and ended before anything was combined."""
        ...
