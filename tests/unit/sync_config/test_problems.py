"""How problems are told, and limits. What is refused, and where, is shown by `tests/fixtures/sync_config/cases/problems`."""

from __future__ import annotations

from contextlib import suppress

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from syncline.errors import SyncConfigError
from syncline.sync_config import compile_sync_config
from syncline.sync_config.problems import Problem, Severity
from syncline.sync_config.yaml_nodes import DEPTH_MAX, DOCUMENT_CHARS_MAX


def problems_of(config: str) -> list[Problem]:
    with pytest.raises(SyncConfigError) as raised:
        compile_sync_config(config)
    return [problem for problem in raised.value.problems if problem.severity is Severity.FATAL]


def problem_of(query: str) -> Problem:
    """The first fatal problem of a query; it stands in line 3, from column 1 on."""
    return problems_of(f"config: {{edition: 3}}\nstreams: {{a: {{query: '\n{query.replace(chr(39), chr(39) * 2)}'}}}}")[
        0
    ]


def test_a_problem_prints_its_line_with_a_caret() -> None:
    (problem,) = problems_of("config: {edition: 3}\nstreams: {a: {query: SELECT * FROM t LIMIT 5}}")
    lines = str(problem).splitlines()
    assert lines[1][lines[2].index("^") :].startswith("LIMIT")
    assert lines[3].startswith("    hint: ")


@pytest.mark.parametrize(
    ("query", "part"),
    [
        ("SELECT * FROM t WHERE " + "(" * 2000 + "a" + ")" * 2000, "nested deeper"),
        ("SELECT * FROM t WHERE a = " + "1 + " * 2000 + "1", "nested deeper"),
        ("SELECT * FROM t WHERE " + "NOT " * 2000 + "a", "nested deeper"),
        ("SELECT * FROM t WHERE a = " + "9" * 5000, "at most 300 characters"),
        ("SELECT * FROM t WHERE " + "a AND " * 10_000 + "a", "longer than 50000 characters"),
        (
            "SELECT * FROM t WHERE " + " AND ".join(f"(a = auth.parameter('{i}') OR b)" for i in range(7)),
            "alternatives",
        ),
        ("SELECT t.* FROM t, " + ", ".join(f"t{i}" for i in range(120)), "more than 100 sources"),
        ("SELECT * FROM t WHERE a IN " + "(SELECT a FROM t WHERE a IN " * 200 + "b" + ")" * 200, "nested deeper"),
    ],
)
def test_a_query_beyond_the_limits_is_refused(query: str, part: str) -> None:
    assert part in problem_of(query).message


def test_a_document_beyond_the_limits_is_refused() -> None:
    assert "nested deeper" in problems_of("[" * (DEPTH_MAX + 1))[0].message
    assert "longer than" in problems_of("#" * (DOCUMENT_CHARS_MAX + 1))[0].message


def test_more_bucket_sources_than_allowed_are_refused() -> None:
    queries = "".join(f"\n      - SELECT * FROM t WHERE a = auth.parameter('{i}')" for i in range(101))
    problems = problems_of(f"config: {{edition: 3}}\nstreams:\n  a:\n    queries:{queries}")
    assert "more than 100 bucket sources" in problems[0].message


def test_warnings_do_not_keep_a_config_from_being_used() -> None:
    plan = compile_sync_config(
        "config: {edition: 3}\n"
        "with: {unused: SELECT id FROM t}\n"
        "streams:\n"
        "  a: {query: SELECT * FROM t WHERE id = subscription.parameter('id')}\n"
        "  b: {query: SELECT * FROM t WHERE id = subscription.parameter('id'), accept_potentially_dangerous_queries: true}\n"
        "  c: {query: 'SELECT id, upper(a) FROM t'}\n"
    )
    assert [(warning.line, warning.message.split()[0]) for warning in plan.warnings] == [
        (2, "The"),
        (4, "This"),
        (6, "This"),
    ]


FRAGMENTS = (
    *("SELECT", "*", "FROM", "t", "WHERE", "a", "=", "auth.user_id()", "IN", "(", ")", "AND", "OR", "NOT", "'x'", "1"),
    *(",", "CASE", "WHEN", "THEN", "END", "->>", "&&", "json_each", ".", "JOIN", "ON", "AS", "::", "text", "-"),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=14) | st.text(max_size=20).map(lambda text: [text]))
def test_any_text_compiles_or_is_refused(fragments: list[str]) -> None:
    query = " ".join(["SELECT * FROM t WHERE", *fragments])
    document = yaml.safe_dump({"config": {"edition": 3}, "streams": {"a": {"query": query}}}, allow_unicode=True)
    with suppress(SyncConfigError):
        compile_sync_config(document)
