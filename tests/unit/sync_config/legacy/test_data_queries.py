"""Rows in buckets, and what clients get of them, by data queries (sync config reference, 8.2)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from syncline.sync_config.plan import TablePattern
from syncline.sync_config.problems import ProblemKind
from tests.unit.sync_config.legacy.rules import buckets_of_row, kinds_of, plan_of, problems_of, warnings_of
from tests.unit.sync_config.resolving import evaluate

USER = "SELECT request.user_id() AS u"
DEPOT: dict[str, Any] = {"id": "D1", "owner": "u1", "region": "eu", "open": 1, "tags": '["u1","x"]', "n": None}


def output_of(select: str, row: dict[str, Any], table: str = "t") -> dict[str, Any]:
    evaluation = evaluate(plan_of(select), table, row)
    assert not evaluation.errors
    (found,) = evaluation.rows
    data: dict[str, Any] = json.loads(found.data)
    return data


def test_the_star_fills_in_what_is_not_set_and_leaves_out_hidden_columns() -> None:
    row = {"id": 1, "name": "a", "_hidden": 2, "blob": b"x"}
    assert output_of("SELECT * FROM t", row) == {"id": 1, "name": "a"}
    assert list(output_of("SELECT 'z' AS name, t.* FROM t", row).items()) == [("name", "z"), ("id", 1)]
    assert output_of("SELECT *, upper(name) AS name, _hidden FROM t", row) == {"id": 1, "name": "A", "_hidden": 2}
    assert output_of("SELECT id, missing FROM t", row) == {"id": 1}


def test_comparisons_with_null_are_null_but_not_is_two_valued() -> None:
    row = {"id": 1, "n": None}
    assert buckets_of_row(plan_of("SELECT id FROM t WHERE n != 1"), "t", row) == []
    assert buckets_of_row(plan_of("SELECT id FROM t WHERE NOT (n = 1)"), "t", row) == ["1#b[]"]


@pytest.mark.parametrize(
    ("where", "values"),
    [
        ("owner = bucket.u", ["u1"]),
        ("bucket.u = depots.owner", ["u1"]),
        ("upper(owner) = bucket.u", ["U1"]),
        ("owner = bucket.u AND open = 1 AND true", ["u1"]),
        ("owner = bucket.u AND open = 2", []),
        ("owner = bucket.u OR region = bucket.u", ["eu", "u1"]),
        ("(owner = bucket.u AND open = 1) OR (owner = bucket.u AND open = 2)", ["u1"]),
        ("(owner = bucket.u AND open = 2) OR (owner = bucket.u AND open IS NULL)", []),
        ("bucket.u IN tags", ["u1", "x"]),
        ("owner = bucket.u OR bucket.u IN tags", ["u1", "x"]),
        ('bucket.u IN \'["a","b"]\'', ["a", "b"]),
        ("bucket.u = 'u7'", ["u7"]),
        ("n = bucket.u", []),
    ],
)
def test_parameters_are_matched_by_what_stands_in_where(where: str, values: list[str]) -> None:
    plan = plan_of(f"SELECT id FROM depots WHERE {where}", USER)
    assert buckets_of_row(plan, "depots", DEPOT) == [f'1#b["{value}"]' for value in values]


def test_a_parameter_alone_must_be_true() -> None:
    assert buckets_of_row(plan_of("SELECT id FROM depots WHERE bucket.u", USER), "depots", DEPOT) == ["1#b[1]"]


def test_of_two_matches_of_a_parameter_the_first_says_the_bucket() -> None:
    both = plan_of("SELECT id FROM depots WHERE region = bucket.u AND owner = bucket.u", USER)
    assert buckets_of_row(both, "depots", DEPOT) == ['1#b["eu"]']
    assert buckets_of_row(both, "depots", {**DEPOT, "owner": None}) == []
    array = plan_of("SELECT id FROM depots WHERE owner = bucket.u AND bucket.u IN tags", USER)
    assert buckets_of_row(array, "depots", DEPOT) == ['1#b["u1"]']
    assert buckets_of_row(array, "depots", {**DEPOT, "tags": "[]"}) == []


def test_values_stand_in_the_order_of_the_parameters() -> None:
    parameters = "SELECT request.user_id() AS u, request.jwt() ->> 'r' AS r"
    plan = plan_of("SELECT id FROM depots WHERE region = bucket.r AND owner = bucket.u", parameters)
    assert buckets_of_row(plan, "depots", DEPOT) == ['1#b["u1","eu"]']


def test_all_data_queries_fill_the_same_bucket_under_their_names() -> None:
    plan = plan_of(["SELECT id FROM depots", "SELECT id FROM depots AS open_ones WHERE open", "SELECT id FROM crew"])
    rows = [(row.bucket, row.object_type) for row in evaluate(plan, "depots", DEPOT, "1#").rows]
    assert rows == [("1#b[]", "depots"), ("1#b[]", "open_ones")]
    assert buckets_of_row(plan, "crew", {"id": 1}) == ["1#b[]"]


def test_a_wildcard_gives_the_table_s_own_name_and_its_suffix() -> None:
    plan = plan_of("SELECT id, _table_suffix AS s, l._table_suffix || '!' AS t FROM \"log_%\" AS l")
    (row,) = evaluate(plan, "log_a", {"id": 1}).rows
    assert (row.object_type, row.data) == ("l", '{"id":1,"s":"a","t":"a!"}')
    (row,) = evaluate(plan_of('SELECT * FROM "log_%"'), "log_b", {"id": 1}).rows
    assert row.object_type == "log_b"
    assert output_of("SELECT id, _table_suffix FROM t", {"id": 1, "_table_suffix": "a column"}) == {
        "id": 1,
        "_table_suffix": "a column",
    }


def test_a_table_of_another_connection_never_matches() -> None:
    plan = plan_of(['SELECT * FROM "other.public".t', 'SELECT * FROM "default.acme".t'])
    assert plan.table_patterns == (TablePattern("public", "t", "other"), TablePattern("acme", "t"))
    assert buckets_of_row(plan, "t", {"id": 1}) == []
    assert buckets_of_row(plan, "acme.t", {"id": 1}) == ["1#b[]"]


def test_json_paths_are_split_at_dots_unless_the_option_says_otherwise() -> None:
    select = "SELECT id, x ->> 'a.b' AS v, json_extract(x, '$.n') AS n FROM t"
    row = {"id": 1, "x": '{"a":{"b":1},"a.b":2,"n":null}'}
    assert output_of(select, row) == {"id": 1, "v": 1, "n": "null"}
    (fixed,) = evaluate(plan_of(select, options={"fixed_json_extract": True}), "t", row).rows
    assert json.loads(fixed.data) == {"id": 1, "v": 2, "n": None}


def test_numbers_of_arguments_are_not_checked_and_constants_are_doubles() -> None:
    select = "SELECT id, upper(a, 1) AS u, ifnull(a) AS i, 9007199254740993 AS big, -5 AS m FROM t"
    expected = {"id": 1, "u": "X", "i": "x", "big": 9007199254740992, "m": -5}
    assert output_of(select, {"id": 1, "a": "x"}) == expected


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ("SELECT id FROM depots WHERE open = 1", ProblemKind.UNUSED_BUCKET_PARAMETER),
        ("SELECT id FROM depots WHERE owner = bucket.nope", ProblemKind.UNUSED_BUCKET_PARAMETER),
        ("SELECT id FROM depots WHERE owner = bucket.u AND id = bucket.nope", ProblemKind.UNKNOWN_REFERENCE),
        ("SELECT id FROM depots WHERE owner = bucket.u OR open", ProblemKind.OR_PARAMETERS_DIFFER),
        ("SELECT id FROM depots WHERE owner != bucket.u", ProblemKind.BUCKET_PARAMETER_IN_EXPRESSION),
        ("SELECT id FROM depots WHERE owner = upper(bucket.u)", ProblemKind.BUCKET_PARAMETER_IN_EXPRESSION),
        ("SELECT id FROM depots WHERE bucket.u = bucket.u", ProblemKind.BUCKET_PARAMETER_IN_EXPRESSION),
        ("SELECT id FROM depots WHERE bucket.u IN bucket.u", ProblemKind.BUCKET_PARAMETER_RIGHT_OF_IN),
        ("SELECT id FROM depots WHERE tags IN bucket.u", ProblemKind.BUCKET_PARAMETER_RIGHT_OF_IN),
        ("SELECT id FROM depots WHERE NOT (owner = bucket.u)", ProblemKind.MATCH_NOT_ALLOWED_HERE),
        ("SELECT id FROM depots WHERE NOT bucket.u", ProblemKind.MATCH_NOT_ALLOWED_HERE),
        ("SELECT id, bucket.u AS u FROM depots WHERE owner = bucket.u", ProblemKind.MATCH_NOT_ALLOWED_HERE),
        ("SELECT id, owner = bucket.u AS u FROM depots", ProblemKind.BUCKET_PARAMETER_IN_EXPRESSION),
        ("SELECT id FROM depots WHERE owner = request.user_id()", ProblemKind.UNKNOWN_FUNCTION),
        ("SELECT id FROM depots WHERE bucket.u IN a AND bucket.u IN b", ProblemKind.SEVERAL_ARRAY_MATCHES),
    ],
)
def test_what_cannot_be_done_with_a_parameter_is_refused(data: str, kind: ProblemKind) -> None:
    assert kinds_of(data, USER) == [kind]


@pytest.mark.parametrize(
    ("expression", "kind"),
    [
        ("CASE WHEN a THEN 1 END", ProblemKind.UNSUPPORTED_EXPRESSION),
        ("a BETWEEN 1 AND 2", ProblemKind.UNSUPPORTED_EXPRESSION),
        ("a IN ARRAY[1]", ProblemKind.UNSUPPORTED_EXPRESSION),
        ("a NOT IN ROW(1)", ProblemKind.UNSUPPORTED_EXPRESSION),
        ("a IN (1, 2)", ProblemKind.UNSUPPORTED_EXPRESSION),
        ("a IN '{\"a\":1}'", ProblemKind.UNSUPPORTED_EXPRESSION),
        ("a IN 'x'", ProblemKind.UNSUPPORTED_EXPRESSION),
        ("a IN (SELECT id FROM t)", ProblemKind.UNSUPPORTED_EXPRESSION),
        ("a -> 1", ProblemKind.UNSUPPORTED_EXPRESSION),
        ("a ->> b", ProblemKind.UNSUPPORTED_EXPRESSION),
        ("a NOT IN '[1]'", ProblemKind.UNSUPPORTED_OPERATOR),
        ("a IS TRUE", ProblemKind.UNSUPPORTED_OPERATOR),
        ("a IS NOT FALSE", ProblemKind.UNSUPPORTED_OPERATOR),
        ("+ a", ProblemKind.UNSUPPORTED_OPERATOR),
        ("- a", ProblemKind.UNSUPPORTED_OPERATOR),
        ("a % 2", ProblemKind.UNSUPPORTED_OPERATOR),
        ("a & 2", ProblemKind.UNSUPPORTED_OPERATOR),
        ("a << 2", ProblemKind.UNSUPPORTED_OPERATOR),
        ("a && '[1]'", ProblemKind.UNSUPPORTED_OPERATOR),
        ("a LIKE 'x'", ProblemKind.UNSUPPORTED_LIKE),
        ("a::int4", ProblemKind.BAD_CAST),
        ("nope(a)", ProblemKind.UNKNOWN_FUNCTION),
        ("t.schema()", ProblemKind.UNKNOWN_FUNCTION),
        ("other.a", ProblemKind.UNKNOWN_REFERENCE),
        ("token_parameters.a", ProblemKind.UNKNOWN_REFERENCE),
    ],
)
def test_the_language_is_smaller_than_that_of_streams(expression: str, kind: ProblemKind) -> None:
    (problem,) = problems_of(f"SELECT id, {expression} AS v FROM t")
    assert problem.kind is kind
    assert problem.line == 4


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ("SELECT region FROM t", ProblemKind.ID_MISSING),
        ("SELECT FROM t", ProblemKind.ID_MISSING),
        ("SELECT id, upper(a) FROM t", ProblemKind.UNNAMED_COLUMN),
        ("SELECT other.* FROM t", ProblemKind.UNKNOWN_REFERENCE),
        ("SELECT 1 AS id", ProblemKind.SINGLE_TABLE_ONLY),
        ("SELECT t.id FROM t JOIN s ON s.id = t.id", ProblemKind.SINGLE_TABLE_ONLY),
        ("SELECT * FROM (SELECT * FROM t) AS x", ProblemKind.SINGLE_TABLE_ONLY),
        ("SELECT value AS id FROM json_each('[1]')", ProblemKind.NOT_A_TABLE),
        ("SELECT id FROM t ORDER BY id", ProblemKind.UNSUPPORTED_CLAUSE),
        ("INSERT INTO t VALUES (1)", ProblemKind.NOT_A_SELECT),
        ("NOT SQL", ProblemKind.SQL_SYNTAX),
        ("", ProblemKind.SQL_SYNTAX),
    ],
)
def test_what_is_no_query_of_one_table_with_ids_is_refused(data: str, kind: ProblemKind) -> None:
    assert kinds_of(data) == [kind]


def test_problems_of_all_queries_are_told_at_once() -> None:
    kinds = kinds_of(["SELECT a FROM t", "SELECT id FROM t WHERE k = bucket.d"], ["SELECT", "SELECT nope() AS d"])
    assert kinds == [ProblemKind.UNKNOWN_FUNCTION, ProblemKind.ID_MISSING]


def test_names_with_unquoted_capitals_are_warned_of() -> None:
    folded = ProblemKind.FOLDED_IDENTIFIER
    assert warnings_of('SELECT ID, Region, UPPER("Name") AS Area, CAST(a AS TEXT) AS t FROM t') == [folded, folded]
    assert warnings_of("SELECT id FROM t WHERE k = bucket.D", "SELECT id AS D FROM t") == [folded, folded]
    assert warnings_of('SELECT id, a AS "Area" FROM t WHERE a IS NOT NULL AND NOT b') == []
