"""From connections to buckets by parameter queries (sync config reference, 8.1)."""

from __future__ import annotations

from typing import Any

import pytest

from syncline.sync_config.problems import ProblemKind
from tests.unit.sync_config.legacy.rules import (
    TOKEN,
    buckets_of_row,
    buckets_of_user,
    kinds_of,
    plan_of,
    problems_of,
    warnings_of,
)
from tests.unit.sync_config.resolving import resolve

DATA = "SELECT * FROM t WHERE k = bucket.d"
DEPOTS: list[tuple[str, dict[str, Any]]] = [
    ("depots", {"id": "D1", "owner": "u1", "open": 1, "tier": 1, "tags": '["cold","dry"]', "cap": 10.5}),
    ("depots", {"id": "D2", "owner": "u2", "open": 0, "tier": 2, "tags": '["dry"]', "cap": None}),
    ("depots", {"id": "D3", "owner": "u1", "open": None, "tier": None, "tags": "[]", "cap": 7.0}),
]


def of_query(parameters: str | list[str], token: dict[str, Any] = TOKEN, **keys: Any) -> list[str]:
    found = buckets_of_user(plan_of(DATA, parameters, **keys), DEPOTS, token)
    return [name.removeprefix("5#b") for name in found]


def test_null_is_a_value_like_others_for_a_parameter() -> None:
    assert of_query("SELECT request.jwt() ->> 'missing' AS d") == ["[null]"]
    assert of_query("SELECT tier AS d FROM depots WHERE owner = request.user_id()") == ["[1]", "[null]"]
    assert of_query("SELECT value AS d FROM json_each(request.jwt() -> 'a')", {"a": [None, 1]}) == ["[1]", "[null]"]


def test_no_row_stands_in_a_bucket_of_null() -> None:
    plan = plan_of(DATA, "SELECT request.jwt() ->> 'missing' AS d")
    assert buckets_of_row(plan, "t", {"id": "x", "k": None}) == []


def test_null_never_matches_a_row_of_a_parameter_query() -> None:
    rows: list[tuple[str, dict[str, Any]]] = [
        ("depots", {"id": "D1", "owner": None}),
        ("depots", {"id": "D2", "owner": b"u"}),
    ]
    plan = plan_of(DATA, "SELECT id AS d FROM depots WHERE owner = request.jwt() ->> 'missing'")
    assert buckets_of_user(plan, rows) == []
    assert [buckets_of_row(plan, *row) for row in rows] == [[], []]


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("owner = request.user_id()", ["D1", "D3"]),
        ("request.user_id() = depots.owner", ["D1", "D3"]),
        ("owner = request.user_id() AND open = 1", ["D1"]),
        ("owner = request.user_id() AND (open = 1 OR tier IS NULL)", ["D1", "D3"]),
        ("owner = request.user_id() OR id = request.user_id()", ["D1", "D3"]),
        ("(owner = request.user_id() AND open) OR (id = request.user_id() AND tier)", ["D1"]),
        ("owner = request.user_id() AND request.jwt() ->> 'role' = 'admin'", []),
        ("owner = request.user_id() AND token_parameters.region = 'eu'", ["D1", "D3"]),
        ("token_parameters.region = 'eu' OR request.jwt() ->> 'role' = 'admin'", ["D1", "D2", "D3"]),
        ("upper(owner) = upper(request.user_id())", ["D1", "D3"]),
        ("id IN request.jwt() -> 'depots'", ["D2"]),
        ("id IN request.jwt() -> 'depots' AND owner = request.user_id()", []),
        ("request.jwt() ->> 'tag' IN tags", ["D1", "D2"]),
        ("request.jwt() ->> 'tag' IN '[\"dry\"]'", ["D1", "D2", "D3"]),
        ("'dry' IN tags", ["D1", "D2"]),
        ("owner IS NOT NULL AND true", ["D1", "D2", "D3"]),
        ("NOT (open = 1)", ["D2", "D3"]),
        ("open != 1", ["D2"]),
        ("NOT (request.jwt() ->> 'role' = 'admin')", ["D1", "D2", "D3"]),
    ],
)
def test_rows_are_matched_by_what_stands_in_where(where: str, found: list[str]) -> None:
    token = {**TOKEN, "depots": ["D2", "D9", None], "tag": "dry"}
    assert of_query(f"SELECT id AS d FROM depots WHERE {where}", token) == [f'["{depot}"]' for depot in found]


def test_values_of_one_row_stay_together() -> None:
    data = "SELECT * FROM t WHERE a = bucket.d AND b = bucket.tier AND c = bucket.u"
    parameters = "SELECT id AS d, tier, request.user_id() AS u FROM depots WHERE open IS NOT NULL"
    assert buckets_of_user(plan_of(data, parameters), DEPOTS) == ['5#b["D1",1,"u1"]', '5#b["D2",2,"u1"]']


def test_queries_may_select_the_parameters_in_any_order() -> None:
    data = "SELECT * FROM t WHERE a = bucket.d AND b = bucket.u"
    plan = plan_of(data, ["SELECT id AS d, owner AS u FROM depots WHERE tier = 1", "SELECT 'u9' AS u, 'D9' AS d"])
    assert buckets_of_user(plan, DEPOTS) == ['5#b["D1","u1"]', '5#b["D9","u9"]']
    assert buckets_of_row(plan, "t", {"id": "x", "a": "D9", "b": "u9"}) == ['1#b["D9","u9"]']


def test_a_query_without_columns_is_a_gate_before_one_bucket() -> None:
    gate = plan_of("SELECT * FROM t", "SELECT FROM depots WHERE depots.owner = request.user_id() AND depots.open")
    assert buckets_of_user(gate, DEPOTS) == ["5#b[]"]
    assert buckets_of_user(gate, DEPOTS, {"sub": "u2"}) == []
    static = plan_of("SELECT * FROM t", "SELECT WHERE request.user_id() = 'u1'")
    assert buckets_of_user(static) == ["5#b[]"]
    assert buckets_of_user(static, token={"sub": "u2"}) == []


def test_elements_can_be_filtered_and_computed_with() -> None:
    token = {"sub": "u1", "a": ["x", "y"], "role": "admin"}
    each = "FROM json_each(request.jwt() -> 'a') AS e"
    assert of_query(f"SELECT e.value || request.user_id() AS d {each} WHERE value != 'y'", token) == ['["xu1"]']
    assert of_query(f"SELECT key AS d {each}", token) == ["[0]", "[1]"]
    assert of_query(f"SELECT value AS d {each} WHERE value = 'x' AND request.jwt() ->> 'role' = 'user'", token) == []


def test_the_element_of_a_closed_gate_is_never_evaluated() -> None:
    query = "SELECT value AS d FROM json_each(request.jwt() ->> 'sub') WHERE request.jwt() ->> 'role' = 'admin'"
    assert of_query(query) == []


def test_what_cannot_be_evaluated_is_an_error_of_its_definition_alone() -> None:
    plan = plan_of(DATA, "SELECT value AS d FROM json_each(request.user_id())")
    resolved = resolve(plan, [], TOKEN)
    assert [(stream.name, stream.is_default, len(stream.errors)) for stream in resolved.streams] == [("b", True, 1)]
    assert resolved.buckets == ()


def test_a_definition_can_be_left_out_and_asked_for_like_a_default_stream() -> None:
    plan = plan_of(DATA, "SELECT 'x' AS d", priority=1)
    assert resolve(plan, [], TOKEN, include_defaults=False).buckets == ()
    subscribed = resolve(plan, [], TOKEN, subscriptions=[{"stream": "b", "override_priority": 0}])
    assert [(bucket.priority, len(bucket.subscriptions)) for bucket in subscribed.buckets] == [(0, 2)]


def test_a_query_can_say_the_priority_of_its_buckets() -> None:
    plan = plan_of(
        DATA, ["SELECT 'x' AS d, 0 AS _priority", "SELECT 'y' AS d", "SELECT id AS d, 2 AS _priority FROM depots"]
    )
    found = {bucket.name: bucket.priority for bucket in resolve(plan, DEPOTS, TOKEN).buckets}
    assert found == {'5#b["x"]': 0, '5#b["y"]': 3, '5#b["D1"]': 2, '5#b["D2"]': 2, '5#b["D3"]': 2}
    override = resolve(plan, [], TOKEN, subscriptions=[{"stream": "b", "override_priority": 1}], include_defaults=False)
    assert {bucket.priority for bucket in override.buckets} == {1}


@pytest.mark.parametrize(
    ("parameters", "kind"),
    [
        ("SELECT id AS d FROM depots WHERE owner = request.user_id() OR open = 1", ProblemKind.OR_PARAMETERS_DIFFER),
        ("SELECT id AS d FROM depots WHERE NOT (owner = request.user_id())", ProblemKind.MATCH_NOT_ALLOWED_HERE),
        ("SELECT id AS d FROM depots WHERE owner != request.user_id()", ProblemKind.MIXED_SOURCES),
        ("SELECT id AS d FROM depots WHERE upper(owner = request.user_id())", ProblemKind.MIXED_SOURCES),
        ("SELECT upper(id) AS d FROM depots", ProblemKind.MATCH_NOT_ALLOWED_HERE),
        ("SELECT * FROM depots", ProblemKind.STAR_NOT_ALLOWED),
        ("SELECT request.user_id()", ProblemKind.UNNAMED_COLUMN),
        ("SELECT id AS d, owner AS d FROM depots", ProblemKind.DUPLICATE_NAME),
        ("SELECT d.id AS d FROM depots AS d", ProblemKind.UNSUPPORTED_EXPRESSION),
        ("SELECT id AS d FROM depots, crew", ProblemKind.SINGLE_TABLE_ONLY),
        ("SELECT id AS d FROM depots LEFT JOIN crew ON true", ProblemKind.SINGLE_TABLE_ONLY),
        ("SELECT id AS d FROM depots JOIN crew USING (id)", ProblemKind.SINGLE_TABLE_ONLY),
        ("SELECT id AS d FROM a.b.depots", ProblemKind.UNKNOWN_SOURCE),
        ("SELECT id AS d FROM depots WHERE id IN (SELECT id FROM crew)", ProblemKind.UNSUPPORTED_EXPRESSION),
        ("SELECT id AS d FROM depots WHERE id = bucket.x", ProblemKind.UNKNOWN_REFERENCE),
        ("SELECT request.user_id AS d", ProblemKind.UNKNOWN_REFERENCE),
        ("SELECT name AS d", ProblemKind.UNKNOWN_REFERENCE),
        ("SELECT auth.user_id() AS d", ProblemKind.UNKNOWN_FUNCTION),
        ("SELECT request.nope() AS d", ProblemKind.UNKNOWN_FUNCTION),
        ("SELECT request.parameter() AS d", ProblemKind.ARGUMENT_COUNT),
        ("SELECT id AS d FROM depots WHERE id = request.parameter(owner)", ProblemKind.MIXED_SOURCES),
        ("SELECT id AS d FROM json_each(request.jwt())", ProblemKind.UNKNOWN_REFERENCE),
        ("SELECT value AS d FROM json_each()", ProblemKind.ARGUMENT_COUNT),
        ("SELECT value AS d FROM json_tree('[]')", ProblemKind.UNKNOWN_FUNCTION),
        ("SELECT id AS d, tier AS _priority FROM depots", ProblemKind.BAD_PRIORITY),
        ("SELECT 'x' AS d, 4 AS _priority", ProblemKind.BAD_PRIORITY),
        ("SELECT DISTINCT id AS d FROM depots", ProblemKind.UNSUPPORTED_CLAUSE),
        ("SELECT id AS d FROM depots; SELECT 1", ProblemKind.MULTIPLE_STATEMENTS),
        (
            "SELECT id AS d FROM depots WHERE id IN request.jwt() -> 'a' AND request.user_id() IN tags",
            ProblemKind.SEVERAL_ARRAY_MATCHES,
        ),
    ],
)
def test_what_a_parameter_query_cannot_do_is_refused(parameters: str, kind: ProblemKind) -> None:
    assert kinds_of(DATA, parameters) == [kind]


def test_an_or_of_many_alternatives_is_refused() -> None:
    pair = "(a = request.user_id() OR b = request.user_id())"
    assert kinds_of(DATA, f"SELECT id AS d FROM t WHERE {' AND '.join([pair] * 7)}") == [ProblemKind.TOO_MANY_TERMS]
    assert plan_of(DATA, f"SELECT id AS d FROM t WHERE {' AND '.join([pair] * 6)}").warnings == ()


def test_all_parameter_queries_must_select_the_same_parameters() -> None:
    (problem,) = problems_of(DATA, ["SELECT id AS d FROM depots", "SELECT id AS e FROM depots"])
    assert (problem.kind, problem.line) == (ProblemKind.PARAMETER_SETS_DIFFER, 5)
    assert problem.hint == "The first one selects d."


def test_the_priority_can_only_be_given_once() -> None:
    assert kinds_of(DATA, "SELECT 'x' AS d, 1 AS _priority", priority=2) == [ProblemKind.PRIORITY_TWICE]


def test_priority_is_a_parameter_like_others_of_json_each() -> None:
    parameters = "SELECT value AS d, 1 AS _priority FROM json_each('[1]')"
    assert kinds_of(DATA, parameters) == [ProblemKind.UNUSED_BUCKET_PARAMETER]


@pytest.mark.parametrize(
    ("parameters", "warned"),
    [
        ("SELECT user_parameters.x AS d", True),
        ("SELECT request.parameter('x') AS d WHERE request.jwt() ->> 'role' = 'admin'", True),
        ("SELECT 'fixed' AS d WHERE request.parameters() ->> 'x'", True),
        ("SELECT request.user_id() AS d WHERE request.parameters() ->> 'x'", False),
        ("SELECT ifnull(user_parameters.x, request.user_id()) AS d", False),
        ("SELECT id AS d FROM depots WHERE owner = user_parameters.x", True),
        ("SELECT id AS d FROM depots WHERE owner = user_parameters.x AND region = token_parameters.region", False),
        ("SELECT id AS d FROM depots", False),
        ("SELECT value AS d FROM json_each(request.parameters() -> 'ids')", True),
        ("SELECT value AS d FROM json_each(request.jwt() -> 'ids') WHERE request.parameters() ->> 'x'", False),
    ],
)
def test_values_of_the_client_alone_are_warned_of(parameters: str, *, warned: bool) -> None:
    assert warnings_of(DATA, parameters) == [ProblemKind.UNAUTHENTICATED_PARAMETERS] * warned
    assert warnings_of(DATA, parameters, accept_potentially_dangerous_queries=True) == []


def test_a_gate_on_the_client_s_word_is_warned_of() -> None:
    everything = "SELECT * FROM t"
    assert warnings_of(everything, "SELECT WHERE user_parameters.x = 1") == [ProblemKind.UNAUTHENTICATED_PARAMETERS]
    assert warnings_of(everything, "SELECT WHERE user_parameters.x = 1 AND request.user_id() = 'u1'") == []
