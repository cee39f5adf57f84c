"""Writes bound expressions of sync rules as syntax of streams, so that the streams' compiler reads the same meaning out of them.

Where the two languages read the same words differently (sync config reference, 6.2 and 8), other words are chosen:

* `a != b` is NULL in sync rules where a side is NULL, and true in streams. As a condition it gets `IS NOT NULL` tests; as a value it
  becomes `1 - (a = b)`.
* `x IN json` fails in sync rules for what is no array. In a condition of a stream it does not, unless the answer is a value: hence
  `(x IN json) IS TRUE`. As that is a test of values, it also works where both sides are data of the connection.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass

from syncline.protocol.bucket_names import SyncValue
from syncline.sync_config.compiler.expressions import (
    Apply,
    ColumnValue,
    Expression,
    Literal,
    RequestValue,
    RowMeta,
    literal,
    walk,
)
from syncline.sync_config.evaluation.functions import FUNCTIONS
from syncline.sync_config.evaluation.json_values import elements
from syncline.sync_config.evaluation.values import EvaluationError
from syncline.sync_config.migration.notes import Remarks
from syncline.sync_config.migration.refusal import CannotMigrate
from syncline.sync_config.problems import ProblemKind
from syncline.sync_config.sql.syntax import (
    BinaryOperation,
    CastExpression,
    ColumnName,
    FunctionCall,
    InTest,
    IsTest,
    LiteralValue,
    Logic,
    Negation,
    Node,
    ValueList,
)

__all__ = [
    "NOWHERE",
    "ExpressionWriter",
    "Remarks",
    "all_of",
    "constant_elements",
    "equals",
    "reads_request",
    "reads_rows",
]

NOWHERE = (0, 0)
"""The span of syntax that stands in no text."""

_UNFIXED = " unfixed"
"""What the names of operators end with that read JSON paths in the older way; the option `fixed_json_extract` says which is meant."""
_BINARY = frozenset({"=", "<", "<=", "+", "-", "*", "/", "||", "->", "->>"})
_MIRRORED = {"<": ">", "<=": ">="}
"""`a > 3` is compiled to `3 < a`; a constant reads better on the right."""
_NEVER_NULL = frozenset({"is null", "not", "and", "or", "typeof", "json_valid"})
_PLAIN_CLAIM = re.compile(r"(?!\d+\Z)[^.$]+")
"""A key of `token_parameters` that means the same at the end of a path."""


class _Place(enum.Enum):
    """Where an expression stands, which decides what of its value counts."""

    CONDITION = "condition"  # part of WHERE joined by AND and OR: only whether it is true
    NEGATED = "negated condition"  # the same below a NOT
    TRUTH = "truth"  # below AND, OR and NOT inside of a value
    VALUE = "value"  # its exact value


@dataclass(frozen=True, slots=True)
class ExpressionWriter:
    """Writes expressions over source 0, which is called `source` in FROM; `qualified` says whether its columns need that name.

    `fixed_json` is the option `fixed_json_extract`.
    """

    source: str
    qualified: bool
    fixed_json: bool
    remarks: Remarks

    @property
    def qualifier(self) -> tuple[str, ...]:
        """What stands before the dot of a column or star."""
        return (self.source,) if self.qualified else ()

    def condition(self, expression: Expression) -> Node:
        """The expression as a part of WHERE."""
        return self._write(expression, _Place.CONDITION)

    def value(self, expression: Expression) -> Node:
        """The expression where its exact value counts."""
        return self._write(expression, _Place.VALUE)

    def _write(self, expression: Expression, place: _Place) -> Node:
        match expression:
            case Literal():
                return LiteralValue(NOWHERE, expression.value)
            case ColumnValue():
                return ColumnName(NOWHERE, (*self.qualifier, expression.name))
            case RowMeta():
                return FunctionCall(NOWHERE, (self.source, expression.name), ())
            case RequestValue():
                return self._request(expression)
            case Apply():
                return self._apply(expression, place)
            case _:
                raise AssertionError(f"sync rules have no {type(expression).__name__}")

    def _request(self, expression: RequestValue) -> Node:
        if expression.key is None:
            return FunctionCall(NOWHERE, (expression.scope, "parameters"), ())
        if expression == RequestValue("auth", literal("sub")):
            return FunctionCall(NOWHERE, ("auth", "user_id"), ())
        if expression.scope == "token_parameters":
            return _token_parameter(expression.key)
        return FunctionCall(NOWHERE, (expression.scope, "parameter"), (self.value(expression.key),))

    def _apply(self, expression: Apply, place: _Place) -> Node:
        name, arguments = expression.name, expression.arguments
        if name in ("and", "or"):
            inner = _Place.TRUTH if place is _Place.VALUE else place
            return _logic(name, [self._write(argument, inner) for argument in arguments])
        if name == "not":
            return self._negation(arguments[0], place)
        if name == "!=":
            return self._inequality(arguments[0], arguments[1], place)
        if name == "in json":
            return self._membership(arguments[0], arguments[1], place)
        if name == "is null":
            return IsTest(NOWHERE, self.value(arguments[0]), "null", negated=False)
        if name == "cast":
            assert isinstance(arguments[1], Literal)
            return CastExpression(NOWHERE, self.value(arguments[0]), str(arguments[1].value))
        return self._operation(name.removesuffix(_UNFIXED), arguments)

    def _operation(self, name: str, arguments: tuple[Expression, ...]) -> Node:
        if name in _BINARY:
            claim = self._claim(name, arguments)
            if claim is not None:
                return claim
            if name in _MIRRORED and isinstance(arguments[0], Literal):
                name, arguments = _MIRRORED[name], (arguments[1], arguments[0])
            return BinaryOperation(NOWHERE, name, self.value(arguments[0]), self.value(arguments[1]))
        if name not in FUNCTIONS:
            message = f"Streams have no {name}()"
            hint = "Compute it in the source database, as a column."
            raise CannotMigrate(message, hint=hint, kind=ProblemKind.UNKNOWN_FUNCTION)
        return FunctionCall(NOWHERE, (name,), tuple(self.value(argument) for argument in arguments))

    def _claim(self, operator: str, arguments: tuple[Expression, ...]) -> Node | None:
        """`auth.parameter('k')` for `->> 'k'` of all claims. Without fixed_json_extract, a JSON null would not be the text `null`."""
        document, key = arguments
        if not (self.fixed_json and operator == "->>" and isinstance(document, RequestValue) and document.key is None):
            return None
        if not isinstance(key, Literal) or str(key.value).startswith("$"):
            return None
        return FunctionCall(NOWHERE, (document.scope, "parameter"), (self.value(key),))

    def _negation(self, operand: Expression, place: _Place) -> Node:
        if isinstance(operand, Apply) and operand.name == "is null":
            return IsTest(NOWHERE, self.value(operand.arguments[0]), "null", negated=True)
        if isinstance(operand, Apply) and operand.name == "in json" and place is not _Place.NEGATED:
            test = self._membership(operand.arguments[0], operand.arguments[1], _Place.TRUTH)
            assert isinstance(test, InTest)
            return InTest(NOWHERE, test.operand, test.target, negated=True)
        inner = _Place.NEGATED if place in (_Place.CONDITION, _Place.NEGATED) else _Place.TRUTH
        return Negation(NOWHERE, self._write(operand, inner))

    def _inequality(self, left: Expression, right: Expression, place: _Place) -> Node:
        one, other = self.value(left), self.value(right)
        if place is _Place.VALUE:
            return BinaryOperation(NOWHERE, "-", LiteralValue(NOWHERE, 1), equals(one, other))
        tests: list[Node] = [BinaryOperation(NOWHERE, "!=", one, other)]
        for expression, node in ((left, one), (right, other)):
            if not _is_never_null(expression):
                tests.append(IsTest(NOWHERE, node, "null", negated=True))
        if len(tests) > 1:
            self.remarks.null_tests = True
        return all_of(tests)

    def _membership(self, operand: Expression, array: Expression, place: _Place) -> Node:
        test = InTest(NOWHERE, self.value(operand), self.value(array), negated=False)
        if place is _Place.VALUE:
            return test
        if isinstance(array, Literal) and isinstance(array.value, str):
            return InTest(NOWHERE, test.operand, _list_of(constant_elements(array.value)), negated=False)
        if place is _Place.TRUTH:
            return test
        self.remarks.array_tests = True
        if _joins_elements_and_request(operand, array):
            # Streams compare the two element by element. An array is all that sync rules accept, and an empty one has no match.
            length = FunctionCall(NOWHERE, ("json_array_length",), (self.value(array),))
            is_filled = BinaryOperation(NOWHERE, ">", length, LiteralValue(NOWHERE, 0))
            return all_of([test, is_filled])
        return IsTest(NOWHERE, test, "true", negated=False)


def all_of(parts: Iterable[Node]) -> Node:
    """The conjunction of one part or more, without nested ANDs."""
    return _logic("and", list(parts))


def equals(left: Node, right: Node) -> Node:
    """`left = right`."""
    return BinaryOperation(NOWHERE, "=", left, right)


def constant_elements(array: SyncValue) -> list[SyncValue]:
    """What a constant JSON array holds, without nulls: nothing equals them. Raises CannotMigrate for what is no JSON."""
    try:
        return [value for _, value in elements(array) if value is not None]
    except EvaluationError as exc:
        raise CannotMigrate(f"A constant to the right of IN is no list: {exc}", hint="Write a JSON array.") from None


def reads_request(expression: Expression) -> bool:
    """Whether data of the connection is needed."""
    return any(isinstance(part, RequestValue) for part in walk(expression))


def reads_rows(expression: Expression) -> bool:
    """Whether a row or an element of `json_each` is needed."""
    return any(isinstance(part, (ColumnValue, RowMeta)) for part in walk(expression))


def _logic(operator: str, operands: list[Node]) -> Node:
    flat: list[Node] = []
    for operand in operands:
        flat += operand.operands if isinstance(operand, Logic) and operand.operator == operator else (operand,)
    return flat[0] if len(flat) == 1 else Logic(NOWHERE, operator, tuple(flat))


def _list_of(values: Iterable[SyncValue]) -> ValueList:
    return ValueList(NOWHERE, tuple(LiteralValue(NOWHERE, value) for value in values))


def _is_never_null(expression: Expression) -> bool:
    if isinstance(expression, Literal):
        return expression.value is not None
    return isinstance(expression, RowMeta) or (isinstance(expression, Apply) and expression.name in _NEVER_NULL)


def _joins_elements_and_request(operand: Expression, array: Expression) -> bool:
    """Whether an element of `json_each` is looked for in an array of the connection."""
    return reads_rows(operand) and not reads_request(operand) and reads_request(array) and not reads_rows(array)


def _token_parameter(key: Expression) -> Node:
    """`token_parameters.x`: the member x of the claim `parameters`, except that `user_id` is the token's subject (reference, 8.1)."""
    name = str(key.value) if isinstance(key, Literal) else ""
    if name == "user_id":
        return FunctionCall(NOWHERE, ("auth", "user_id"), ())
    if not _PLAIN_CLAIM.fullmatch(name):
        message = f'token_parameters."{name}" cannot be written as a path'
        raise CannotMigrate(message, hint="Give the member of the claim a name without dots and dollar signs.")
    return FunctionCall(NOWHERE, ("auth", "parameter"), (LiteralValue(NOWHERE, f"$.parameters.{name}"),))
