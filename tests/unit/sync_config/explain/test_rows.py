"""Why a row is in a bucket, or in none, and which lookups it feeds."""

from __future__ import annotations

from syncline.sync_config import compile_sync_config
from syncline.sync_config.explain import RowOutcome
from tests.unit.sync_config.explain.explaining import plan_of, row_of

MEMBERS = "SELECT * FROM todos WHERE list_id IN (SELECT id FROM lists WHERE owner_id = auth.user_id())"


def test_a_row_names_its_bucket_its_key_and_the_query_with_its_line() -> None:
    (query,) = row_of(
        plan_of("SELECT id, name FROM lists WHERE owner_id = auth.user_id()"), "lists", "5#", id=1, owner_id="u1"
    ).queries
    assert query.buckets == ('5#s|0["u1"]',)
    assert [str(key) for key in query.places[0].keys] == ["lists.owner_id = 'u1'"]
    (origin,) = query.origins
    assert (origin.definition, origin.label, origin.line) == ("s", "query", 6)
    assert origin.sql == "SELECT id, name FROM lists WHERE owner_id = auth.user_id()"
    assert (query.object_type, query.places[0].object_id, query.places[0].data) == ("lists", "1", '{"id":1}')


def test_the_line_of_a_folded_query_is_where_its_text_begins() -> None:
    plan = compile_sync_config(
        "config: {edition: 3}\nstreams:\n  s:\n    query: >\n\n      SELECT *\n      FROM cats\n"
    )
    (query,) = row_of(plan, "cats", id="C1").queries
    assert (query.origins[0].line, query.origins[0].sql) == (6, "SELECT * FROM cats")


def test_a_filter_that_does_not_pass_is_the_reason_and_later_ones_are_shown_too() -> None:
    plan = plan_of("SELECT * FROM cats WHERE age > 3 AND name != 'Tom'")
    (query,) = row_of(plan, "cats", id="C1", age=2, name="Tom").queries
    assert (query.outcome, query.reason) == (RowOutcome.FILTERED_OUT, "cats.age > 3 is false")
    assert [str(condition) for condition in query.places[0].filters] == ["✗ cats.age > 3", "✗ cats.name != 'Tom'"]
    assert query.buckets == ()


def test_a_comparison_with_null_says_so() -> None:
    (query,) = row_of(plan_of("SELECT * FROM cats WHERE age > 3"), "cats", id="C1", age=None).queries
    assert query.reason == "cats.age > 3 is NULL"


def test_a_key_that_is_null_is_the_reason() -> None:
    row = row_of(plan_of(MEMBERS), "todos", id="T1", list_id=None)
    assert (row.queries[0].outcome, row.queries[0].reason) == (RowOutcome.NO_KEY, "todos.list_id is NULL")


def test_columns_that_the_row_does_not_have_are_told() -> None:
    row = row_of(plan_of(MEMBERS), "todos", id="T1")
    assert row.missing_columns == ("list_id",)
    assert "not in the row, so NULL: list_id" in str(row)


def test_an_error_is_told_without_the_values_of_the_row_and_skips_the_query_only() -> None:
    plan = plan_of("SELECT * FROM cats WHERE (meta ->> 'k') = 'x'", "SELECT id FROM cats")
    failed, fine = row_of(plan, "cats", id="C1", meta="{secret").queries
    assert failed.outcome is RowOutcome.FAILED
    assert failed.reason.startswith("cats.meta ->> 'k' = 'x' cannot be evaluated")
    assert "secret" not in failed.reason
    assert fine.buckets == ("s|0[]",)


def test_a_list_gives_a_place_for_each_of_its_elements() -> None:
    plan = plan_of("SELECT id FROM cats WHERE auth.user_id() IN cats.owners")
    (query,) = row_of(plan, "cats", id="C1", owners='["a",null,"b"]').queries
    assert [place.bucket for place in query.places] == ['s|0["a"]', None, 's|0["b"]']
    assert [place.outcome for place in query.places] == [RowOutcome.PLACED, RowOutcome.NO_KEY, RowOutcome.PLACED]
    assert query.outcome is RowOutcome.PLACED


def test_an_empty_list_is_told() -> None:
    plan = plan_of("SELECT id FROM cats WHERE auth.user_id() IN cats.owners")
    (query,) = row_of(plan, "cats", id="C1", owners="[]").queries
    assert (query.outcome, query.places) == (RowOutcome.NO_ELEMENTS, ())


def test_an_error_for_one_element_takes_the_row_out_of_all_buckets_of_the_query() -> None:
    plan = plan_of(
        "SELECT cats.id FROM cats, json_each(cats.owners) AS o WHERE o.value = auth.user_id() AND o.value ->> 'k' IS NULL"
    )
    (query,) = row_of(plan, "cats", id="C1", owners='["{}","{"]').queries
    assert query.outcome is RowOutcome.FAILED
    assert query.buckets == ()
    assert [place.bucket for place in query.places] == [None, None]


def test_the_lookups_that_a_row_feeds_are_told_with_their_streams() -> None:
    row = row_of(plan_of(MEMBERS), "lists", id="L1", owner_id="u1")
    (lookup,) = row.lookups
    assert (lookup.text, lookup.streams) == ("lists by lists.owner_id, gives lists.id", ("s",))
    assert lookup.places[0].entry == 'lookup:0["u1"]'
    assert [str(value) for value in lookup.places[0].outputs] == ["lists.id = 'L1'"]
    assert row.queries == ()


def test_a_bucket_source_that_streams_share_names_all_of_them_and_their_queries() -> None:
    plan = compile_sync_config(
        "config: {edition: 3}\nstreams:\n"
        "  a:\n    query: SELECT * FROM cats WHERE owner = auth.user_id()\n"
        "  b:\n    query: SELECT * FROM cats WHERE owner = connection.parameter('o')\n"
    )
    (query,) = row_of(plan, "cats", id="C1", owner="u1").queries
    assert query.bucket_source == "a|0"
    assert query.streams == ("a", "b")
    assert [(origin.definition, origin.line) for origin in query.origins] == [("a", 4), ("b", 6)]


def test_bucket_definitions_name_their_data_queries() -> None:
    plan = compile_sync_config(
        "bucket_definitions:\n  mine:\n    parameters: SELECT request.user_id() AS user\n"
        "    data:\n      - SELECT id FROM cats WHERE owner = bucket.user AND state != 'gone'\n"
    )
    (query,) = row_of(plan, "cats", id="C1", owner="u1", state=None).queries
    assert [(origin.label, origin.line) for origin in query.origins] == [("data query 1", 5)]
    assert query.reason == "cats.state != 'gone' is NULL"


def test_a_table_that_no_query_reads_is_told() -> None:
    row = row_of(plan_of("SELECT * FROM cats"), "dogs", id="D1")
    assert row.buckets == ()
    assert "No query of the config reads this table." in str(row)


def test_a_table_of_a_pattern_is_called_by_its_own_name() -> None:
    plan = plan_of("SELECT id FROM \"log_%\" WHERE day = auth.parameter('day')")
    (query,) = row_of(plan, "log_may", id=1, day=3).queries
    assert [str(key) for key in query.places[0].keys] == ["log_may.day = 3"]


def test_values_that_json_does_not_have_are_written_all_the_same() -> None:
    plan = plan_of("SELECT id FROM cats WHERE size = auth.parameter('size') AND name != 'x'")
    for size in (2**80, float("inf"), b"\x00", "\ud800"):
        row = row_of(plan, "cats", id=1, size=size, name="\ud800")
        assert row.to_json()
        assert str(row).encode()
