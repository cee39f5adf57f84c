"""The worked examples of sync rules (sync config reference, 8.4)."""

from __future__ import annotations

from typing import Any

from syncline.sync_config.problems import ProblemKind
from tests.unit.sync_config.legacy.rules import buckets_of_row, buckets_of_user, plan_of, warnings_of

LIST: dict[str, Any] = {"id": "L1", "owner_id": "u1", "region": "eu"}
OTHER_LIST: dict[str, Any] = {"id": "L2", "owner_id": "u2", "region": "us"}
TODO: dict[str, Any] = {"id": "T1", "list_id": "L1", "tags": '["a","b"]'}
MEMBER: dict[str, Any] = {"list_id": "L2", "user_id": "u1"}
ROWS = [("lists", LIST), ("lists", OTHER_LIST), ("members", MEMBER)]
OWN_LISTS = "SELECT id AS list_id FROM lists WHERE owner_id = request.user_id()"
TODOS = "SELECT * FROM todos WHERE todos.list_id = bucket.list_id"


def test_a_definition_without_parameters_is_one_bucket_for_everybody() -> None:
    plan = plan_of("SELECT * FROM cats")
    assert buckets_of_row(plan, "cats", {"id": "C1"}) == ["1#b[]"]
    assert buckets_of_user(plan) == ["5#b[]"]
    assert buckets_of_user(plan, token={}) == ["5#b[]"]


def test_the_user_id_selects_the_user_s_bucket() -> None:
    plan = plan_of("SELECT * FROM lists WHERE owner_id = bucket.user_id", "SELECT request.user_id() AS user_id")
    assert buckets_of_row(plan, "lists", LIST) == ['1#b["u1"]']
    assert buckets_of_row(plan, "lists", OTHER_LIST) == ['1#b["u2"]']
    assert buckets_of_user(plan) == ['5#b["u1"]']


def test_the_parameters_claim_is_read_by_token_parameters() -> None:
    plan = plan_of("SELECT * FROM lists WHERE region = bucket.r", "SELECT token_parameters.region AS r")
    assert buckets_of_row(plan, "lists", LIST) == ['1#b["eu"]']
    assert buckets_of_user(plan) == ['5#b["eu"]']
    assert buckets_of_user(plan, token={"sub": "u1", "parameters": "no object"}) == ["5#b[null]"]


def test_rows_of_a_table_select_buckets() -> None:
    plan = plan_of(TODOS, OWN_LISTS)
    assert buckets_of_row(plan, "todos", TODO) == ['1#b["L1"]']
    assert buckets_of_user(plan, ROWS) == ['5#b["L1"]']


def test_the_buckets_of_several_parameter_queries_are_united() -> None:
    plan = plan_of(TODOS, [OWN_LISTS, "SELECT list_id FROM members WHERE user_id = request.user_id()"])
    assert buckets_of_user(plan, ROWS) == ['5#b["L1"]', '5#b["L2"]']


def test_client_parameters_alone_select_buckets_with_a_warning() -> None:
    data, parameters = "SELECT * FROM t WHERE k = bucket.p", "SELECT request.parameters() ->> 'p' AS p"
    assert buckets_of_user(plan_of(data, parameters)) == ['5#b["x"]']
    assert warnings_of(data, parameters) == [ProblemKind.UNAUTHENTICATED_PARAMETERS]


def test_each_element_of_a_claim_selects_a_bucket() -> None:
    parameters = "SELECT value AS pid FROM json_each(request.jwt() -> 'pids')"
    plan = plan_of("SELECT * FROM t WHERE project = bucket.pid", parameters)
    assert buckets_of_row(plan, "t", {"id": "x", "project": 1}) == ["1#b[1]"]
    assert buckets_of_user(plan, token={"sub": "u1", "pids": [1, 2]}) == ["5#b[1]", "5#b[2]"]
    assert buckets_of_user(plan, token={"sub": "u1"}) == []


def test_a_row_stands_in_a_bucket_for_each_element_of_its_array() -> None:
    plan = plan_of("SELECT * FROM todos WHERE bucket.tag IN todos.tags", "SELECT request.jwt() ->> 'tag' AS tag")
    assert buckets_of_row(plan, "todos", TODO) == ['1#b["a"]', '1#b["b"]']
    assert buckets_of_row(plan, "todos", {**TODO, "tags": "[]"}) == []
