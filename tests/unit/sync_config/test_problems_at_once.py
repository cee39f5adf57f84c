"""A person sees everything that is wrong at the first try, in the right place, and what to write instead."""

from __future__ import annotations

import pytest

from syncline.errors import SyncConfigError
from syncline.sync_config import compile_sync_config
from syncline.sync_config.problems import Problem, ProblemKind
from syncline.sync_config.schema import SourceSchema

SCHEMA = SourceSchema.of(
    {
        "public.lists": {"id": "text", "owner_id": "text", "title": "text"},
        "public.todos": {"id": "text", "list_id": "text", "done": "integer"},
        "acme.orders": {"id": "text"},
        "public.ev_2025": {"id": "text", "kind": "text"},
        "public.ev_2026": {"id": "text", "place": "text"},
    }
)


def problems_of(query: str, more: str = "") -> list[Problem]:
    with pytest.raises(SyncConfigError) as refused:
        compile_sync_config(f"config: {{edition: 3}}\n{more}streams:\n  s:\n    query: |\n      {query}\n")
    return refused.value.problems


def warnings_of(query: str, more: str = "") -> list[Problem]:
    config = f"config: {{edition: 3}}\n{more}streams:\n  s:\n    query: |\n      {query}\n"
    return list(compile_sync_config(config, schema=SCHEMA).warnings)


def test_all_parts_of_one_query_tell_their_problems() -> None:
    query = (
        "SELECT nope(id) AS a, max(id) AS b, id FROM t WHERE coalesce(x, 1) = 1 AND owner != auth.user_id()"
        " AND -x = 2 GROUP BY id HAVING id > 1 ORDER BY id LIMIT 3"
    )
    found = problems_of(query)
    assert [problem.kind for problem in found] == [
        ProblemKind.UNKNOWN_FUNCTION,
        ProblemKind.UNKNOWN_FUNCTION,
        ProblemKind.UNKNOWN_FUNCTION,
        ProblemKind.UNARY_MINUS,
        *[ProblemKind.UNSUPPORTED_CLAUSE] * 4,
    ]
    assert all(problem.line == 5 for problem in found)
    assert [query[problem.column - 7 :].split()[0] for problem in found] == (
        ["nope(id)", "max(id)", "coalesce(x,", "-x", "GROUP", "HAVING", "ORDER", "LIMIT"]
    )


def test_a_source_that_cannot_be_read_is_told_without_follow_up_problems() -> None:
    found = problems_of("SELECT a.id FROM upper(x) AS a, (SELECT * FROM t) AS b WHERE a.id = b.id AND c.x = 1")
    assert [problem.kind for problem in found] == [ProblemKind.NOT_A_TABLE, ProblemKind.STAR_IN_SUBQUERY]


def test_a_broken_subquery_is_told_once_where_it_is_written() -> None:
    with_block = "with:\n  mine: SELECT nope(id) AS id FROM lists\n"
    (found,) = problems_of("SELECT * FROM t WHERE a IN mine AND b IN mine", with_block)
    assert (found.kind, found.line, found.column) == (ProblemKind.UNKNOWN_FUNCTION, 3, 16)


def test_an_unused_subquery_is_checked_too() -> None:
    found = problems_of("SELECT * FROM t", "with:\n  mine: SELECT * FROM lists\n")
    assert ProblemKind.STAR_IN_SUBQUERY in [problem.kind for problem in found]


@pytest.mark.parametrize(
    ("expression", "hint"),
    [
        ("coalesce(x, 1)", "ifnull"),
        ("substr(x, 1)", "substring"),
        ("now()", "Time cannot filter rows"),
        ("uper(x)", "Did you mean upper()?"),
        ("zzzzzz(x)", "Functions: base64, "),
    ],
)
def test_an_unknown_function_says_what_to_write(expression: str, hint: str) -> None:
    (problem,) = problems_of(f"SELECT id, {expression} AS v FROM t")
    assert hint in problem.hint


@pytest.mark.requirement(173)
def test_with_a_schema_unknown_tables_and_columns_are_warned_of_with_the_closest_name() -> None:
    found = warnings_of("SELECT id, titel FROM lists WHERE owner_id IN (SELECT list_id FROM todo WHERE don = 1)")
    assert [(problem.kind, problem.hint) for problem in found] == [
        (ProblemKind.UNKNOWN_COLUMN, "Did you mean title?"),
        (ProblemKind.UNKNOWN_TABLE, "Did you mean todos?"),
    ]
    assert [problem.column for problem in found] == [18, 74]


@pytest.mark.parametrize(
    ("query", "hint"),
    [
        ('SELECT * FROM "Lists"', "Did you mean lists?"),
        ("SELECT * FROM orders", "Did you mean acme.orders?"),
        ('SELECT * FROM "log_%"', "Create it"),
    ],
)
def test_a_table_in_other_letters_or_another_schema_is_found(query: str, hint: str) -> None:
    (problem,) = warnings_of(query)
    assert problem.kind is ProblemKind.UNKNOWN_TABLE
    assert problem.hint.startswith(hint)


def test_a_wildcard_has_the_columns_of_all_its_tables() -> None:
    assert warnings_of("SELECT id, kind, place FROM \"ev_%\" WHERE place = 'x'") == []
    (problem,) = warnings_of('SELECT id, plaice FROM "ev_%"')
    assert problem.hint == "Did you mean place?"


def test_a_subquery_named_like_a_table_stands_in_its_place() -> None:
    found = warnings_of("SELECT * FROM lists WHERE id IN todos", "with:\n  todos: SELECT list_id FROM public.todos\n")
    assert [problem.kind for problem in found] == [ProblemKind.SHADOWING_CTE]


def test_columns_of_subqueries_are_checked_where_they_are_written() -> None:
    found = warnings_of("SELECT * FROM lists WHERE id IN mine", "with:\n  mine: SELECT lst_id FROM todos\n")
    assert [(problem.kind, problem.line, problem.hint) for problem in found] == [
        (ProblemKind.UNKNOWN_COLUMN, 3, "Did you mean list_id?")
    ]


def test_a_hint_of_several_lines_is_indented_under_the_first() -> None:
    with pytest.raises(SyncConfigError) as refused:
        compile_sync_config("streams:\n  s:\n    query: SELECT * FROM t\n")
    text = str(refused.value.problems[0])
    assert "    hint: Write at the top:\n          config:\n            edition: 3" in text
