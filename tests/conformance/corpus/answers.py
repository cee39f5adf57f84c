"""Our answer to a case, and what it differs in from the recorded one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from syncline.errors import SyncConfigError
from syncline.protocol.lines import SubscriptionReason
from syncline.storage.sqlite.expression_engine import SqliteExpressionEngine
from syncline.sync_config import CompiledPlan, compile_sync_config
from syncline.sync_config.plan import ConnectionData, ResolvedBuckets, RowEvaluation
from syncline.sync_config.problems import Problem, Severity
from syncline.sync_config.schema import SourceSchema
from tests.conformance.corpus.cases import Case
from tests.conformance.corpus.facts import Facts, missing_facts, renamed_equal, split_bucket
from tests.conformance.corpus.values import row_value, typed, untagged
from tests.unit.sync_config.resolving import drive, streams_request

__all__ = ["differences_of"]

_FINER: dict[str, set[str]] = {
    "ambiguous_column": {"no_table_column"},
    "columns_from_several_tables": {"subquery_position"},
    "expected_map": {"yaml_syntax"},  # for an alias
    "expected_number": {"unknown_edition"},
    "expected_scalar": {"expected_string"},
    "internal_crash": {"empty_config", "expected_string", "expected_list"},
    "missing_key": {"conflicting_keys"},
    "sql_syntax": {"bind_parameter", "expected_string", "unsupported_operator"},
}
"""Recorded kind -> kinds of ours that say the same more precisely."""


def differences_of(case: Case) -> list[str]:
    """What our answer to a case differs in; empty where it is the recorded one."""
    schema = None if case.tables is None else SourceSchema.of(case.tables)
    try:
        plan = compile_sync_config(case.config, schema=schema, engine=SqliteExpressionEngine())
    except SyncConfigError as exc:
        if case.expect["valid"]:
            return [f"refused: {exc.problems[0]}"]
        return list(_fatal_differences(case, exc.problems))
    if not case.expect["valid"]:
        return ["not refused"]
    found = list(_warning_differences(case, plan.warnings))
    if "row_buckets" in case.expect and not case.expect.get("engine_unsupported"):
        found += _Answers(case, plan).differences()
    return found


def _fatal_differences(case: Case, problems: list[Problem]) -> Iterator[str]:
    first = next(error for error in case.expect["errors"] if error["level"] == "fatal")
    ours = {(str(p.kind), p.line) for p in problems if p.severity is Severity.FATAL}
    kinds = {first["kind"], *_FINER.get(first["kind"], ())}
    if first["line"] is not None and not any((kind, first["line"]) in ours for kind in kinds):
        yield f"first problem is {first['kind']} in line {first['line']}, ours: {sorted(ours)}"


def _warning_differences(case: Case, problems: tuple[Problem, ...]) -> Iterator[str]:
    theirs = sorted({error["kind"] for error in case.expect["errors"]})
    ours = sorted({str(problem.kind) for problem in problems})
    if theirs != ours:
        yield f"warnings are {theirs}, ours: {ours}"


class _Answers:
    """Rows and connections of one case, evaluated here and as recorded."""

    def __init__(self, case: Case, plan: CompiledPlan) -> None:
        self._case = case
        self._plan = plan
        self._lookups: dict[str, list[str]] = {}
        self._ours: Facts = set()
        self._theirs: Facts = set()

    def differences(self) -> list[str]:
        """Everything that differs."""
        found: list[str] = []
        for index, entry in enumerate(self._case.rows):
            found += self._compare_row(index, entry)
        for index, connection in enumerate(self._case.connections):
            found += self._compare_connection(index, connection)
        return found if renamed_equal(self._ours, self._theirs) else [*found, *missing_facts(self._ours, self._theirs)]

    def _compare_row(self, index: int, entry: dict[str, Any]) -> Iterator[str]:
        place, recorded = f"row {index}", self._case.expect["row_buckets"][index]
        for row in recorded:
            bucket, data = split_bucket(row["bucket"]), typed(untagged(row["data"]))
            self._theirs.add((place, bucket, row["object_type"], row["object_id"], data))
        evaluation = self._evaluate(entry)
        for lookup in evaluation.lookups:
            self._lookups.setdefault(lookup.lookup, []).append(lookup.output)
        for row in evaluation.rows:
            self._ours.add(
                (place, split_bucket(row.bucket), row.object_type, row.object_id, typed(json.loads(row.data)))
            )
        errors = self._case.expect.get("row_errors")
        if bool(evaluation.errors) != bool(errors and errors[index]):
            yield f"{place}: {errors and errors[index]} errors, ours {evaluation.errors}"

    def _evaluate(self, entry: dict[str, Any]) -> RowEvaluation:
        table = entry["table"]
        if isinstance(table, str):
            schema, _, name = table.rpartition(".")
            table = {"schema": schema or "public", "name": name}
        if table.get("connection", "default") != "default":
            return RowEvaluation([], [], [])  # no such row ever reaches the evaluator
        values = {column: row_value(value, self._plan.value_format) for column, value in entry["row"].items()}
        evaluator = self._plan.row_evaluator(table.get("schema", "public"), table["name"], list(values), "")
        return evaluator(tuple(values.values()))

    def _compare_connection(self, index: int, connection: dict[str, Any]) -> Iterator[str]:
        place, expect = f"connection {index}", self._case.expect
        for bucket in expect["connection_buckets"][index]:
            reasons = sorted(f"{kind} {of}" for reason in bucket["reasons"] for kind, of in reason.items())
            self._theirs.add((place, split_bucket(bucket["bucket"]), bucket["priority"], tuple(reasons)))
        resolved = self._resolve(connection)
        names = [stream.name for stream in resolved.streams]
        for found in resolved.buckets:
            reasons = sorted(_reason(reason, names) for reason in found.subscriptions)
            self._ours.add((place, split_bucket(found.name), found.priority, tuple(reasons)))
        recorded = {(error["stream"], error["sub"]) for error in expect.get("stream_errors", [[]] * (index + 1))[index]}
        errors = {
            (stream.name, error.subscription if isinstance(error.subscription, int) else None)
            for stream in resolved.streams
            for error in stream.errors
        }
        if recorded != errors:
            yield f"{place}: errors of {sorted(recorded, key=repr)}, ours of {sorted(errors, key=repr)}"

    def _resolve(self, connection: dict[str, Any]) -> ResolvedBuckets:
        subscriptions = connection.get("subscriptions", ())
        query = self._plan.query_buckets(
            ConnectionData(connection["token"], connection.get("parameters", {})),
            streams_request(subscriptions, include_defaults=connection.get("include_defaults", True)),
            "",
            buckets_max=1000,
            parameter_results_max=1000,
        )
        return drive(query, self._lookups)


def _reason(reason: SubscriptionReason, names: list[str]) -> str:
    return f"sub {reason.sub}" if reason.default is None else f"default {names[reason.default]}"
