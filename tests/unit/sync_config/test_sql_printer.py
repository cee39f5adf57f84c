"""Printed SQL reads back as the same syntax tree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.sync_config.document import parse_document
from syncline.sync_config.source_text import ProblemList, SourceText
from syncline.sync_config.sql.parser import parse_query
from syncline.sync_config.sql.printer import print_query, query_lines
from syncline.sync_config.sql.syntax import (
    BetweenTest,
    BinaryOperation,
    CaseExpression,
    CastExpression,
    ColumnName,
    FromItem,
    FunctionCall,
    InTest,
    IsTest,
    JoinItem,
    LiteralValue,
    Logic,
    Negation,
    Node,
    ResultColumn,
    Select,
    Star,
    SubqueryValue,
    UnaryOperation,
    ValueList,
)
from syncline.sync_config.sql.tokens import SqlError
from tests.conformance.corpus.cases import load_cases
from tests.conformance.corpus.expressions import load_expressions

_AT = (0, 0)


def without_spans(tree: Any) -> Any:
    """The tree as nested tuples, without the places of its parts. 1 and 1.0 stay apart."""
    if is_dataclass(tree):
        return (type(tree).__name__, *(without_spans(getattr(tree, f.name)) for f in fields(tree) if f.name != "span"))
    if isinstance(tree, Sequence) and not isinstance(tree, str):
        return tuple(without_spans(part) for part in cast("Sequence[object]", tree))
    return (type(tree).__name__, tree)


def assert_reads_back(tree: Select) -> None:
    printed = print_query(tree)
    assert without_spans(parse_query(printed)) == without_spans(tree), printed


@pytest.mark.parametrize(
    ("sql", "printed"),
    [
        ("select  *  from lists", "SELECT * FROM lists"),
        ('SELECT "Name", "a""b" x FROM "from" t', 'SELECT "Name", "a""b" AS x FROM "from" AS t'),
        ("SELECT a FROM t WHERE (a OR b) AND NOT (c OR d)", "SELECT a FROM t WHERE (a OR b) AND NOT (c OR d)"),
        ("SELECT a FROM t WHERE a - (b - c) * 2 = -1", "SELECT a FROM t WHERE a - (b - c) * 2 = -1"),
        ("SELECT (a = b) = c AS d FROM t", "SELECT (a = b) = c AS d FROM t"),
        ("SELECT a::text AS d FROM t", "SELECT CAST(a AS text) AS d FROM t"),
        ("SELECT a FROM t WHERE a IN ROW('x', 'it''s')", "SELECT a FROM t WHERE a IN ARRAY['x', 'it''s']"),
        ("SELECT a.id FROM a JOIN b ON a.x = b.x, c", "SELECT a.id FROM a JOIN b ON a.x = b.x, c"),
        ("SELECT a FROM t WHERE b -> 'x' ->> 'y' IS NOT NULL", "SELECT a FROM t WHERE b -> 'x' ->> 'y' IS NOT NULL"),
        ("SELECT .5 a, 5. b, 0.00000001 c FROM t", "SELECT 0.5 AS a, 5.0 AS b, 0.00000001 AS c FROM t"),
        ("SELECT FROM t", "SELECT FROM t"),
        ("SELECT a FROM t WHERE a IN ((SELECT b FROM c) || 'd')", "SELECT a FROM t WHERE a IN ((SELECT b FROM c) || 'd')"),
    ],
)  # fmt: skip
def test_sql_is_printed_as_a_person_would_write_it(sql: str, printed: str) -> None:
    assert print_query(parse_query(sql)) == printed
    assert_reads_back(parse_query(sql))


def test_the_parts_of_where_stand_in_lines_of_their_own() -> None:
    select = parse_query("SELECT a FROM t WHERE a = 1 AND (b OR c)")
    assert query_lines(select) == ["SELECT a", "FROM t", "WHERE a = 1", "AND (b OR c)"]


def _recorded_queries() -> Iterator[str]:
    for case in load_cases():
        document = parse_document(case.config, ProblemList(SourceText(case.config)))
        for stream in document.streams:
            yield from (query.sql for query in (*stream.queries, *stream.ctes.values()))
        for definition in document.definitions:
            yield from (query.sql for query in (*definition.parameters, *definition.data))
    yield from (f"SELECT id, ({recorded.text}) AS v FROM t" for recorded in load_expressions())


def test_every_recorded_query_reads_back(capsys: pytest.CaptureFixture[str]) -> None:
    counts: Counter[str] = Counter()
    for sql in dict.fromkeys(_recorded_queries()):
        try:
            tree = parse_query(sql)
        except SqlError:
            counts["no query"] += 1
            continue
        assert_reads_back(tree)
        counts["read back"] += 1
    with capsys.disabled():
        print(f"\nprinter: {dict(counts)}")
    assert counts["read back"] > 1500


_names = st.sampled_from(
    ["a", "b", "Upper", "select", "null", "array", "row", "like", "e", 'q"q', "a b", "ä", "_x", "distinct"]
)
_literals = st.builds(
    LiteralValue,
    st.just(_AT),
    st.none()
    | st.integers(-(10**20), 10**20)
    | st.text("ab'\"\\\n%", max_size=4)
    | st.floats(-1e30, 1e30).filter(lambda value: value == 0 or abs(value) > 1e-200),  # what 300 characters can say
)
_columns = st.builds(ColumnName, st.just(_AT), st.lists(_names, min_size=1, max_size=3).map(tuple))
_BINARY = ["=", "!=", "<", ">", "<=", ">=", "&&", "&", "|", "<<", ">>", "+", "-", "||", "*", "/", "%", "->", "->>"]


def _larger(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    some = st.lists(inner, max_size=3).map(tuple)
    select = _selects(inner)
    target = inner | select | st.builds(ValueList, st.just(_AT), some)
    logic = st.builds(
        Logic, st.just(_AT), st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=3).map(tuple)
    )
    return st.one_of(
        st.builds(BinaryOperation, st.just(_AT), st.sampled_from(_BINARY), inner, inner),
        logic,
        st.builds(Negation, st.just(_AT), inner),
        st.builds(IsTest, st.just(_AT), inner, st.sampled_from(["null", "true", "false"]), st.booleans()),
        st.builds(BetweenTest, st.just(_AT), inner, inner, inner, st.booleans()),
        st.builds(InTest, st.just(_AT), inner, target, st.booleans()),
        st.builds(FunctionCall, st.just(_AT), st.lists(_names, min_size=1, max_size=2).map(tuple), some),
        st.builds(CastExpression, st.just(_AT), inner, _names),
        st.builds(
            CaseExpression,
            st.just(_AT),
            st.none() | inner,
            st.lists(st.tuples(inner, inner), min_size=1, max_size=2).map(tuple),
            st.none() | inner,
        ),
        st.builds(UnaryOperation, st.just(_AT), st.sampled_from("+-"), inner),
        st.builds(SubqueryValue, st.just(_AT), select),
    )


def _selects(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Select]:
    stars = st.builds(Star, st.just(_AT), st.lists(_names, max_size=2).map(tuple))
    results = st.builds(ResultColumn, inner, st.none() | _names, st.just(_AT)) | st.builds(
        ResultColumn, stars, st.none(), st.just(_AT)
    )
    tables = st.builds(
        FromItem, st.just(_AT), st.none() | _names, parts=st.lists(_names, min_size=1, max_size=2).map(tuple)
    )
    first = st.builds(JoinItem, tables, st.none())
    items = st.tuples(first, st.lists(st.builds(JoinItem, tables, st.none() | inner), max_size=1)).map(
        lambda pair: (pair[0], *pair[1])
    )
    return st.builds(
        Select, st.just(_AT), st.lists(results, min_size=1, max_size=2).map(tuple), items, st.none() | inner
    )


_expressions = st.recursive(_literals | _columns, _larger, max_leaves=12)


@given(_selects(_expressions))
def test_every_tree_reads_back(tree: Select) -> None:
    assert_reads_back(tree)
