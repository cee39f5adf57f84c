"""Checks one case of `tests/fixtures/sync_config/cases`: problems of the config, buckets of the rows, and what connections see."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from syncline.errors import SyncConfigError
from syncline.storage.sqlite.expression_engine import SqliteExpressionEngine
from syncline.sync_config import CompiledPlan, compile_sync_config
from syncline.sync_config.plan import ConnectionData, ResolvedBuckets, RowEvaluation
from syncline.sync_config.problems import Problem
from syncline.sync_config.schema import SourceSchema
from tests.support.sync_config_cases import (
    Case,
    Connection,
    ExpectedBucket,
    ExpectedConnection,
    ExpectedProblem,
    ExpectedRow,
    Row,
)
from tests.unit.sync_config.resolving import drive, evaluate, streams_request

ENGINE = SqliteExpressionEngine()


def check_case(case: Case) -> None:
    """Assert everything that the case says."""
    plan, problems = compiled(case)
    check_problems(problems, case.problems)
    if plan is None:
        return
    rows = {row.identity: row for row in case.rows}
    assert len(rows) == len(case.rows), "two rows have the same id"
    check_rows(case, plan, case.rows)
    for connection in case.connections:
        check_connection(case, plan, rows.values(), connection, connection.expect)
    connections = {connection.name: connection for connection in case.connections}
    for step in case.then:
        for row in step.removed:
            del rows[row.identity]
        rows |= {row.identity: row for row in step.rows}
        check_rows(case, plan, step.rows)
        for after in step.connections:
            check_connection(case, plan, rows.values(), connections[after.name], after.expect)


# The config


def compiled(case: Case) -> tuple[CompiledPlan | None, Sequence[Problem]]:
    try:
        plan = compile_sync_config(
            case.config,
            schema=None if case.tables is None else schema_of(case.tables),
            engine=ENGINE if case.engine else None,
        )
    except SyncConfigError as exc:
        return None, exc.problems
    return plan, plan.warnings


def schema_of(tables: Mapping[str, Sequence[str]]) -> SourceSchema:
    """Types do not matter here: they are only shown."""
    return SourceSchema.of(
        {name if "." in name else f"public.{name}": dict.fromkeys(columns, "text") for name, columns in tables.items()}
    )


def check_problems(problems: Sequence[Problem], expected: Sequence[ExpectedProblem]) -> None:
    """All problems are expected ones, in this order; a config without expected problems has none."""
    found = [(str(p.kind), str(p.severity), p.line, p.column) for p in problems]
    assert found == [(str(e.kind), str(e.severity), e.line, e.column) for e in expected], "\n".join(map(str, problems))
    for problem, wanted in zip(problems, expected, strict=True):
        assert wanted.says in problem.message
        assert wanted.hint in problem.hint


# Rows


def evaluated(case: Case, plan: CompiledPlan, row: Row) -> RowEvaluation:
    return evaluate(plan, row.table, row.values, case.prefix)


def check_rows(case: Case, plan: CompiledPlan, rows: Iterable[Row]) -> None:
    for row in rows:
        evaluation = evaluated(case, plan, row)
        expected = row.expect or ExpectedRow()
        where = f"{row.table} {row.row}"
        assert len(evaluation.errors) == expected.errors, (where, evaluation.errors)
        if expected.within is not None:
            assert sorted(found.bucket for found in evaluation.rows) == sorted(expected.within), where
        for found in evaluation.rows:
            if expected.type is not None:
                assert found.object_type == expected.type, where
            if expected.id is not None:
                assert found.object_id == expected.id, where
            if expected.data is not None:
                assert typed(json.loads(found.data)) == typed(expected.data), where
        if expected.lookups is not None:
            stored = [(key_of(entry.lookup), json.loads(entry.output)) for entry in evaluation.lookups]
            wanted = [(entry.key, entry.outputs) for entry in expected.lookups]
            assert sorted(stored, key=repr) == sorted(wanted, key=repr), where


def key_of(lookup: str) -> list[Any]:
    """The key values in the name of an entry, without the name of its index."""
    return json.loads(lookup[lookup.index("[") :])


def typed(data: Mapping[str, Any]) -> list[tuple[str, str, Any]]:
    """A row for comparison: the order of the columns counts, and 1 is not 1.0."""
    return [(name, type(value).__name__, value) for name, value in data.items()]


# Connections


def check_connection(
    case: Case, plan: CompiledPlan, rows: Iterable[Row], connection: Connection, expected: ExpectedConnection
) -> None:
    evaluations = [evaluated(case, plan, row) for row in rows]
    resolved = resolve(case, plan, evaluations, connection)
    errors = [
        (stream.name, error.subscription, error.message) for stream in resolved.streams for error in stream.errors
    ]
    wanted = [(error.stream, error.subscription) for error in expected.errors]
    assert [error[:2] for error in errors] == wanted, (connection.name, errors)
    for error, (_, _, message) in zip(expected.errors, errors, strict=True):
        assert error.says in message
    if expected.buckets is not None:
        assert sorted(bucket.name for bucket in resolved.buckets) == sorted(expected.buckets), connection.name
    if isinstance(expected.buckets, dict):
        for name, bucket in expected.buckets.items():
            check_bucket(resolved, name, bucket)
    if expected.sees is not None:
        assert seen(evaluations, resolved, expected) == by_table(expected.sees), connection.name


def resolve(
    case: Case, plan: CompiledPlan, evaluations: Iterable[RowEvaluation], connection: Connection
) -> ResolvedBuckets:
    lookups: dict[str, list[str]] = {}
    for evaluation in evaluations:
        for entry in evaluation.lookups:
            lookups.setdefault(entry.lookup, []).append(entry.output)
    subscriptions = [
        {"stream": s.stream, "parameters": s.parameters, "override_priority": s.override_priority}
        for s in connection.subscriptions
    ]
    query = plan.query_buckets(
        ConnectionData(connection.token, connection.parameters),
        streams_request(subscriptions, include_defaults=connection.include_defaults),
        case.prefix,
        buckets_max=1000,
        parameter_results_max=1000,
    )
    return drive(query, lookups)


def check_bucket(resolved: ResolvedBuckets, name: str, expected: ExpectedBucket) -> None:
    (found,) = [bucket for bucket in resolved.buckets if bucket.name == name]
    if expected.priority is not None:
        assert found.priority == expected.priority, name
    if expected.reasons is not None:
        streams = [stream.name for stream in resolved.streams]
        reasons = [
            ("default", streams[reason.default]) if reason.default is not None else ("sub", reason.sub)
            for reason in found.subscriptions
        ]
        wanted = [
            ("default", reason.default) if reason.default is not None else ("sub", reason.sub)
            for reason in expected.reasons
        ]
        assert sorted(reasons, key=repr) == sorted(wanted, key=repr), name


def seen(
    evaluations: Iterable[RowEvaluation], resolved: ResolvedBuckets, expected: ExpectedConnection
) -> dict[str, list[str]]:
    """What a device would hold: the rows of all its buckets, each once; whole rows for the tables of which they are expected."""
    mine = {bucket.name for bucket in resolved.buckets}
    found: dict[str, set[str]] = {}
    for row in (row for evaluation in evaluations for row in evaluation.rows):
        if row.bucket in mine:
            whole = any(isinstance(item, dict) for item in (expected.sees or {}).get(row.object_type, ()))
            text = repr(typed(json.loads(row.data))) if whole else row.object_id
            found.setdefault(row.object_type, set()).add(text)
    return {table: sorted(rows) for table, rows in found.items()}


def by_table(sees: Mapping[str, Sequence[Any]]) -> dict[str, list[str]]:
    return {
        table: sorted(item if isinstance(item, str) else repr(typed(item)) for item in items)
        for table, items in sees.items()
    }
