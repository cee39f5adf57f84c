"""PURE: bound expressions as SQL for a real SQLite (sync config reference, 1.1: `unstable_sqlite_expression_engine`).

NULL logic, CAST, overflow, text functions and JSON paths are then SQLite's own. The engine is handed in, so that nothing here
touches a database.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

from syncline.protocol.bucket_names import SyncValue
from syncline.sync_config.compiler.expressions import (
    Apply,
    Case,
    ColumnValue,
    Computed,
    Expression,
    Literal,
    RequestValue,
    RowMeta,
    literal,
)
from syncline.sync_config.evaluation.functions import FUNCTIONS

__all__ = ["ExpressionEngine", "rewrite"]

_INTEGERS = range(-(2**63), 2**63)

_BINARY = frozenset({"=", "<", "<=", "+", "-", "*", "/", "%", "||", "&", "|", "<<", ">>", "->", "->>"})
_UNARY = {
    "not": "(NOT {})",
    "is null": "({} IS NULL)",
    "is true": "({} IS 1)",
    "is false": "({} IS 0)",
    "sign": "(+{})",
}
_TERNARY = {"between": "({} BETWEEN {} AND {})"}
_IN_JSON = "({} IN (SELECT value FROM json_each({})))"
_FIRST_ARGUMENTS_ONLY = {"ifnull": 2, "json_extract": 2}
"""Functions whose further arguments mean nothing in the language, but something to SQLite."""


class ExpressionEngine(Protocol):
    """Evaluates SQL expressions."""

    def prepare(self, sql: str) -> Callable[..., SyncValue]:
        """The function that computes an expression; its parameters are `?1` to `?n`.

        May be called from any thread. The function raises EvaluationError, with no values in its text, where SQLite has an error.
        """
        ...


def rewrite(expression: Expression, engine: ExpressionEngine, *, as_filter: bool) -> Expression:
    """The same expression, evaluated by `engine`. Plain columns, connection values and constants stay as they are.

    With `as_filter`, the result is 1 or 0: whether SQLite holds the value for true.
    """
    if isinstance(expression, RequestValue) and expression.key is not None:
        expression = RequestValue(expression.scope, rewrite(expression.key, engine, as_filter=False))
    if isinstance(expression, (ColumnValue, RowMeta, RequestValue, Literal)) and not as_filter:
        return _within_64_bits(expression)
    writer = _SqlWriter(engine)
    sql = writer.sql(expression)
    if as_filter:
        sql = f"({sql} IS TRUE)"
    return Computed(sql, tuple(writer.inputs), engine.prepare(sql))


def _within_64_bits(expression: Expression) -> Expression:
    if isinstance(expression, Literal) and isinstance(expression.value, int) and expression.value not in _INTEGERS:
        return literal(float(expression.value))
    return expression


class _SqlWriter:
    """Writes one expression. Every part stands in parentheses of its own, so that no precedence has to be known."""

    def __init__(self, engine: ExpressionEngine) -> None:
        self.inputs: list[Expression] = []
        self._engine = engine

    def sql(self, expression: Expression) -> str:
        match expression:
            case Literal():
                return _constant(expression.value)
            case Apply():
                return self._apply(expression)
            case Case():
                return self._case(expression)
            case RequestValue():
                return self._input(rewrite(expression, self._engine, as_filter=False))
            case Computed():
                raise AssertionError("an expression is rewritten once")
            case ColumnValue() | RowMeta():
                return self._input(expression)

    def _input(self, expression: Expression) -> str:
        if expression not in self.inputs:
            self.inputs.append(expression)
        return f"?{self.inputs.index(expression) + 1}"

    def _apply(self, expression: Apply) -> str:
        name = expression.name
        if name == "cast":
            type_name = expression.arguments[1]
            assert isinstance(type_name, Literal)
            return f"CAST({self.sql(expression.arguments[0])} AS {type_name.value})"
        parts = [self.sql(argument) for argument in expression.arguments]
        if name in ("and", "or"):
            return f"({f' {name.upper()} '.join(parts)})"
        if name in _BINARY:
            return f"({parts[0]} {name} {parts[1]})"
        template = _UNARY.get(name) or _TERNARY.get(name)
        if template is not None:
            return template.format(*parts)
        if name == "in list":
            return f"({parts[0]} IN ({', '.join(parts[1:])}))"
        if name in ("in json", "in elements"):
            return _IN_JSON.format(*parts)
        assert name in FUNCTIONS, f"{name} is no function of sync streams"
        return f"{name}({', '.join(parts[: _FIRST_ARGUMENTS_ONLY.get(name)])})"

    def _case(self, expression: Case) -> str:
        operand = "" if expression.operand is None else f" {self.sql(expression.operand)}"
        branches = "".join(f" WHEN {self.sql(test)} THEN {self.sql(value)}" for test, value in expression.branches)
        return f"(CASE{operand}{branches} ELSE {self.sql(expression.otherwise)} END)"


def _constant(value: SyncValue) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"X'{value.hex()}'"
    if isinstance(value, str):
        return f"CAST(X'{value.encode().hex()}' AS TEXT)" if "\0" in value else "'" + value.replace("'", "''") + "'"
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else "9e999" if value > 0 else "-9e999"
    return str(value) if value in _INTEGERS else f"{value}.0"
