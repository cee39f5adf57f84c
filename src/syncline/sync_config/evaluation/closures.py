"""Expressions as Python closures: plain and complete. Connections are evaluated with them, and generated code is tested against them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

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
)
from syncline.sync_config.evaluation.context import ELEMENT_COLUMNS, RequestData, TableContext
from syncline.sync_config.evaluation.functions import implementation
from syncline.sync_config.evaluation.values import equal, truthy

__all__ = ["NO_TABLE", "Closure", "Environment", "closure_of"]


class Environment(NamedTuple):
    """What a closure reads: `rows[0]` is the table's row, `rows[i]` the element (key, value) of its i-th expansion."""

    rows: Sequence[Sequence[SyncValue]] = ()
    request: RequestData = RequestData()


Closure = Callable[[Environment], SyncValue]

NO_TABLE = None
"""In place of a table: source 0 is an element of `json_each` over connection data."""


def closure_of(expression: Expression, table: TableContext | None) -> Closure:
    """The function that computes an expression. It may raise EvaluationError."""
    match expression:
        case Literal():
            value = expression.value
            return lambda _: value
        case ColumnValue():
            return _column(expression, table)
        case RowMeta():
            text = "" if table is None else table.meta(expression.name)
            return lambda _: text
        case RequestValue():
            return _request(expression, table)
        case Case():
            return _case(expression, table)
        case Apply():
            return _apply(expression, table)
        case Computed():
            return _call(expression.evaluate, expression.inputs, table)


def _column(expression: ColumnValue, table: TableContext | None) -> Closure:
    source, name = expression.source, expression.name
    if source == 0 and table is not None:
        position = table.position(name)
    else:
        position = ELEMENT_COLUMNS.index(name) if name in ELEMENT_COLUMNS else None
    if position is None:
        return lambda _: None
    return lambda environment: environment.rows[source][position]


def _request(expression: RequestValue, table: TableContext | None) -> Closure:
    scope = expression.scope
    if expression.key is None:
        return lambda environment: environment.request.parameters(scope)
    key = closure_of(expression.key, table)
    return lambda environment: environment.request.parameter(scope, key(environment))


def _case(expression: Case, table: TableContext | None) -> Closure:
    operand = None if expression.operand is None else closure_of(expression.operand, table)
    branches = [(closure_of(a, table), closure_of(b, table)) for a, b in expression.branches]
    otherwise = closure_of(expression.otherwise, table)

    def evaluate(environment: Environment) -> SyncValue:
        value = None if operand is None else operand(environment)
        for condition, result in branches:
            test = condition(environment)
            if truthy(test) if operand is None else equal(value, test) == 1:
                return result(environment)
        return otherwise(environment)

    return evaluate


def _apply(expression: Apply, table: TableContext | None) -> Closure:
    if expression.name not in ("and", "or"):
        return _call(implementation(expression.name), expression.arguments, table)
    parts = [closure_of(argument, table) for argument in expression.arguments]
    if expression.name == "and":
        return lambda environment: 1 if all(truthy(part(environment)) for part in parts) else 0
    return lambda environment: 1 if any(truthy(part(environment)) for part in parts) else 0


def _call(function: Callable[..., SyncValue], inputs: Sequence[Expression], table: TableContext | None) -> Closure:
    arguments = [closure_of(argument, table) for argument in inputs]
    return lambda environment: function(*(argument(environment) for argument in arguments))
