"""Generated row functions against the plain closures, for definitions and rows of every shape."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from syncline.protocol.bucket_names import SyncValue
from syncline.sync_config import compile_sync_config
from syncline.sync_config.evaluation.reference import reference_evaluator
from syncline.sync_config.plan import RowEvaluation
from syncline.sync_config.schema import SourceSchema
from tests.unit.sync_config.legacy.rules import config_of

CONFIG = """
bucket_definitions:
  all: {data: [SELECT * FROM t, "SELECT 'x' AS a, * FROM t AS u WHERE a != 1"]}
  by_a:
    parameters: SELECT request.user_id() AS p
    data:
      - SELECT * FROM t WHERE a = bucket.p OR b = bucket.p
      - SELECT id FROM t WHERE a = bucket.p OR bucket.p IN b
  members:
    parameters:
      - SELECT a AS p, b AS q FROM t WHERE id = request.user_id() OR b = request.user_id()
      - SELECT b AS p, a AS q FROM t WHERE request.user_id() IN b AND a IS NOT NULL
    data: [SELECT id FROM t WHERE a = bucket.p AND id = bucket.q]
"""
COLUMNS = ("id", "a", "b", "_c")

values: st.SearchStrategy[SyncValue] = st.sampled_from(
    [None, 0, 1, 1.0, 0.5, "x", "y", "", '["x",1,null]', "[]", '{"k":"x"}', float("nan"), b"x", "\ud800"]
)
rows = st.tuples(st.sampled_from(["r1", 7, None, "x"]), values, values, values)
SEEN: Counter[str] = Counter()


def contents(evaluation: RowEvaluation) -> tuple[Any, ...]:
    return list(evaluation.rows), list(evaluation.lookups), list(evaluation.errors)


@settings(max_examples=150, deadline=None)
@given(st.lists(rows, min_size=1, max_size=4))
def check_rows(some_rows: list[tuple[Any, ...]]) -> None:
    plan = compile_sync_config(CONFIG)
    reference = reference_evaluator(*plan.table_work("public", "t", COLUMNS, "1#"))
    expected = [reference(row) for row in some_rows]
    found = plan.row_evaluator("public", "t", COLUMNS, "1#").batch(some_rows)
    assert [contents(evaluation) for evaluation in found] == [contents(evaluation) for evaluation in expected]
    for evaluation in found:
        places = [(row.bucket, row.object_type, row.object_id) for row in evaluation.rows if row.object_type == "u"]
        assert len(places) == len(set(places))
        assert len(set(evaluation.rows)) == len(evaluation.rows)
        SEEN["rows"] += len(evaluation.rows)
        SEEN["lookups"] += len(evaluation.lookups)
        SEEN["null outputs"] += sum("null" in lookup.output for lookup in evaluation.lookups)
        SEEN["errors"] += len(evaluation.errors)


def test_the_generated_function_says_what_the_closures_say() -> None:
    SEEN.clear()
    check_rows()
    print(dict(SEEN))
    assert all(SEEN[what] > 10 for what in ("rows", "lookups", "null outputs", "errors"))


def test_a_row_stands_in_a_bucket_once_though_both_sides_of_or_hold() -> None:
    plan = compile_sync_config(CONFIG)
    found = plan.row_evaluator("public", "t", COLUMNS, "1#")(("r1", "x", "x", 0))
    assert [row.bucket for row in found.rows if row.bucket.startswith("1#by_a")] == ['1#by_a["x"]'] * 2
    assert len({row.data for row in found.rows if row.bucket.startswith("1#by_a")}) == 2


def test_tables_and_columns_that_the_source_does_not_have_are_warned_of() -> None:
    schema = SourceSchema.of({"public.t": {"id": "text", "a": "text"}, "public.log_a": {"id": "text"}})
    data = [
        "SELECT id, upper(a) AS b FROM t WHERE _c",
        'SELECT *, _table_suffix AS s FROM "log_%"',
        "SELECT * FROM acme.t",
    ]
    assert unknown_names(config_of(data), schema) == [("unknown_column", "_c"), ("unknown_table", "acme.t")]
    by_row = config_of("SELECT id FROM t WHERE a = bucket.p", "SELECT nope AS p FROM t WHERE b = request.user_id()")
    assert unknown_names(by_row, schema) == [("unknown_column", "nope"), ("unknown_column", "b")]


def unknown_names(text: str, schema: SourceSchema) -> list[tuple[str, str]]:
    """Kinds of the warnings, with the text that they are about."""
    warnings = compile_sync_config(text, schema=schema).warnings
    return [(str(warning.kind), text[warning.start_offset : warning.end_offset]) for warning in warnings]
