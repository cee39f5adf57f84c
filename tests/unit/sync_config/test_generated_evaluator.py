"""Generated row functions against the plain closures, over generated expressions and rows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from syncline.protocol.bucket_names import SyncValue
from syncline.sync_config import compile_sync_config
from syncline.sync_config.compiler.expressions import Apply, Case, ColumnValue, Expression, literal
from syncline.sync_config.compiler.model import LookupIndex, OutputColumn, RowQuery, RowTable
from syncline.sync_config.evaluation.codegen import PARTS_MAX, generate_evaluator
from syncline.sync_config.evaluation.context import TableContext
from syncline.sync_config.evaluation.reference import reference_evaluator
from syncline.sync_config.evaluation.table_queries import TableLookup, TableQuery
from syncline.sync_config.plan import EvaluatedLookup, EvaluatedRow, RowEvaluation, TablePattern

COLUMNS = ("id", "a", "b")
PATTERN = TablePattern("public", "t")
TABLE = TableContext("public", "t", COLUMNS, PATTERN)

values: st.SearchStrategy[SyncValue] = st.one_of(
    st.none(),
    st.integers(-3, 3),
    st.sampled_from(["", "x", "1", "0.5", '["x",1,null]', '{"k":2}', "'\"\\\n{}", "é😀"]),
    st.sampled_from([0.0, -0.0, 1.0, 0.5, float("nan"), float("inf")]),
    st.binary(max_size=2),
)
leaves: st.SearchStrategy[Expression] = st.one_of(
    values.map(literal), st.sampled_from([ColumnValue(0, name) for name in (*COLUMNS, "missing")])
)
BINARY = [
    "=",
    "<",
    "<=",
    "+",
    "-",
    "*",
    "/",
    "%",
    "||",
    "->>",
    "->",
    "in json",
    "&",
    "<<",
    "and",
    "or",
    "ifnull",
    "instr",
]
UNARY = ["not", "is null", "is true", "is false", "sign", "upper", "length", "typeof", "hex", "json_array_length"]


def larger(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    pairs = st.tuples(inner, inner)
    return st.one_of(
        st.builds(Apply, st.sampled_from(BINARY), pairs),
        st.builds(Apply, st.sampled_from(UNARY), st.tuples(inner)),
        st.builds(Apply, st.just("cast"), st.tuples(inner, st.sampled_from(["text", "integer", "real"]).map(literal))),
        st.builds(Case, st.none() | inner, st.tuples(pairs, pairs), inner),
    )


expressions = st.recursive(leaves, larger, max_leaves=6)
element_leaves: st.SearchStrategy[Expression] = leaves | st.sampled_from(
    [ColumnValue(1, "key"), ColumnValue(1, "value")]
)
tables = st.booleans().flatmap(
    lambda expanded: st.tuples(
        st.builds(
            RowTable,
            st.just(PATTERN),
            st.tuples(expressions) if expanded else st.just(()),
            st.lists(expressions, max_size=2).map(tuple),
        ),
        st.lists(st.recursive(element_leaves if expanded else leaves, larger, max_leaves=3), max_size=2).map(tuple),
        st.lists(st.tuples(st.sampled_from(["id", "v"]), expressions), max_size=3).map(
            lambda pairs: tuple(dict(pairs).items())
        ),
    )
)
rows = st.tuples(st.sampled_from(["r1", 7, 1.0, None]), values, values)
Parts = tuple[RowTable, tuple[Expression, ...], tuple[tuple[str, Expression], ...]]


def query_of(parts: Parts) -> TableQuery:
    table, keys, outputs = parts
    columns = tuple(OutputColumn(name, value) for name, value in outputs)
    return TableQuery(TABLE, RowQuery(table, None, columns, keys), "1#s|0", "t", outputs)


def lookup_of(parts: Parts) -> TableLookup:
    table, keys, outputs = parts
    return TableLookup(TABLE, LookupIndex(table, keys, tuple(value for _, value in outputs)), "lookup:0")


def contents(evaluation: RowEvaluation) -> tuple[list[EvaluatedRow], list[EvaluatedLookup], list[str]]:
    return list(evaluation.rows), list(evaluation.lookups), list(evaluation.errors)


BLOBS_COMPARED = Apply("or", (literal(None), Apply("=", (literal(b""), literal(b"")))))


@settings(max_examples=40, deadline=None)
@given(st.lists(tables, max_size=3), st.lists(tables, max_size=2), st.lists(rows, min_size=1, max_size=4))
@example([], [(RowTable(PATTERN, (BLOBS_COMPARED,), ()), (), ())], [("r1", None, None)])
def test_the_generated_function_says_what_the_closures_say(
    queries: list[Parts], lookups: list[Parts], some_rows: list[tuple[Any, ...]]
) -> None:
    table_queries, table_lookups = [query_of(q) for q in queries], [lookup_of(x) for x in lookups]
    generated = generate_evaluator(table_queries, table_lookups, len(COLUMNS))
    reference = reference_evaluator(table_queries, table_lookups)
    expected = [contents(reference(row)) for row in some_rows]
    assert [contents(generated(row)) for row in some_rows] == expected
    assert [contents(evaluation) for evaluation in generated.batch(iter(some_rows))] == expected


def test_a_table_without_columns_can_be_evaluated() -> None:
    plan = compile_sync_config("config: {edition: 3}\nstreams: {s: {query: 'SELECT * FROM t'}}")
    (row,) = plan.row_evaluator("public", "t", (), "1#")(()).rows
    assert row == EvaluatedRow("1#s|0[]", "t", "", "{}")


def test_a_table_of_no_query_contributes_nothing() -> None:
    plan = compile_sync_config("config: {edition: 3}\nstreams: {s: {query: 'SELECT * FROM t'}}")
    evaluator = plan.row_evaluator("public", "other", ("id",), "1#")
    assert contents(evaluator(("x",))) == ([], [], [])
    assert [contents(evaluation) for evaluation in evaluator.batch([("x",), ("y",)])] == [([], [], [])] * 2
    assert evaluator.batch([]) == []


def test_an_error_in_one_query_leaves_the_others_alone() -> None:
    plan = compile_sync_config(
        "config: {edition: 3}\nstreams:\n"
        "  a: {query: \"SELECT * FROM t WHERE doc ->> 'k' = 1\"}\n"
        "  b: {query: SELECT * FROM t}\n"
    )
    evaluation = plan.row_evaluator("public", "t", ("id", "doc"), "1#")(("r", "secret, not JSON"))
    assert [row.bucket for row in evaluation.rows] == ["1#b|0[]"]
    assert evaluation.errors == ["t: The text is not valid JSON"]


def test_equal_keys_of_other_types_keep_their_own_bucket_in_a_batch() -> None:
    plan = compile_sync_config(
        "config: {edition: 3}\nstreams: {s: {query: 'SELECT id FROM t WHERE k = auth.user_id()'}}"
    )
    keys = ["1", 1, 1.0, 1e22, 10**22, "1", None, float("nan"), b"1", 1, 0.0, -0.0, "\ud800"]
    evaluator = plan.row_evaluator("public", "t", ("id", "k"), "1#")
    batched = evaluator.batch([("r", key) for key in keys])
    assert [contents(evaluation) for evaluation in batched] == [contents(evaluator(("r", key))) for key in keys]
    assert [row.bucket for evaluation in batched for row in evaluation.rows] == [
        '1#s|0["1"]', "1#s|0[1]", "1#s|0[1]", "1#s|0[1e+22]", "1#s|0[10000000000000000000000]", '1#s|0["1"]', "1#s|0[1]",
        "1#s|0[0]", "1#s|0[0]",
    ]  # fmt: skip
    assert batched[-1].errors == ["t: A text is not valid Unicode"]


def test_a_row_of_a_batch_takes_nothing_from_the_row_before() -> None:
    """Each value that the quick way of row JSON cannot write stands behind a row that it can."""
    plan = compile_sync_config("config: {edition: 3}\nstreams: {s: {query: 'SELECT id, v, v || id AS w FROM t'}}")
    values: list[SyncValue] = ["text", 1, None, 0.5, float("inf"), b"blob", "\ud800", 2**64, -(2**63) - 1, True]
    table_rows = [row for number, value in enumerate(values) for row in ((f"p{number}", "x"), (value, value))]
    evaluator = plan.row_evaluator("public", "t", ("id", "v"), "1#")
    reference = reference_evaluator(*plan.table_work("public", "t", ("id", "v"), "1#"))
    batched = evaluator.batch(table_rows)
    assert [contents(evaluation) for evaluation in batched] == [contents(reference(row)) for row in table_rows]
    assert len({row.data for evaluation in batched for row in evaluation.rows}) == len(table_rows)


@pytest.mark.parametrize(("calls", "elements", "rows"), [(2, 100, 10_000), (2, 101, 0), (16, 2, 0), (16, 1, 1)])
def test_a_row_becomes_ten_thousand_rows_at_most(calls: int, elements: int, rows: int) -> None:
    """More than so many loops stand in no generated function; the plain one answers then."""
    sources = "".join(f", json_each(t.tags) AS j{n}" for n in range(calls))
    values = " || ' ' || ".join(f"j{n}.key" for n in range(calls))
    condition = f"{values} = auth.user_id()"
    plan = compile_sync_config(
        f'config: {{edition: 3}}\nstreams: {{s: {{query: "SELECT t.id FROM t{sources} WHERE {condition}"}}}}'
    )
    tags = str(list(range(elements)))
    evaluation = plan.row_evaluator("public", "t", ("id", "tags"), "1#")(("r", tags))
    assert len(evaluation.rows) == rows
    assert list(evaluation.errors) == ([] if rows else ["t: json_each makes more than 10000 rows of one"])


def test_an_expression_that_python_cannot_read_is_evaluated_all_the_same() -> None:
    branches = " ".join(f"WHEN a = {n} THEN {n * 2}" for n in range(2000))
    plan = compile_sync_config(
        f'config: {{edition: 3}}\nstreams: {{s: {{query: "SELECT id, CASE {branches} END AS v FROM t"}}}}'
    )
    evaluated = plan.row_evaluator("public", "t", ("id", "a"), "1#").batch([("r", 0), ("r", 1999), ("r", 2000)])
    assert [row.data for evaluation in evaluated for row in evaluation.rows] == [
        '{"id":"r","v":0}', '{"id":"r","v":3998}', '{"id":"r","v":null}',
    ]  # fmt: skip


def test_a_table_of_more_queries_than_one_function_holds_is_evaluated_all_the_same() -> None:
    streams = "".join(
        f"\n  s{n}: {{query: 'SELECT id, a + {n} AS v FROM t WHERE a < {n}'}}" for n in range(PARTS_MAX + 1)
    )
    plan = compile_sync_config(f"config: {{edition: 3}}\nstreams:{streams}")
    (evaluation,) = plan.row_evaluator("public", "t", ("id", "a"), "1#").batch([("r", PARTS_MAX - 2)])
    assert [(row.bucket, row.data) for row in evaluation.rows] == [
        (f"1#s{n}|0[]", f'{{"id":"r","v":{PARTS_MAX - 2 + n}}}') for n in (PARTS_MAX - 1, PARTS_MAX)
    ]
