"""The result of `explain_connection`: which buckets a user has, how many, and through which parameters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from syncline.sync_config.compiler.model import QueryOrigin
from syncline.sync_config.explain.parts import Condition, Explained, NamedValue, indented, origin_line
from syncline.sync_config.explain.shown_value import ShownValue
from syncline.sync_config.resolution_observer import QuerierOutcome

__all__ = [
    "ConnectionBucket",
    "ConnectionExplanation",
    "LookupAnswer",
    "LookupStep",
    "PartitionKey",
    "QuerierExplanation",
    "StreamExplanation",
    "SubscriptionExplanation",
    "UserBucket",
]

SHOWN_MAX = 20  # buckets or rows of one list in the text; the fields of results have all


@dataclass(frozen=True, slots=True)
class LookupAnswer:
    """What was found under one set of key values. `asked` is false for keys that nothing can have (NULL, blobs)."""

    keys: tuple[NamedValue, ...]
    asked: bool
    rows: tuple[tuple[ShownValue, ...], ...]

    def line(self, outputs: tuple[str, ...]) -> str:
        """The answer in one line."""
        keys = f"{', '.join(map(str, self.keys))} → " if self.keys else ""
        if not self.asked:
            return f"✗ {keys}nothing can have this key"
        if not self.rows:
            return f"✗ {keys}no row{self._type_hint()}"
        if not outputs:
            return f"✓ {keys}there is a row"
        found = [", ".join(map(str, row)) for row in self.rows[:SHOWN_MAX]]
        more = f", and {len(self.rows) - SHOWN_MAX} more" if len(self.rows) > SHOWN_MAX else ""
        return f"✓ {keys}{', '.join(outputs)}: {'; '.join(found)}{more}"

    def _type_hint(self) -> str:
        """A text that reads as a number finds no number: by far the most frequent cause."""
        texts = (named.value.text for named in self.keys if named.value is not None and named.value.type == "text")
        numeric = next((text for text in texts if text.strip("'").lstrip("-").isdecimal()), None)
        return f" ({numeric} is a text; it does not find the number)" if numeric is not None else ""


@dataclass(frozen=True, slots=True)
class LookupStep:
    """A lookup that was asked, in storage under the name `lookup`; None for elements of connection data.

    `keys_from` says, for each key, through which parameter its values came.
    """

    text: str
    lookup: str | None
    keys_from: tuple[str, ...]
    outputs: tuple[str, ...]
    answers: tuple[LookupAnswer, ...]

    def lines(self) -> Iterator[str]:
        """The lookup, then its answers."""
        yield f"lookup: {self.text}"
        yield from indented([answer.line(self.outputs) for answer in self.answers[:SHOWN_MAX]])
        if len(self.answers) > SHOWN_MAX:
            yield f"  … and {len(self.answers) - SHOWN_MAX} more"


@dataclass(frozen=True, slots=True)
class PartitionKey:
    """A partition key. `columns` are what it is in the rows; `through` is where the connection takes its value from.

    With several ways all have to give the same value. `fixed` are the values that the connection alone gives, without lookups.
    """

    columns: tuple[str, ...]
    through: tuple[str, ...]
    fixed: tuple[NamedValue, ...]

    def __str__(self) -> str:
        values = {named.sql: f" = {named.value or named.error}" for named in self.fixed}
        return f"{', '.join(self.columns)} = {' and = '.join(way + values.get(way, '') for way in self.through)}"


@dataclass(frozen=True, slots=True)
class UserBucket:
    """A bucket that a querier gives: its partition values in the order of the keys, and which rows stand in it."""

    name: str
    values: tuple[ShownValue, ...]
    contents: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class QuerierExplanation:
    """What one alternative of a query (or several equal ones) asks for a subscription, and the buckets that it gives."""

    bucket_source: str
    origins: tuple[QueryOrigin, ...]
    outcome: QuerierOutcome
    reason: str
    request_filters: tuple[Condition, ...]
    steps: tuple[LookupStep, ...]
    keys: tuple[PartitionKey, ...]
    buckets: tuple[UserBucket, ...]

    def lines(self) -> Iterator[str]:
        """The query, then every step."""
        yield f"{'✓' if self.buckets else '✗'} {origin_line(self.origins, self.bucket_source)}"
        yield from indented([str(condition) for condition in self.request_filters], 4)
        for step in self.steps:
            yield from indented(step.lines(), 4)
        yield from indented([f"key {key}" for key in self.keys], 4)
        for bucket in self.buckets[:SHOWN_MAX]:
            yield f"    bucket {bucket.name}: {'; '.join(bucket.contents)}"
        if len(self.buckets) > SHOWN_MAX:
            yield f"    … and {len(self.buckets) - SHOWN_MAX} more buckets"
        if not self.buckets:
            yield f"    no bucket: {self.reason}"


@dataclass(frozen=True, slots=True)
class SubscriptionExplanation:
    """One subscription of a stream: `default`, or its index in the request."""

    subscription: str | int
    queriers: tuple[QuerierExplanation, ...]

    @property
    def label(self) -> str:
        """The subscription as a person calls it."""
        return "by default" if self.subscription == "default" else f"subscription {self.subscription}"


@dataclass(frozen=True, slots=True)
class StreamExplanation:
    """A stream that the connection is subscribed to. `bucket_count` counts each bucket once."""

    name: str
    subscriptions: tuple[SubscriptionExplanation, ...]
    bucket_count: int

    def lines(self) -> Iterator[str]:
        """The stream with its subscriptions."""
        for subscription in self.subscriptions:
            yield f"stream {self.name}, {subscription.label}"
            for querier in subscription.queriers:
                yield from indented(querier.lines())


@dataclass(frozen=True, slots=True)
class ConnectionBucket:
    """A bucket of the connection: its priority, and every stream and subscription that asks for it (`todos, by default`)."""

    name: str
    priority: int
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ConnectionExplanation(Explained):
    """Everything that a connection gets. With more than `buckets_max` buckets, or more than `parameter_results_max` rows found in
    its lookups (`parameter_results`), the service would refuse it.

    `buckets` are those of `SyncPlan.query_buckets`. `not_subscribed` are streams that the connection does not ask for, and
    `unknown_streams` those that it asks for in vain.
    """

    user_id: str
    bucket_prefix: str
    streams: tuple[StreamExplanation, ...]
    buckets: tuple[ConnectionBucket, ...]
    lookups: tuple[str, ...]
    not_subscribed: tuple[str, ...]
    unknown_streams: tuple[str, ...]
    buckets_max: int
    parameter_results: int
    parameter_results_max: int

    @property
    def is_over_limit(self) -> bool:
        """Whether the service would refuse the connection for its number of buckets or parameter results."""
        return len(self.buckets) > self.buckets_max or self.parameter_results > self.parameter_results_max

    def lines(self) -> Iterator[str]:
        """The explanation as lines of text."""
        count = len(self.buckets)
        results = f"{self.parameter_results} of at most {self.parameter_results_max} parameter results"
        yield f"User {self.user_id}: {count} bucket{'s' * (count != 1)} of at most {self.buckets_max}, {results}"
        if self.is_over_limit:
            yield "  TOO MANY: the service refuses this connection."
        for stream in self.streams:
            yield f"  {stream.name}: {stream.bucket_count}"
        if self.not_subscribed:
            yield f"  not subscribed: {', '.join(self.not_subscribed)}"
        if self.unknown_streams:
            yield f"  there is no stream {', '.join(self.unknown_streams)}"
        for stream in self.streams:
            yield from stream.lines()
