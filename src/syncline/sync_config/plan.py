"""The face of the package: what a compiled sync config can be asked.

`compile_sync_config(text)` gives a `SyncPlan`. Replication asks it which source tables it needs and, per table, for a
`RowEvaluator`; a sync session asks it for the buckets of a connection. Both are pure: parameter lookups are asked for by
yielding, and whoever drives the generator answers from storage, as of one checkpoint.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from msgspec import Struct

from syncline.protocol.bucket_names import SyncValue
from syncline.protocol.lines import StreamDescription, SubscriptionReason
from syncline.protocol.requests import StreamsRequest
from syncline.sync_config.problems import Problem
from syncline.sync_config.value_format import ValueFormat

if TYPE_CHECKING:
    from syncline.sync_config.compiler.model import EventDefinition

__all__ = [
    "CHECKPOINT_EVENTS",
    "BucketQuery",
    "ConnectionData",
    "EvaluatedLookup",
    "EvaluatedRow",
    "ResolvedBucket",
    "ResolvedBuckets",
    "RowEvaluation",
    "RowEvaluator",
    "StreamDefinition",
    "SyncPlan",
    "TablePattern",
]

CHECKPOINT_EVENTS = frozenset({"write_checkpoints", "checkpoint_requests"})
"""Names of event definitions whose rows are custom write checkpoints."""


class TablePattern(NamedTuple):
    """A source table that the config reads. A trailing `%` in either part is a wildcard.

    There is one source, whose `connection` is `default`: a pattern that names another connection (sync rules can) matches nothing.
    """

    schema: str
    name: str
    connection: str = "default"

    def matches(self, schema: str, name: str) -> bool:
        """Whether a table of the source with this schema and name is meant."""
        if self.connection != "default" or (self.schema.endswith("%") and _is_of_system(schema)):
            return False
        return _part_matches(self.schema, schema) and _part_matches(self.name, name)


def _is_of_system(schema: str) -> bool:
    """Whether a schema is Postgres' own: no wildcard means these (sync config reference, 2.2)."""
    return schema.startswith("pg_") or schema == "information_schema"


def _part_matches(pattern: str, value: str) -> bool:
    return value.startswith(pattern[:-1]) if pattern.endswith("%") else value == pattern


@dataclass(frozen=True, slots=True)
class StreamDefinition:
    """A stream as the config declares it; the order of streams is the config's."""

    name: str
    auto_subscribe: bool
    priority: int


class EvaluatedRow(Struct, frozen=True, gc=False):
    """A row's place in one bucket. `data` is the JSON text that clients receive, `bucket` its full name.

    A `Struct`, because some are made for every row: it costs a third of a named tuple, and the garbage collector never visits it.
    """

    bucket: str
    object_type: str
    object_id: str
    data: str


class EvaluatedLookup(Struct, frozen=True, gc=False):
    """A parameter lookup entry of a row: under the name `lookup` (index and key values) stands `output` (JSON array)."""

    lookup: str
    output: str


class RowEvaluation(Struct, frozen=True, gc=False):
    """Everything that one row contributes. `errors` are texts without row values; the row is skipped for that query."""

    rows: Sequence[EvaluatedRow]
    lookups: Sequence[EvaluatedLookup]
    errors: Sequence[str]


class RowEvaluator(Protocol):
    """Evaluates the rows of one source table for all queries that use it. Generated per table (design decision 5).

    The values of a row stand in the column order that the evaluator was made for.
    """

    def __call__(self, row: Sequence[SyncValue], /) -> RowEvaluation:
        """What one row contributes. A batch of rows is several times cheaper than as many calls."""
        ...

    def batch(self, rows: Iterable[Sequence[SyncValue]], /) -> list[RowEvaluation]:
        """What each row contributes, in the order of the rows. Results are shared between rows: never change one."""
        ...


@dataclass(frozen=True, slots=True)
class ConnectionData:
    """What a connection brings: the verified token payload and the client's own (untrusted) parameters."""

    token: Mapping[str, Any]
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def user_id(self) -> str:
        """Text of the token's `sub`."""
        subject = self.token.get("sub")
        return subject if isinstance(subject, str) else "null" if subject is None else str(subject)


@dataclass(frozen=True, slots=True)
class ResolvedBucket:
    """A bucket that a connection sees: the most urgent priority asked for, and every reason once."""

    name: str
    priority: int
    subscriptions: tuple[SubscriptionReason, ...]


@dataclass(frozen=True, slots=True)
class ResolvedBuckets:
    """Answer of a bucket query: streams in config order, buckets, and the lookups that the answer rests on."""

    streams: tuple[StreamDescription, ...]
    buckets: tuple[ResolvedBucket, ...]
    lookups: frozenset[str]
    unknown_streams: tuple[str, ...] = ()
    parameter_results: int = field(default=0, compare=False)  # rows found in lookups, as counted for the limit


BucketQuery = Generator[Sequence[str], Mapping[str, Sequence[str]], ResolvedBuckets]
"""Yields names of lookups; is sent, for each of them, the output texts stored under it; returns the buckets.

Raises LimitExceeded when a connection would have too many parameter results or buckets.
"""


class SyncPlan(Protocol):
    """A compiled sync config. `bucket_prefix` is `<version>#` throughout."""

    @property
    def streams(self) -> tuple[StreamDefinition, ...]:
        """All streams in config order."""
        ...

    @property
    def value_format(self) -> ValueFormat:
        """How values of the source look in synced rows: what replication decodes them to."""
        ...

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """Problems that do not keep the config from being used."""
        ...

    @property
    def table_patterns(self) -> tuple[TablePattern, ...]:
        """The source tables that replication has to follow."""
        ...

    @property
    def events(self) -> tuple[EventDefinition, ...]:
        """Event definitions: rows of theirs are write checkpoints of the app's own."""
        ...

    @property
    def has_custom_write_checkpoints(self) -> bool:
        """Whether write checkpoints come from a replicated table (sync config reference, 9): the service then makes none."""
        ...

    def row_evaluator(self, schema: str, name: str, columns: Sequence[str], bucket_prefix: str) -> RowEvaluator:
        """The evaluator for rows of one source table whose values come in the order of `columns`."""
        ...

    def query_buckets(
        self,
        connection: ConnectionData,
        streams: StreamsRequest | None,
        bucket_prefix: str,
        *,
        buckets_max: int,
        parameter_results_max: int,
    ) -> BucketQuery:
        """Start working out the buckets of a connection; see `BucketQuery` for how to drive it."""
        ...
