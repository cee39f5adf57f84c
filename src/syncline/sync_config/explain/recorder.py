"""Hears of the steps of a resolution and writes them down in words of the config."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from syncline.sync_config.compiler.expressions import Expression
from syncline.sync_config.compiler.model import LookupIndex, Querier, RequestSource, Stage
from syncline.sync_config.evaluation.closures import NO_TABLE, Environment, closure_of
from syncline.sync_config.evaluation.values import EvaluationError, truthy
from syncline.sync_config.explain.connection_explanation import (
    LookupAnswer,
    LookupStep,
    PartitionKey,
    QuerierExplanation,
    SubscriptionExplanation,
    UserBucket,
)
from syncline.sync_config.explain.parts import Condition, NamedValue
from syncline.sync_config.explain.plan_index import PlanIndex
from syncline.sync_config.explain.readable import contents, lookup_text, row_side, through
from syncline.sync_config.explain.shown_value import shown
from syncline.sync_config.explain.sql_text import conjuncts, sql_text
from syncline.sync_config.request_closures import ReadyQuerier
from syncline.sync_config.resolution_observer import QuerierOutcome

__all__ = ["Recorder"]

Row = tuple[Any, ...]
Asked = Sequence[tuple[Row, Sequence[Row] | None]]


@dataclass(slots=True)
class _Heard:
    """What was heard of one querier."""

    ready: ReadyQuerier
    asked: list[Asked] = field(default_factory=list[Asked])
    partitions: Sequence[tuple[Row, str | None]] = ()
    outcome: QuerierOutcome = QuerierOutcome.NO_COMBINATION
    error: str = ""


@dataclass(slots=True)
class _Subscription:
    stream: str
    label: str | int
    environment: Environment
    queriers: list[_Heard] = field(default_factory=list[_Heard])


class Recorder:
    """A `ResolutionObserver`. `subscriptions` tells, at the end, what it has heard."""

    def __init__(self, index: PlanIndex, bucket_prefix: str) -> None:
        self._index = index
        self._prefix = bucket_prefix
        self._heard: list[_Subscription] = []
        self.parameter_results = 0

    def subscription(self, stream: str, label: str | int, environment: Environment, /) -> None:
        """A subscription begins."""
        self._heard.append(_Subscription(stream, label, environment))

    def querier(self, querier: ReadyQuerier, /) -> None:
        """The next querier of the stream begins."""
        self._heard[-1].queriers.append(_Heard(querier))

    def looked_up(self, asked: Asked, results: int, /) -> None:
        """The next stage of the querier found these rows."""
        self.parameter_results += results
        self._heard[-1].queriers[-1].asked.append(asked)

    def combined(self, partitions: Sequence[tuple[Row, str | None]], /) -> None:
        """The combinations of partition values."""
        heard = self._heard[-1].queriers[-1]
        heard.partitions = partitions
        if any(text is not None for _, text in partitions):
            heard.outcome = QuerierOutcome.BUCKETS

    def stopped(self, outcome: QuerierOutcome, /, error: str = "") -> None:
        """The querier gives no bucket."""
        heard = self._heard[-1].queriers[-1]
        heard.outcome, heard.error, heard.partitions = outcome, error, ()

    def subscriptions(self) -> list[tuple[str, SubscriptionExplanation]]:
        """All subscriptions with the names of their streams, in the order of resolution."""
        return [(one.stream, SubscriptionExplanation(one.label, tuple(self._queriers(one)))) for one in self._heard]

    def _queriers(self, heard: _Subscription) -> list[QuerierExplanation]:
        compiled = self._index.streams[heard.stream].queriers
        return [self._querier(heard, querier, one) for (querier, _), one in zip(compiled, heard.queriers, strict=True)]

    def _querier(self, subscription: _Subscription, querier: Querier, heard: _Heard) -> QuerierExplanation:
        parts = (part for expression in querier.request_filters for part in conjuncts(expression))
        filters = tuple(_condition(part, subscription.environment) for part in parts)
        stages = [stage for group in querier.groups for stage in group]
        ready = [stage.lookup for group in heard.ready.groups for stage in group]
        steps = tuple(
            _step(querier, stage, lookup, asked)
            for stage, lookup, asked in zip(stages, ready, heard.asked, strict=False)
        )
        keys = self._keys(querier, heard.ready.bucket, subscription.environment)
        return QuerierExplanation(
            heard.ready.bucket,
            self._index.origins_of_querier(subscription.stream, querier),
            heard.outcome,
            _reason(heard, filters, steps, keys),
            filters,
            steps,
            keys,
            self._buckets(heard),
        )

    def _keys(self, querier: Querier, bucket: str, environment: Environment) -> tuple[PartitionKey, ...]:
        sides = [row_side(query) for query in self._index.bucket_sources[bucket].queries]
        return tuple(
            PartitionKey(
                tuple(dict.fromkeys(side[number] for side in sides if number < len(side))),
                tuple(through(querier, source) for source in sources),
                tuple(
                    _named(sql_text(source.value), source, environment)
                    for source in sources
                    if isinstance(source, RequestSource)
                ),
            )
            for number, sources in enumerate(querier.instantiation)
        )

    def _buckets(self, heard: _Heard) -> tuple[UserBucket, ...]:
        queries = self._index.bucket_sources[heard.ready.bucket].queries
        found: dict[str, UserBucket] = {}
        for row, text in heard.partitions:
            if text is not None:
                name = f"{self._prefix}{heard.ready.bucket}{text}"
                values = tuple(shown(value) for value in row)
                found.setdefault(name, UserBucket(name, values, tuple(contents(query, values) for query in queries)))
        return tuple(found.values())


def _condition(expression: Expression, environment: Environment) -> Condition:
    sql = sql_text(expression)
    try:
        value = closure_of(expression, NO_TABLE)(environment)
    except EvaluationError as exc:
        return Condition(sql, passed=False, value=None, error=str(exc))
    return Condition(sql, truthy(value), shown(value))


def _named(sql: str, source: RequestSource, environment: Environment) -> NamedValue:
    try:
        return NamedValue(sql, shown(closure_of(source.value, NO_TABLE)(environment)))
    except EvaluationError as exc:
        return NamedValue(sql, None, str(exc))


def _step(querier: Querier, stage: Stage, lookup: str | None, asked: Asked) -> LookupStep:
    text = lookup_text(stage.table)
    return LookupStep(
        str(text),
        lookup if isinstance(stage.table, LookupIndex) else None,
        tuple(through(querier, source) for source in stage.keys),
        text.outputs,
        tuple(
            LookupAnswer(
                tuple(NamedValue(sql, shown(value)) for sql, value in zip(text.keys, values, strict=True)),
                rows is not None,
                tuple(tuple(shown(value) for value in row) for row in rows or ()),
            )
            for values, rows in asked
        ),
    )


def _reason(
    heard: _Heard, filters: Sequence[Condition], steps: Sequence[LookupStep], keys: Sequence[PartitionKey]
) -> str:
    """Why there is no bucket, in words."""
    match heard.outcome:
        case QuerierOutcome.BUCKETS:
            return ""
        case QuerierOutcome.FAILED:
            return f"the query cannot be evaluated for this connection: {heard.error}"
        case QuerierOutcome.REQUEST_FILTER:
            return next((f"{one.sql} does not hold" for one in filters if not one.passed), "a condition does not hold")
        case QuerierOutcome.NO_VALUE:
            return _no_value(keys, null_values=heard.ready.null_values)
        case QuerierOutcome.NOTHING_FOUND:
            barren = (step for step in steps if not any(answer.rows for answer in step.answers))
            return f"nothing was found in the lookup: {next(barren, steps[-1]).text}"
        case QuerierOutcome.NO_COMBINATION:
            return "the values that were found do not agree with one another"


def _no_value(keys: Sequence[PartitionKey], *, null_values: bool) -> str:
    for key in keys:
        for named in key.fixed:
            if named.value is not None and named.value.type in (("blob",) if null_values else ("null", "blob")):
                return f"{named.sql} is {'NULL' if named.value.type == 'null' else 'a blob'}"
        if len({named.value for named in key.fixed}) > 1:
            return f"these would have to be equal: {', '.join(map(str, key.fixed))}"
    return "a partition key has no value"
