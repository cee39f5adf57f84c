"""From connections to buckets: reasons, priorities, errors, limits, and which lookups are asked for."""

from __future__ import annotations

import pytest

from syncline.errors import LimitExceeded
from syncline.protocol.bucket_names import SyncValue
from syncline.protocol.lines import SubscriptionReason
from syncline.sync_config import compile_sync_config
from syncline.sync_config.plan import ConnectionData, TablePattern
from tests.unit.sync_config.resolving import evaluate, lookups_of, resolve

PLAN = compile_sync_config(
    """
config: {edition: 3}
streams:
  mine:
    auto_subscribe: true
    priority: 2
    query: SELECT * FROM lists WHERE owner_id = auth.user_id()
  todos:
    query: SELECT * FROM todos WHERE list_id IN (SELECT id FROM lists WHERE owner_id = auth.user_id())
  by_list:
    query: SELECT * FROM notes WHERE list_id = subscription.parameter('list')
  by_lists:
    query: SELECT * FROM files WHERE list_id IN subscription.parameter('lists')
  by_whole:
    query: SELECT * FROM docs WHERE list_id = subscription.parameters()
"""
)
Row = tuple[str, dict[str, SyncValue]]
LISTS: list[Row] = [("lists", {"id": f"L{i}", "owner_id": "u1"}) for i in range(5)]
USER = {"sub": "u1"}


def test_an_explicit_subscription_of_a_default_stream_adds_its_reason_and_the_lower_priority() -> None:
    resolved = resolve(PLAN, [], USER, subscriptions=[{"stream": "mine", "override_priority": 0}])
    (bucket,) = resolved.buckets
    assert (bucket.name, bucket.priority) == ('5#mine|0["u1"]', 0)
    assert bucket.subscriptions == (SubscriptionReason(default=0), SubscriptionReason(sub=0))


def test_without_defaults_only_explicit_subscriptions_count() -> None:
    resolved = resolve(PLAN, [], USER, subscriptions=[{"stream": "mine"}], include_defaults=False)
    assert [(stream.name, stream.is_default) for stream in resolved.streams] == [("mine", False)]
    assert resolved.buckets[0].subscriptions == (SubscriptionReason(sub=0),)
    assert not resolve(PLAN, [], USER, include_defaults=False).streams


def test_the_same_bucket_of_two_subscriptions_comes_once_with_both_reasons() -> None:
    subscriptions = [{"stream": "by_list", "parameters": {"list": "x"}, "override_priority": p} for p in (3, 1)]
    resolved = resolve(PLAN, [], {"sub": "u9"}, subscriptions=subscriptions, include_defaults=False)
    (bucket,) = resolved.buckets
    assert (bucket.name, bucket.priority) == ('5#by_list|0["x"]', 1)
    assert bucket.subscriptions == (SubscriptionReason(sub=0), SubscriptionReason(sub=1))


def test_an_evaluation_error_is_told_with_its_subscription_and_gives_no_bucket() -> None:
    subscriptions = [
        {"stream": "by_lists", "parameters": {"lists": 5}},
        {"stream": "by_lists", "parameters": {"lists": ["a", "a", None]}},
    ]
    resolved = resolve(PLAN, [], USER, subscriptions=subscriptions, include_defaults=False)
    (stream,) = resolved.streams
    assert [error.subscription for error in stream.errors] == [0]
    assert "5" not in stream.errors[0].message
    assert [bucket.name for bucket in resolved.buckets] == ['5#by_lists|0["a"]']


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("x", ['["x"]']),
        (7, ["[7]"]),
        (7.5, ["[7.5]"]),
        (True, ["[1]"]),
        (None, []),
        (["a"], ['["[\\"a\\"]"]']),
        ({"k": 1}, ['["{\\"k\\":1.0}"]']),
    ],
)
def test_parameter_values_are_read_as_the_language_says(value: object, names: list[str]) -> None:
    subscriptions = [{"stream": "by_list", "parameters": {"list": value}}]
    resolved = resolve(PLAN, [], USER, subscriptions=subscriptions, include_defaults=False)
    assert [bucket.name.removeprefix("5#by_list|0") for bucket in resolved.buckets] == names


def test_all_parameters_together_are_json_text() -> None:
    subscriptions = [{"stream": "by_whole", "parameters": {"n": 7, "t": "x"}}]
    resolved = resolve(PLAN, [], USER, subscriptions=subscriptions, include_defaults=False)
    assert resolved.buckets[0].name == '5#by_whole|0["{\\"n\\":7.0,\\"t\\":\\"x\\"}"]'


def test_a_lookup_is_asked_for_once_and_named_in_the_answer() -> None:
    resolved = resolve(PLAN, LISTS, USER, subscriptions=[{"stream": "todos"}, {"stream": "todos"}])
    assert resolved.lookups == {'lookup:0["u1"]'} == set(lookups_of(PLAN, LISTS))
    assert len(resolved.buckets) == 6


def test_a_request_filter_that_fails_asks_for_nothing() -> None:
    plan = compile_sync_config(
        "config: {edition: 3}\nstreams:\n  s:\n    auto_subscribe: true\n    query: SELECT * FROM t WHERE"
        " auth.parameter('admin') AND id IN (SELECT id FROM u WHERE owner = auth.user_id())"
    )
    query = plan.query_buckets(ConnectionData(USER), None, "5#", buckets_max=10, parameter_results_max=10)
    with pytest.raises(StopIteration) as stop:
        next(query)
    assert stop.value.value.buckets == ()


@pytest.mark.parametrize(("buckets_max", "results_max", "what"), [(5, 1000, "buckets"), (1000, 4, "parameter results")])
def test_limits_are_refused_with_the_counts_of_each_stream(buckets_max: int, results_max: int, what: str) -> None:
    with pytest.raises(LimitExceeded, match=what) as raised:
        resolve(
            PLAN,
            LISTS,
            USER,
            subscriptions=[{"stream": "todos"}],
            buckets_max=buckets_max,
            parameter_results_max=results_max,
        )
    assert raised.value.error_code == "PSYNC_S2305"
    assert raised.value.context["streams"]["todos"] == 5


def test_as_many_buckets_as_allowed_are_served() -> None:
    resolved = resolve(PLAN, LISTS, USER, subscriptions=[{"stream": "todos"}], buckets_max=6, parameter_results_max=5)
    assert len(resolved.buckets) == 6


def test_free_combinations_are_limited_too() -> None:
    plan = compile_sync_config(
        "config: {edition: 3}\nstreams:\n  s:\n    auto_subscribe: true\n    query: SELECT * FROM t WHERE"
        " a IN auth.parameter('x') AND b IN auth.parameter('y')"
    )
    token = {"sub": "u1", "x": list(range(20)), "y": list(range(20))}
    with pytest.raises(LimitExceeded):
        resolve(plan, [], token, parameter_results_max=100)
    assert len(resolve(plan, [], token).buckets) == 400


@pytest.mark.requirement(113)
def test_claims_choose_buckets() -> None:
    plan = compile_sync_config(
        "config: {edition: 3}\nstreams:\n  s:\n    auto_subscribe: true\n    query: SELECT * FROM t WHERE"
        " org = auth.parameters() ->> 'org' AND region = auth.parameter('$.app.region')"
    )
    resolved = resolve(plan, [], {"sub": "u1", "org": "acme", "app": {"region": "eu"}})
    assert [bucket.name for bucket in resolved.buckets] == ['5#s|0["acme","eu"]']
    assert evaluate(plan, "t", {"id": "r", "org": "acme", "region": "eu"}).rows[0].bucket == '5#s|0["acme","eu"]'


def test_the_tables_to_follow_are_those_of_rows_and_lookups() -> None:
    assert set(PLAN.table_patterns) == {
        TablePattern("public", name) for name in ("lists", "todos", "notes", "files", "docs")
    }


def test_a_row_with_several_elements_keeps_all_of_them_under_one_lookup() -> None:
    plan = compile_sync_config(
        "config: {edition: 3}\nstreams:\n  s:\n    auto_subscribe: true\n    query: SELECT t.* FROM t, u, json_each(u.lists) AS j"
        " WHERE j.value = t.list_id AND u.id = auth.user_id()"
    )
    rows: list[Row] = [("u", {"id": "u1", "lists": '["A","B","A"]'})]
    assert lookups_of(plan, rows) == {'lookup:0["u1"]': ['[["A"],["B"]]']}
    assert sorted(bucket.name for bucket in resolve(plan, rows, USER).buckets) == ['5#s|0["A"]', '5#s|0["B"]']


def test_a_parameter_that_is_missing_matches_no_null_of_a_list() -> None:
    plan = compile_sync_config(
        "config: {edition: 3}\nstreams:\n  s:\n    auto_subscribe: true\n    query: >\n      SELECT t.id FROM t"
        " JOIN json_each(auth.parameter('profile')) AS j ON j.key = subscription.parameter('org')"
        " WHERE j.value = connection.parameter('role')\n"
    )
    token = {"sub": "u1", "profile": {"z": None, "eu": "admin"}}
    assert resolve(plan, [("t", {"id": "1"})], token).buckets == ()
    asked = [{"stream": "s", "parameters": {"org": "eu"}}]
    found = resolve(plan, [], token, subscriptions=asked, parameters={"role": "admin"})
    assert [bucket.name for bucket in found.buckets] == ["5#s|0[]"]
