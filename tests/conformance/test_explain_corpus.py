"""Explanations agree with what the plan itself answers, for every recorded config with its rows and connections."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

from syncline.errors import SyncConfigError
from syncline.protocol.bucket_names import SyncValue
from syncline.storage.sqlite.expression_engine import SqliteExpressionEngine
from syncline.sync_config import CompiledPlan, compile_sync_config
from syncline.sync_config.explain import (
    ConnectionExplanation,
    RowExplanation,
    RowOutcome,
    SourceTableName,
    explain_connection,
    explain_row,
    explain_visibility,
)
from syncline.sync_config.plan import ConnectionData, RowEvaluation
from tests.conformance.corpus.cases import Case, load_cases
from tests.conformance.corpus.values import row_value
from tests.unit.sync_config.explain.explaining import drive_explanation
from tests.unit.sync_config.resolving import drive, streams_request

PREFIX = "7#"


class Comparison:
    """One case: everything is asked of the plan and of the explanations."""

    def __init__(self, case: Case, plan: CompiledPlan, counts: Counter[str]) -> None:
        self._case = case
        self._plan = plan
        self._counts = counts
        self._lookups: dict[str, list[str]] = {}

    def run(self) -> None:
        rows = [self._row(entry) for entry in self._case.rows if isinstance(entry["table"], str)]
        for connection in self._case.connections:
            explained = self._connection(connection)
            for row in rows:
                self._visibility(row, explained)

    def _row(self, entry: dict[str, Any]) -> RowExplanation:
        schema, _, name = entry["table"].rpartition(".")
        table = SourceTableName(schema or "public", name)
        row = {column: row_value(value, self._plan.value_format) for column, value in entry["row"].items()}
        evaluation = self._plan.row_evaluator(*table, list(row), PREFIX)(tuple(row.values()))
        for lookup in evaluation.lookups:
            self._lookups.setdefault(lookup.lookup, []).append(lookup.output)
        explained = explain_row(self._plan, table, row, PREFIX)
        self._compare_row(explained, evaluation, row)
        return explained

    def _compare_row(self, explained: RowExplanation, evaluation: RowEvaluation, row: Mapping[str, SyncValue]) -> None:
        where = f"{self._case.name}, row {row}"
        places = {
            (place.bucket, query.object_type, place.object_id, place.data)
            for query in explained.queries
            for place in query.places
            if place.bucket is not None
        }
        assert places == {(f.bucket, f.object_type, f.object_id, f.data) for f in evaluation.rows}, where
        assert set(explained.buckets) == {found.bucket for found in evaluation.rows}, where
        entries = {place.entry for lookup in explained.lookups for place in lookup.places if place.entry is not None}
        assert entries == {lookup.lookup for lookup in evaluation.lookups}, where
        outcomes = [part.outcome for part in (*explained.queries, *explained.lookups)]
        assert outcomes.count(RowOutcome.FAILED) == len(evaluation.errors), where
        assert all(query.origins for query in explained.queries), where
        assert all(part.reason or part.outcome is RowOutcome.PLACED for part in explained.queries), where
        assert str(explained)
        assert msgspec.json.decode(explained.to_json())["table"] == explained.table
        self._counts.update(f"row {outcome}" for outcome in outcomes)
        self._counts["rows"] += 1

    def _connection(self, entry: dict[str, Any]) -> ConnectionExplanation:
        connection = ConnectionData(entry["token"], entry.get("parameters", {}))
        request = streams_request(entry.get("subscriptions", ()), include_defaults=entry.get("include_defaults", True))
        query = self._plan.query_buckets(connection, request, PREFIX, buckets_max=1000, parameter_results_max=1000)
        resolved = drive(query, self._lookups)
        explained = drive_explanation(explain_connection(self._plan, connection, request, PREFIX), self._lookups)
        where = f"{self._case.name}, token {entry['token']}"
        assert [(b.name, b.priority) for b in explained.buckets] == [(b.name, b.priority) for b in resolved.buckets], (
            where
        )
        assert [len(b.reasons) for b in explained.buckets] == [len(b.subscriptions) for b in resolved.buckets], where
        assert set(explained.lookups) == resolved.lookups, where
        queriers = [q for stream in explained.streams for sub in stream.subscriptions for q in sub.queriers]
        assert {b.name for q in queriers for b in q.buckets} == {b.name for b in resolved.buckets}, where
        failed = sum(querier.outcome == "failed" for querier in queriers)
        assert failed == sum(len(stream.errors) for stream in resolved.streams), where
        for querier in queriers:
            assert bool(querier.buckets) == (querier.outcome == "buckets") == (not querier.reason), where
            self._counts[f"querier {querier.outcome}"] += 1
        assert str(explained)
        assert msgspec.json.decode(explained.to_json())["user_id"] == explained.user_id
        self._counts["connections"] += 1
        self._counts["buckets"] += len(resolved.buckets)
        return explained

    def _visibility(self, row: RowExplanation, connection: ConnectionExplanation) -> None:
        visibility = explain_visibility(row, connection)
        shared = set(row.buckets) & {bucket.name for bucket in connection.buckets}
        assert {way.bucket for way in visibility.ways} == shared, self._case.name
        assert bool(visibility.ways) != bool(visibility.obstacles), self._case.name
        assert str(visibility)
        assert visibility.to_json()
        self._counts["visible"] += visibility.visible
        for obstacle in visibility.obstacles:
            self._counts[f"obstacle {obstacle.kind}"] += 1
            for difference in obstacle.differences:
                self._counts[f"likeness {difference.likeness}"] += 1


def test_explanations_agree_with_the_plan_on_every_recorded_config() -> None:
    counts: Counter[str] = Counter()
    for case in load_cases():
        try:
            plan = compile_sync_config(case.config, engine=SqliteExpressionEngine())
        except SyncConfigError:
            counts["refused"] += 1
            continue
        counts["configs"] += 1
        Comparison(case, plan, counts).run()
    print(f"compared: {dict(sorted(counts.items()))}")
    expected = {
        *(f"row {outcome}" for outcome in RowOutcome),
        *(f"querier {outcome}" for outcome in ("buckets", "request_filter", "no_value", "nothing_found", "failed")),
        *(f"obstacle {kind}" for kind in ("no_query", "not_in_bucket", "not_subscribed", "no_buckets", "other_values")),
        *(f"likeness {likeness}" for likeness in ("none", "type")),
        "visible",
    }
    assert {name for name in expected if counts[name] == 0} == set()
    assert counts["configs"] > 600
    assert counts["rows"] > 1500
    assert counts["connections"] > 1000
