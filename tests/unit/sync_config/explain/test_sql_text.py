"""Expressions printed as SQL are read as the same expressions again."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from syncline.errors import SyncConfigError
from syncline.sync_config import compile_sync_config
from syncline.sync_config.compiler.expressions import Apply, ColumnValue, Computed, Expression, RequestValue, literal
from syncline.sync_config.explain import sql_text
from syncline.sync_config.explain.shown_value import name_sql, value_sql
from tests.conformance.corpus.cases import CORPUS


def bound(expression: str) -> Expression:
    """The expression as a result column of `t`."""
    query = json.dumps(f"SELECT id, ({expression}) AS v FROM t", ensure_ascii=False)
    plan = compile_sync_config(f"config: {{edition: 3}}\nstreams:\n  s:\n    query: {query}\n")
    (source,) = plan.bucket_sources
    value = source.queries[0].columns[1].value
    assert value is not None
    return value


@pytest.mark.parametrize(
    ("written", "printed"),
    [
        ("a = 1 AND (b OR c)", "t.a = 1 AND (t.b OR t.c)"),
        ("a AND b OR c", "t.a AND t.b OR t.c"),
        ("NOT (a AND b)", "NOT (t.a AND t.b)"),
        ("a != 'it''s'", "t.a != 'it''s'"),
        ("a > 3", "t.a > 3"),
        ("3 >= a", "t.a <= 3"),
        ("a - (b - c) * 2", "t.a - (t.b - t.c) * 2"),
        ("(a = b) = c", "(t.a = t.b) = t.c"),
        ("a IS NOT NULL", "t.a IS NOT NULL"),
        ("(a OR b) IS TRUE", "(t.a OR t.b) IS TRUE"),
        ("a NOT BETWEEN 1 AND 2.5", "t.a NOT BETWEEN 1 AND 2.5"),
        ("a IN ARRAY['x', NULL]", "t.a IN ARRAY['x', NULL]"),
        ("a NOT IN ARRAY[1, -2]", "t.a NOT IN ARRAY[1, -2]"),
        ("a ->> 'k' -> 2", "t.a ->> 'k' -> 2"),
        ("(a || b) ->> 'k'", "(t.a || t.b) ->> 'k'"),
        ("CASE a WHEN 1 THEN 'x' ELSE b END", "CASE t.a WHEN 1 THEN 'x' ELSE t.b END"),
        ("CASE WHEN a THEN 'x' END", "CASE WHEN t.a THEN 'x' END"),
        ("a::text", "CAST(t.a AS text)"),
        ("+a", "+t.a"),
        ("upper(a) || lower(b)", "upper(t.a) || lower(t.b)"),
        ('"Odd ""name" = "select"', 't."Odd ""name" = t."select"'),
        ("t.table_name()", "t.table_name()"),
    ],
)
def test_expressions_are_printed_as_a_person_would_write_them(written: str, printed: str) -> None:
    assert sql_text(bound(written), ["t"]) == printed


def test_values_of_the_connection_are_printed_by_their_functions() -> None:
    assert sql_text(RequestValue("auth", literal("sub"))) == "auth.user_id()"
    assert sql_text(RequestValue("connection", literal("a'b"))) == "connection.parameter('a''b')"
    assert sql_text(RequestValue("subscription", None)) == "subscription.parameters()"
    assert sql_text(RequestValue("token_parameters", literal("region"))) == "token_parameters.region"


def test_operators_of_sync_rules_are_printed_as_they_were_written() -> None:
    column = ColumnValue(0, "a")
    assert sql_text(Apply("!=", (column, literal(1))), ["t"]) == "t.a != 1"
    assert sql_text(Apply("->> unfixed", (column, literal("$.b"))), ["t"]) == "t.a ->> '$.b'"


def test_sql_for_sqlite_is_printed_with_its_inputs() -> None:
    computed = Computed("upper(?1) = '?1' || ?2", (ColumnValue(0, "a"), RequestValue("auth", literal("sub"))), max)
    assert sql_text(computed, ["t"]) == "upper(t.a) = '?1' || auth.user_id()"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e22, "10000000000000000000000.0"),
        (1.5e-7, "0.00000015"),
        (7.0, "7.0"),
        (2**70, "1180591620717411303424"),
        (b"\x00\xff", "x'00ff'"),
        ("\ud800", "'?'"),
        (float("nan"), "NaN"),
        (None, "NULL"),
    ],
)
def test_values_are_printed_exactly(value: Any, text: str) -> None:
    assert value_sql(value) == text


def test_names_are_quoted_where_they_have_to_be() -> None:
    names = ["plain_1", "Upper", "1st", "select", "", "ü", "a.b"]
    assert [name_sql(name) for name in names] == ["plain_1", '"Upper"', '"1st"', '"select"', '""', '"ü"', '"a.b"']


def test_every_recorded_expression_is_read_again_as_the_same() -> None:
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    seen: set[str] = set()
    for line in (CORPUS / "expressions.jsonl").read_text("utf-8").splitlines():
        written = json.loads(line)["expr"]
        if written in seen:
            continue
        seen.add(written)
        try:
            expression = bound(written)
        except SyncConfigError:
            counts["refused"] += 1
            continue
        printed = sql_text(expression, ["t"])
        counts[type(expression).__name__] += 1
        if bound(printed) != expression:
            wrong.append(f"{written}  was printed as  {printed}")
    print(f"compared: {dict(counts)}")
    assert wrong == []
    assert counts.total() - counts["refused"] > 350
