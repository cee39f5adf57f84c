"""Our side of the comparison: rows are evaluated as replication does it, connections are resolved from the lookups that result."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from syncline.protocol.bucket_names import SyncValue
from syncline.protocol.requests import StreamsRequest, StreamSubscription
from syncline.sync_config import SyncPlan
from syncline.sync_config.plan import BucketQuery, ConnectionData, ResolvedBuckets, RowEvaluation, RowEvaluator
from tests.support.sync_config_oracle.cases import Change, Row, SourceValue, User
from tests.support.sync_config_oracle.schema import SourceTable

__all__ = ["EvaluationFailed", "MemoryService", "VisibleRow", "columns_of"]

PREFIX = "5#"
VisibleRow = tuple[str, str, tuple[tuple[str, str], ...]]
"""Object type, object id, and the columns with the kind and text of their values, by name."""


class EvaluationFailed(Exception):
    """A row or a subscription gave an error, which no generated query should give."""


class MemoryService:
    """Buckets and lookups of one plan, kept up with changes row by row: what a row contributed is taken back by its next change."""

    def __init__(self, plan: SyncPlan) -> None:
        self._plan = plan
        self._evaluators: dict[SourceTable, RowEvaluator] = {}
        self._kept: dict[tuple[SourceTable, SourceValue], RowEvaluation] = {}
        self._rows: dict[str, Counter[VisibleRow]] = {}
        self._lookups: dict[str, Counter[str]] = {}

    def apply(self, change: Change) -> None:
        """One change of the source."""
        if change.before is not None:
            self._count(self._kept.pop((change.table, change.before["id"])), -1)
        if change.after is not None:
            evaluation = self._evaluate(change.table, change.after)
            self._kept[change.table, change.after["id"]] = evaluation
            self._count(evaluation, 1)

    def _evaluate(self, table: SourceTable, row: Row) -> RowEvaluation:
        names = [column.name for column in table.columns]
        if table not in self._evaluators:
            self._evaluators[table] = self._plan.row_evaluator(table.schema, table.name, names, PREFIX)
        evaluation = self._evaluators[table]([_sync_value(row[name]) for name in names])
        if evaluation.errors:
            raise EvaluationFailed(f"{table.name} {row['id']}: {evaluation.errors}")
        return evaluation

    def _count(self, evaluation: RowEvaluation, by: int) -> None:
        for row in evaluation.rows:
            visible = (row.object_type, row.object_id, columns_of(json.loads(row.data)))
            self._rows.setdefault(row.bucket, Counter())[visible] += by
        for entry in evaluation.lookups:
            self._lookups.setdefault(entry.lookup, Counter())[entry.output] += by

    def visible_rows(self, user: User) -> set[VisibleRow]:
        """All rows in all buckets of a connection."""
        request = StreamsRequest(
            user.include_defaults,
            [
                StreamSubscription(stream, None if given is None else dict(given))
                for stream, given in user.subscriptions
            ],
        )
        connection = ConnectionData(dict(user.token), dict(user.parameters))
        query = self._plan.query_buckets(
            connection, request, PREFIX, buckets_max=100_000, parameter_results_max=100_000
        )
        resolved = self._drive(query)
        errors = [error for stream in resolved.streams for error in stream.errors]
        if errors:
            raise EvaluationFailed(f"{user.token['sub']}: {errors}")
        return {row for bucket in resolved.buckets for row in _present(self._rows.get(bucket.name, {}))}

    def _drive(self, query: BucketQuery) -> ResolvedBuckets:
        try:
            wanted = next(query)
            while True:
                wanted = query.send({name: list(_present(self._lookups.get(name, {}))) for name in wanted})
        except StopIteration as stop:
            resolved: ResolvedBuckets = stop.value
            return resolved


def _present(counts: Mapping[Any, int]) -> Iterable[Any]:
    return (item for item, count in counts.items() if count > 0)


def _sync_value(value: SourceValue) -> SyncValue:
    return int(value) if isinstance(value, bool) else value


def columns_of(data: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The columns of row JSON as `VisibleRow` has them. Integers and reals differ, 0.0 and -0.0 do not."""
    return tuple(sorted((name, _shown(value)) for name, value in data.items()))


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, str):
        return f"text {value}"
    return f"real {value + 0.0!r}" if isinstance(value, float) else f"integer {value!r}"
