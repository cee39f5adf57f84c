"""Expressions written as SQL, and the SQLite that evaluates them (sync config reference, 1.1)."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from syncline.protocol.bucket_names import SyncValue
from syncline.storage.sqlite.expression_engine import VALUE_BYTES_MAX, SqliteExpressionEngine
from syncline.sync_config.compiler.expressions import (
    Apply,
    Case,
    ColumnValue,
    Computed,
    Expression,
    RequestValue,
    RowMeta,
    literal,
    move_sources,
    walk,
)
from syncline.sync_config.evaluation.values import EvaluationError
from syncline.sync_config.sqlite_expressions import rewrite

X, Y = ColumnValue(0, "x"), ColumnValue(1, "y")
ENGINE = SqliteExpressionEngine()


class NoEngine:
    """Prepares nothing: for tests of the SQL alone."""

    def prepare(self, sql: str) -> Callable[..., SyncValue]:
        """A function that is never called."""
        return lambda *_: sql


def computed(expression: Expression, *, as_filter: bool = False) -> Computed:
    found = rewrite(expression, NoEngine(), as_filter=as_filter)
    assert isinstance(found, Computed)
    return found


@pytest.mark.parametrize(
    ("expression", "sql"),
    [
        (Apply("=", (X, literal("it's"))), "(?1 = 'it''s')"),
        (Apply("+", (X, Apply("*", (Y, X)))), "(?1 + (?2 * ?1))"),
        (Apply("or", (X, Apply("not", (Y,)), literal(None))), "(?1 OR (NOT ?2) OR NULL)"),
        (Apply("is true", (X,)), "(?1 IS 1)"),
        (Apply("in list", (X, literal(1), literal(1.5))), "(?1 IN (1, 1.5))"),
        (Apply("in json", (X, Y)), "(?1 IN (SELECT value FROM json_each(?2)))"),
        (Apply("cast", (X, literal("integer"))), "CAST(?1 AS integer)"),
        (Apply("ifnull", (X, Y, literal(3))), "ifnull(?1, ?2)"),
        (Apply("between", (X, literal(2**63), literal(-(2**63)))), f"(?1 BETWEEN {2**63}.0 AND {-(2**63)})"),
        (Case(None, ((X, literal("a\0b")),), Y), "(CASE WHEN ?1 THEN CAST(X'610062' AS TEXT) ELSE ?2 END)"),
        (Apply("->>", (RequestValue("auth", None), literal("a"))), "(?1 ->> 'a')"),
    ],
)
def test_an_expression_becomes_sql_with_its_leaves_as_parameters(expression: Expression, sql: str) -> None:
    found = computed(expression)
    assert found.sql == sql
    leaves = [p for p in walk(expression) if isinstance(p, (ColumnValue, RequestValue))]
    assert list(found.inputs) == list(dict.fromkeys(leaves))


@pytest.mark.parametrize("plain", [X, RowMeta(0, "schema"), RequestValue("auth", literal("sub")), literal("a")])
def test_what_needs_no_evaluation_stays_as_it_is_but_as_filter(plain: Expression) -> None:
    assert rewrite(plain, ENGINE, as_filter=False) == plain
    assert computed(plain, as_filter=True).sql.endswith(" IS TRUE)")


def test_a_constant_beyond_64_bits_becomes_the_real_that_sqlite_reads() -> None:
    assert rewrite(literal(2**63), ENGINE, as_filter=False) == literal(9.223372036854775808e18)


def test_the_key_of_a_connection_value_is_rewritten_too() -> None:
    found = rewrite(RequestValue("auth", Apply("||", (literal("a"), literal("b")))), ENGINE, as_filter=False)
    assert isinstance(found, RequestValue)
    assert isinstance(found.key, Computed)
    assert found.key.evaluate() == "ab"


def test_equal_expressions_are_equal_for_different_engines() -> None:
    expression = Apply("=", (X, literal(1)))
    first, second = (rewrite(expression, SqliteExpressionEngine(), as_filter=True) for _ in range(2))
    assert first == second
    assert hash(first) == hash(second)


def test_sources_of_a_rewritten_expression_can_be_numbered_anew() -> None:
    moved = move_sources(computed(Apply("=", (X, Y))), {0: 4, 1: 5})
    assert list(walk(moved))[1:] == [ColumnValue(4, "x"), ColumnValue(5, "y")]


@pytest.mark.parametrize(("value", "passes"), [(1, 1), (0, 0), ("0.5", 1), ("abc", 0), (None, 0), (0.1, 1)])
def test_a_filter_is_one_or_zero_by_the_truth_of_sqlite(value: SyncValue, passes: int) -> None:
    found = rewrite(X, ENGINE, as_filter=True)
    assert isinstance(found, Computed)
    assert found.evaluate(value) == passes


@pytest.mark.parametrize(
    ("sql", "inputs", "text"),
    [
        ("?1 ->> 'a'", ("{secret",), "The text is not valid JSON"),
        ("json_extract(?1, ?2)", ("{}", "secret"), "A JSON path is not valid"),
        ("uuid_blob(?1)", ("secret",), "uuid_blob: the text is not a UUID"),
        ("?1 + 1", (2**64,), "A number does not fit into 64 bits"),
        ("?1 || ''", ("secret\ud800",), "A text is not valid Unicode"),
        ("?1 || ?1", ("x" * (VALUE_BYTES_MAX // 2 + 1),), f"A value is longer than {VALUE_BYTES_MAX} bytes"),
        ("no_such_function(?1)", ("secret",), "SQLite cannot evaluate it (SQLError)"),
    ],
)
def test_errors_of_sqlite_are_evaluation_errors_without_values(
    sql: str, inputs: tuple[SyncValue, ...], text: str
) -> None:
    with pytest.raises(EvaluationError) as caught:
        ENGINE.prepare(sql)(*inputs)
    assert str(caught.value) == text


def test_a_text_that_is_no_utf8_is_repaired() -> None:
    assert ENGINE.prepare("CAST(?1 AS TEXT)")(b"a\xffb") == "a\ufffdb"


def test_no_database_can_be_attached() -> None:
    with pytest.raises(EvaluationError):
        ENGINE.prepare("1; ATTACH ':memory:' AS other")()


def test_threads_may_share_an_engine() -> None:
    evaluate = ENGINE.prepare("(SELECT sum(value) FROM json_each(?1)) || ?2")
    numbers = "[" + ",".join(["1"] * 200) + "]"
    wrong: list[object] = []

    def work(name: str) -> None:
        try:
            wrong.extend(found for _ in range(300) if (found := evaluate(numbers, name)) != f"200{name}")
        except Exception as exc:
            wrong.append(exc)

    threads = [threading.Thread(target=work, args=(f"thread {number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
