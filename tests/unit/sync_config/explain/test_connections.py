"""Which buckets a user has, how many, and through which parameters."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from syncline.errors import LimitExceeded
from syncline.sync_config import compile_sync_config
from syncline.sync_config.explain import connections
from syncline.sync_config.explain.connection_explanation import ConnectionExplanation, QuerierExplanation
from tests.unit.sync_config.explain.explaining import connection_of, plan_of
from tests.unit.sync_config.resolving import Rows, resolve

MEMBERS = "SELECT * FROM todos WHERE list_id IN (SELECT id FROM lists WHERE owner_id = auth.user_id())"


def only_querier(explained: ConnectionExplanation) -> QuerierExplanation:
    ((querier,),) = [sub.queriers for stream in explained.streams for sub in stream.subscriptions]
    return querier


def test_a_value_of_the_token_is_named_as_the_parameter() -> None:
    explained = connection_of(plan_of("SELECT * FROM lists WHERE owner_id = auth.user_id()"), {"sub": "u1"})
    querier = only_querier(explained)
    assert [str(key) for key in querier.keys] == ["lists.owner_id = auth.user_id() = 'u1'"]
    assert [(bucket.name, bucket.contents) for bucket in querier.buckets] == [
        ('s|0["u1"]', ("lists where lists.owner_id = 'u1'",))
    ]
    assert [(bucket.name, bucket.priority, bucket.reasons) for bucket in explained.buckets] == [
        ('s|0["u1"]', 3, ("s, by default",))
    ]


def test_a_value_that_was_looked_up_names_the_lookup_and_the_rows_found() -> None:
    rows: Rows = [("lists", {"id": "L1", "owner_id": "u1"}), ("lists", {"id": "L2", "owner_id": "u2"})]
    explained = connection_of(plan_of(MEMBERS), {"sub": "u1"}, rows)
    querier = only_querier(explained)
    (step,) = querier.steps
    assert step.keys_from == ("auth.user_id()",)
    assert [answer.line(step.outputs) for answer in step.answers] == ["✓ lists.owner_id = 'u1' → lists.id: 'L1'"]
    assert querier.keys[0].through == ("lists.id found by lists.owner_id = auth.user_id()",)
    assert [bucket.name for bucket in querier.buckets] == ['s|0["L1"]']
    assert explained.lookups == ('lookup:0["u1"]',)


def test_a_chain_of_lookups_is_told_as_one_way() -> None:
    plan = plan_of(
        "SELECT * FROM todos WHERE list_id IN (SELECT id FROM lists WHERE NOT archived AND id IN "
        "(SELECT list_id FROM members WHERE user_id = auth.user_id()))"
    )
    rows: Rows = [("members", {"id": 1, "list_id": "L1", "user_id": "u1"}), ("lists", {"id": "L1", "archived": 0})]
    querier = only_querier(connection_of(plan, {"sub": "u1"}, rows))
    assert querier.keys[0].through == (
        "lists.id found by lists.id = (members.list_id found by members.user_id = auth.user_id()) where NOT lists.archived",
    )
    assert [bucket.name for bucket in querier.buckets] == ['s|0["L1"]']


def test_a_lookup_without_rows_is_the_reason() -> None:
    querier = only_querier(connection_of(plan_of(MEMBERS), {"sub": "u9"}))
    assert querier.outcome == "nothing_found"
    assert querier.reason == "nothing was found in the lookup: lists by lists.owner_id, gives lists.id"


def test_a_text_that_reads_as_a_number_and_finds_nothing_is_pointed_out() -> None:
    explained = connection_of(plan_of(MEMBERS), {"sub": "7"}, [("lists", {"id": "L1", "owner_id": 7})])
    assert "✗ lists.owner_id = '7' → no row ('7' is a text; it does not find the number)" in str(explained)


def test_a_condition_on_the_connection_that_does_not_hold_is_the_reason() -> None:
    plan = plan_of("SELECT * FROM cats WHERE auth.parameter('role') = 'admin'")
    querier = only_querier(connection_of(plan, {"sub": "u1", "role": "user"}))
    assert (querier.outcome, querier.reason) == ("request_filter", "auth.parameter('role') = 'admin' does not hold")
    assert only_querier(connection_of(plan, {"sub": "u1", "role": "admin"})).buckets != ()


def test_a_parameter_that_is_missing_is_the_reason() -> None:
    plan = plan_of("SELECT * FROM cats WHERE home = auth.parameter('home')")
    querier = only_querier(connection_of(plan, {"sub": "u1"}))
    assert (querier.outcome, querier.reason) == ("no_value", "auth.parameter('home') is NULL")


def test_values_that_exclude_one_another_are_the_reason() -> None:
    plan = plan_of("SELECT * FROM cats WHERE home = auth.parameter('a') AND home = auth.parameter('b')")
    querier = only_querier(connection_of(plan, {"sub": "u1", "a": "x", "b": "y"}))
    assert querier.reason == "these would have to be equal: auth.parameter('a') = 'x', auth.parameter('b') = 'y'"


def test_an_intersection_without_common_values_is_the_reason() -> None:
    plan = plan_of(f"{MEMBERS} AND list_id IN auth.parameter('lists')")
    querier = only_querier(
        connection_of(plan, {"sub": "u1", "lists": ["L2"]}, [("lists", {"id": "L1", "owner_id": "u1"})])
    )
    assert querier.outcome == "no_combination"
    assert querier.reason == "the values that were found do not agree with one another"


def test_an_expression_that_cannot_be_evaluated_is_told_without_its_values() -> None:
    plan = plan_of("SELECT * FROM cats WHERE (auth.parameter('meta') ->> 'k') = 'x'")
    querier = only_querier(connection_of(plan, {"sub": "u1", "meta": "{secret"}))
    assert querier.outcome == "failed"
    assert querier.reason.startswith("the query cannot be evaluated for this connection: ")
    assert "secret" not in querier.reason


def test_buckets_are_counted_per_stream_and_once_in_all() -> None:
    plan = compile_sync_config(
        "config: {edition: 3}\nstreams:\n"
        "  a:\n    auto_subscribe: true\n    query: SELECT * FROM cats WHERE owner = auth.user_id()\n"
        "  b:\n    priority: 1\n    query: SELECT * FROM cats WHERE owner = subscription.parameter('o')\n"
        "  c:\n    query: SELECT * FROM dogs\n"
    )
    subscriptions = [{"stream": "b", "parameters": {"o": who}} for who in ("u1", "u2")]
    explained = connection_of(plan, {"sub": "u1"}, subscriptions=[*subscriptions, {"stream": "nothing"}])
    assert {stream.name: stream.bucket_count for stream in explained.streams} == {"a": 1, "b": 2}
    assert [(bucket.name, bucket.priority, bucket.reasons) for bucket in explained.buckets] == [
        ('a|0["u1"]', 1, ("a, by default", "b, subscription 0")),
        ('a|0["u2"]', 1, ("b, subscription 1",)),
    ]
    assert explained.not_subscribed == ("c",)
    assert explained.unknown_streams == ("nothing",)


def test_a_user_with_too_many_buckets_is_still_explained() -> None:
    plan = plan_of("SELECT * FROM cats WHERE home IN auth.parameter('homes')")
    explained = connection_of(plan, {"sub": "u1", "homes": list(range(1500))})
    assert len(explained.buckets) == 1500
    assert explained.is_over_limit
    told = (
        "User u1: 1500 buckets of at most 1000, 1500 of at most 1000 parameter results\n  TOO MANY: the service refuses"
    )
    assert told in str(explained)
    assert "… and 1480 more buckets" in str(explained)
    assert not connection_of(plan, {"sub": "u1", "homes": list(range(1000))}).is_over_limit


@pytest.mark.parametrize(("homes", "refused"), [(1000, False), (1001, True)])
def test_a_user_with_one_bucket_but_too_many_parameter_results_is_told_so(homes: int, refused: bool) -> None:
    plan = plan_of("SELECT * FROM cats WHERE home IN auth.parameter('homes') AND home = auth.parameter('home')")
    token = {"sub": "u1", "homes": list(range(homes)), "home": 1}
    explained = connection_of(plan, token)
    assert (len(explained.buckets), explained.parameter_results, explained.is_over_limit) == (1, homes, refused)
    with pytest.raises(LimitExceeded) if refused else nullcontext():
        resolve(plan, (), token)


def test_there_is_an_end_to_what_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "EXPLAINED_MAX", 10)
    plan = plan_of("SELECT * FROM cats WHERE home IN auth.parameter('homes')")
    with pytest.raises(LimitExceeded):
        connection_of(plan, {"sub": "u1", "homes": list(range(11))})
