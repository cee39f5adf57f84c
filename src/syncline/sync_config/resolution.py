"""From a connection to its buckets: a generator that asks for parameter lookups and reads nothing itself.

Per stream and subscription: request filters, then the stages of all groups, then the partition values. All lookups of a stage are
asked for at once; values found in the same rows stay together (sync config reference, 3.3).
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from syncline.errors import LimitExceeded
from syncline.protocol.bucket_names import normalise_value
from syncline.protocol.lines import StreamDescription, StreamError, SubscriptionReason
from syncline.protocol.requests import StreamsRequest, StreamSubscription
from syncline.sync_config.compiler.model import StageOutput
from syncline.sync_config.evaluation.closures import Environment
from syncline.sync_config.evaluation.context import RequestData, token_parameters
from syncline.sync_config.evaluation.partition import decode_outputs, nullable_text, partition_text
from syncline.sync_config.evaluation.values import EvaluationError, truthy
from syncline.sync_config.plan import BucketQuery, ConnectionData, ResolvedBucket, ResolvedBuckets, StreamDefinition
from syncline.sync_config.request_closures import ReadyQuerier, ReadyStage, ReadyValue
from syncline.sync_config.resolution_observer import QuerierOutcome, ResolutionObserver

__all__ = ["ReadyStream", "resolve_buckets"]

Row = tuple[Any, ...]
Binding = tuple[Row, ...]
"""The rows that the stages of one group found together, in stage order."""
Lookups = Generator[Sequence[str], Mapping[str, Sequence[str]], Any]
_NO_LOOKUPS: frozenset[str] = frozenset()  # of all who need none: an empty set takes as much as one of four


@dataclass(frozen=True, slots=True)
class ReadyStream:
    """A stream with its queriers."""

    definition: StreamDefinition
    queriers: tuple[ReadyQuerier, ...]


@dataclass(slots=True)
class _Subscribed:
    """One subscription of a stream: explicit, with its index, or by default."""

    reason: SubscriptionReason
    parameters: Mapping[str, Any]
    override_priority: int | None
    label: str | int


@dataclass(slots=True)
class _Bucket:
    priority: int
    reasons: dict[SubscriptionReason, None] = field(default_factory=dict[SubscriptionReason, None])


@dataclass(slots=True)
class _Session:
    """What one resolution has found so far, and its limits."""

    connection: ConnectionData
    prefix: str
    buckets_max: int
    results_max: int
    observer: ResolutionObserver | None
    buckets: dict[str, _Bucket] = field(default_factory=dict[str, _Bucket])
    answers: dict[str, list[Row]] = field(default_factory=dict[str, list[Row]])
    results_by_stream: dict[str, int] = field(default_factory=dict[str, int])
    buckets_by_stream: dict[str, int] = field(default_factory=dict[str, int])


def resolve_buckets(
    streams: Sequence[ReadyStream],
    connection: ConnectionData,
    request: StreamsRequest | None,
    bucket_prefix: str,
    *,
    buckets_max: int,
    parameter_results_max: int,
    observer: ResolutionObserver | None = None,
) -> BucketQuery:
    """Work out the buckets of a connection; see `plan.BucketQuery`. `observer` is told of every step. Raises LimitExceeded."""
    request = request or StreamsRequest()
    session = _Session(connection, bucket_prefix, buckets_max, parameter_results_max, observer)
    explicit: dict[str, list[tuple[int, StreamSubscription]]] = {}
    for index, subscription in enumerate(request.subscriptions):
        explicit.setdefault(subscription.stream, []).append((index, subscription))
    described: list[StreamDescription] = []
    for stream in streams:
        definition = stream.definition
        is_default = definition.auto_subscribe and request.include_defaults
        if not is_default and definition.name not in explicit:
            continue
        errors: list[StreamError] = []
        for subscribed in _subscriptions(definition, is_default, explicit.get(definition.name, []), len(described)):
            yield from _resolve_subscription(stream, subscribed, session, errors)
        described.append(StreamDescription(definition.name, is_default, errors))
    known = {stream.definition.name for stream in streams}
    return ResolvedBuckets(
        tuple(described),
        tuple(ResolvedBucket(name, found.priority, tuple(found.reasons)) for name, found in session.buckets.items()),
        frozenset(session.answers) if session.answers else _NO_LOOKUPS,
        tuple(name for name in explicit if name not in known),
        sum(session.results_by_stream.values()),
    )


def _subscriptions(
    definition: StreamDefinition, is_default: bool, explicit: list[tuple[int, StreamSubscription]], position: int
) -> list[_Subscribed]:
    found: list[_Subscribed] = []
    if is_default:
        found.append(_Subscribed(SubscriptionReason(default=position), {}, None, "default"))
    for index, subscription in explicit:
        reason, parameters = SubscriptionReason(sub=index), subscription.parameters or {}
        found.append(_Subscribed(reason, parameters, subscription.override_priority, index))
    return found


def _resolve_subscription(
    stream: ReadyStream, subscribed: _Subscribed, session: _Session, errors: list[StreamError]
) -> Lookups:
    environment = Environment(
        (),
        RequestData(
            {
                "auth": session.connection.token,
                "connection": session.connection.parameters,
                "subscription": subscribed.parameters,
                "token_parameters": token_parameters(session.connection.token),
            }
        ),
    )
    name = stream.definition.name
    observer = session.observer
    if observer is not None:
        observer.subscription(name, subscribed.label, environment)
    for querier in stream.queriers:
        if observer is not None:
            observer.querier(querier)
        try:
            partitions = yield from _partitions(querier, environment, session, name)
        except EvaluationError as exc:
            if observer is not None:
                observer.stopped(QuerierOutcome.FAILED, str(exc))
            message = f"The stream cannot be evaluated for this subscription: {exc}"
            errors.append(StreamError(subscribed.label, message))
            continue
        for partition in partitions:
            bucket = f"{session.prefix}{querier.bucket}{partition}"
            _add_bucket(bucket, _priority(subscribed, querier, stream.definition), subscribed.reason, session, name)


def _priority(subscribed: _Subscribed, querier: ReadyQuerier, definition: StreamDefinition) -> int:
    """The subscription's own priority comes first, then that of the query, then that of the stream."""
    if subscribed.override_priority is not None:
        return subscribed.override_priority
    return definition.priority if querier.priority is None else querier.priority


def _add_bucket(bucket: str, priority: int, reason: SubscriptionReason, session: _Session, stream: str) -> None:
    found = session.buckets.get(bucket)
    if found is None:
        session.buckets_by_stream[stream] = session.buckets_by_stream.get(stream, 0) + 1
        if len(session.buckets) >= session.buckets_max:
            raise _limit("buckets", session.buckets_max, session.buckets_by_stream)
        found = session.buckets[bucket] = _Bucket(priority)
    found.priority = min(found.priority, priority)
    found.reasons[reason] = None


def _limit(what: str, most: int, by_stream: Mapping[str, int]) -> LimitExceeded:
    counts = ", ".join(f"{name}: {count}" for name, count in sorted(by_stream.items(), key=lambda item: -item[1])[:10])
    return LimitExceeded(
        f"The connection has more than {most} {what}",
        details=f"By stream, as far as counted: {counts}",
        hint="Subscribe to fewer streams, use coarser partition keys, or raise the limit in the service's configuration.",
        streams=dict(by_stream),
    )


def _partitions(querier: ReadyQuerier, environment: Environment, session: _Session, stream: str) -> Lookups:
    """Partition values of a querier's buckets, as text."""
    if not all(truthy(test(environment)) for test in querier.request_filters):
        return _stopped(session, QuerierOutcome.REQUEST_FILTER)
    # What the request alone says comes first: it is cheap, and it may make every lookup needless.
    fixed = _fixed_values(querier, environment)
    if fixed is None:
        return _stopped(session, QuerierOutcome.NO_VALUE)
    groups: list[list[Binding]] = []
    for stages in querier.groups:
        bindings = yield from _bindings(stages, environment, session, stream)
        if not bindings:
            return _stopped(session, QuerierOutcome.NOTHING_FOUND)
        groups.append(bindings)
    combined = _combine(querier, fixed, groups, session, stream)
    text_of = nullable_text if querier.null_values else partition_text
    texts = [text_of(values) for values in combined]
    if session.observer is not None:
        session.observer.combined(list(zip(combined, texts, strict=True)))
    return list(dict.fromkeys(text for text in texts if text is not None))


def _stopped(session: _Session, outcome: QuerierOutcome) -> list[str]:
    """No partitions, and why."""
    if session.observer is not None:
        session.observer.stopped(outcome)
    return []


def _fixed_values(querier: ReadyQuerier, environment: Environment) -> dict[int, Any] | None:
    """Values of partition keys that the request fixes; None where there is none, or two that differ."""
    fixed: dict[int, Any] = {}
    for key, sources in enumerate(querier.instantiation):
        for source in sources:
            if isinstance(source, StageOutput):
                continue
            value = source(environment)
            if isinstance(value, bytes) or (value is None and not querier.null_values):
                return None
            normalised = None if value is None else normalise_value(value)
            if fixed.setdefault(key, normalised) != normalised:
                return None
    return fixed


def _bindings(
    stages: Sequence[ReadyStage], environment: Environment, session: _Session, stream: str
) -> Generator[Sequence[str], Mapping[str, Sequence[str]], list[Binding]]:
    """Run the stages of one group, each for all rows that the stages before have found."""
    bindings: list[Binding] = [()]
    for stage in stages:
        keyed = [(binding, _key_values(stage.keys, binding, environment)) for binding in bindings]
        found: dict[Binding, None] = {}
        if stage.lookup is not None:
            names = {
                values: f"{stage.lookup}{text}"
                for values in dict.fromkeys(values for _, values in keyed)
                if (text := partition_text(values)) is not None
            }
            yield from _fetch(list(names.values()), session)
            answers = {values: session.answers[name] for values, name in names.items()}
        else:
            answers = {values: stage.find(environment, values) for _, values in keyed}
        for binding, values in keyed:
            found.update(((*binding, row), None) for row in answers.get(values, ()))
        if session.observer is not None:
            asked = dict.fromkeys(values for _, values in keyed)
            session.observer.looked_up([(values, answers.get(values)) for values in asked], len(found))
        count = session.results_by_stream.get(stream, 0) + len(found)
        session.results_by_stream[stream] = count
        if sum(session.results_by_stream.values()) > session.results_max:
            raise _limit("parameter results", session.results_max, session.results_by_stream)
        bindings = list(found)
    return bindings


def _fetch(names: Sequence[str], session: _Session) -> Lookups:
    """Ask for lookups that are not known yet."""
    unknown = [name for name in names if name not in session.answers]
    if unknown:
        answers = yield unknown
        for name in unknown:
            rows = [row for text in answers.get(name, ()) for row in decode_outputs(text)]
            session.answers[name] = list(dict.fromkeys(rows))


def _key_values(keys: Sequence[ReadyValue], binding: Binding, environment: Environment) -> Row:
    return tuple(
        binding[source.stage][source.output] if isinstance(source, StageOutput) else source(environment)
        for source in keys
    )


def _combine(
    querier: ReadyQuerier, fixed: Mapping[int, Any], groups: Sequence[Sequence[Binding]], session: _Session, stream: str
) -> list[Row]:
    """All combinations of the groups' rows that agree on every partition key.

    Groups are joined one after the other, by hash on the keys that both sides know, so that an intersection of two long lists
    does not cost their product.
    """
    partial: list[dict[int, Any]] = [dict(fixed)]
    for number, bindings in enumerate(groups):
        wanted = {
            key: [source for source in sources if isinstance(source, StageOutput) and source.group == number]
            for key, sources in enumerate(querier.instantiation)
        }
        wanted = {key: sources for key, sources in wanted.items() if sources}
        rows = _distinct_rows(bindings, wanted)
        shared = [key for key in wanted if partial and key in partial[0]]
        by_shared: dict[Row, list[dict[int, Any]]] = {}
        for row in rows:
            by_shared.setdefault(tuple(row[key] for key in shared), []).append(row)
        joined: list[dict[int, Any]] = []
        for known in partial:
            joined += [{**known, **row} for row in by_shared.get(tuple(known[key] for key in shared), [])]
            if len(joined) > session.results_max:
                counts = {**session.results_by_stream, stream: len(joined)}
                raise _limit("parameter results", session.results_max, counts)
        partial = joined
    return [tuple(known[key] for key in range(len(querier.instantiation))) for known in partial]


def _distinct_rows(bindings: Sequence[Binding], wanted: Mapping[int, Sequence[StageOutput]]) -> list[dict[int, Any]]:
    """The values that a group gives to partition keys; rows whose values for one key differ give none."""
    distinct: dict[Row, None] = {}
    for binding in bindings:
        values: list[Any] = []
        for sources in wanted.values():
            candidates = {normalise_value(binding[source.stage][source.output]) for source in sources}
            if len(candidates) > 1:
                break
            values.append(candidates.pop())
        else:
            distinct[tuple(values)] = None
    return [dict(zip(wanted, values, strict=True)) for values in distinct]
