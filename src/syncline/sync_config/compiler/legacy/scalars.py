"""Binds scalar expressions of sync rules: a smaller language than that of streams (sync config reference, 8.2)."""

from __future__ import annotations

from syncline.sync_config.compiler.expressions import Apply, Expression, Literal, literal
from syncline.sync_config.compiler.legacy.names import Names, Parameters, Side, side_of
from syncline.sync_config.evaluation.functions import LEGACY_FUNCTIONS
from syncline.sync_config.evaluation.json_values import parse_json
from syncline.sync_config.evaluation.values import EvaluationError, legacy_literal
from syncline.sync_config.problems import ProblemKind
from syncline.sync_config.source_text import Span
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
    Select,
    UnaryOperation,
    ValueList,
)
from syncline.sync_config.sql.tokens import SqlError

__all__ = ["LegacyScalars", "check_membership"]

_OPERATORS = frozenset({"=", "!=", "<", "<=", "+", "-", "*", "/", "||"})
_TURNED = {">": "<", ">=": "<="}
_JSON_ACCESS = frozenset({"->", "->>"})
_CAST_TYPES = ("text", "numeric", "integer", "real", "blob")
_STREAM_SCOPES = frozenset({"auth", "connection", "subscription"})


class LegacyScalars:
    """Binds expressions of one query. `fixed_json` is the option `fixed_json_extract`: which reading of JSON paths is meant."""

    def __init__(self, names: Names, *, fixed_json: bool) -> None:
        self.names = names
        self.fixed_json = fixed_json
        self._unfixed = "" if fixed_json else " unfixed"

    def bind(self, node: Node) -> Expression:
        """The bound expression. Raises SqlError for what is unknown, not supported, or mixes a row with parameters."""
        match node:
            case LiteralValue():
                return literal(legacy_literal(node.value))
            case ColumnName():
                return self.names.column(node)
            case FunctionCall():
                return self._call(node)
            case BinaryOperation():
                return self._binary(node)
            case Logic():
                return self.apply(node.operator, tuple(self.bind(operand) for operand in node.operands), node.span)
            case Negation():
                return self.apply("not", (self.bind(node.operand),), node.span)
            case IsTest():
                return self._null_test(node)
            case InTest():
                target = check_membership(node)
                return self.membership(self.bind(node.operand), self.bind(target), node.span)
            case CastExpression():
                return self._cast(node)
            case UnaryOperation():
                raise _unsupported_operator(f"A {node.operator} before an expression", node.span, hint="Write 0 - x.")
            case _:
                raise _unsupported_expression(node.span)

    def apply(self, name: str, arguments: tuple[Expression, ...], span: Span) -> Expression:
        """An operator or function over bound arguments. Raises SqlError where they may not come together."""
        expression = Apply(name, arguments)
        side = side_of(expression)
        if self.names.parameters is Parameters.BUCKET and Side.PARAMETER in side:
            raise SqlError(
                "A bucket parameter cannot be part of an expression",
                span,
                kind=ProblemKind.BUCKET_PARAMETER_IN_EXPRESSION,
                hint="Write column = bucket.parameter or bucket.parameter IN column, joined by AND and OR.",
            )
        if side is Side.BOTH and self.names.keeps_sides_apart:
            raise SqlError(
                "An expression cannot read both a row and the connection",
                span,
                kind=ProblemKind.MIXED_SOURCES,
                hint="They can only be compared with = or IN.",
            )
        return expression

    def membership(self, operand: Expression, array: Expression, span: Span) -> Expression:
        """`x IN` JSON array text, as a test of values."""
        if isinstance(array, Literal) and array.value is not None:
            self._check_array(array, span)
        return self.apply("in json", (operand, array), span)

    def _check_array(self, array: Literal, span: Span) -> None:
        """A constant that is no array would fail for every row: better said now."""
        try:
            is_array = isinstance(parse_json(array.value), list)
        except EvaluationError:
            is_array = False
        if not is_array:
            message = "To the right of IN stands no JSON array"
            hint = 'Write the list as JSON text: IN \'["a", "b"]\'.'
            raise SqlError(message, span, kind=ProblemKind.UNSUPPORTED_EXPRESSION, hint=hint)

    def _binary(self, node: BinaryOperation) -> Expression:
        operator = node.operator
        if operator in _JSON_ACCESS:
            return self._json_access(node)
        if operator in _TURNED:
            return self.apply(_TURNED[operator], (self.bind(node.right), self.bind(node.left)), node.span)
        if operator not in _OPERATORS:
            raise _unsupported_operator(f"The operator {operator}", node.span)
        return self.apply(operator, (self.bind(node.left), self.bind(node.right)), node.span)

    def _json_access(self, node: BinaryOperation) -> Expression:
        key = node.right
        if not isinstance(key, LiteralValue) or not isinstance(key.value, str):
            raise SqlError(
                f"The key of {node.operator} must be a text constant",
                key.span,
                kind=ProblemKind.UNSUPPORTED_EXPRESSION,
                hint=f"An element of an array is written {node.operator} '0'.",
            )
        return self.apply(f"{node.operator}{self._unfixed}", (self.bind(node.left), literal(key.value)), node.span)

    def _null_test(self, node: IsTest) -> Expression:
        if node.what != "null":
            hint = "Write = 1 or = 0."
            raise _unsupported_operator(f"IS {'NOT ' * node.negated}{node.what.upper()}", node.span, hint=hint)
        test = self.apply("is null", (self.bind(node.operand),), node.span)
        return Apply("not", (test,)) if node.negated else test

    def _cast(self, node: CastExpression) -> Expression:
        if node.type_name not in _CAST_TYPES:
            message = f"CAST to {node.type_name} is not supported"
            hint = f"The types are {', '.join(_CAST_TYPES)}."
            raise SqlError(message, node.span, kind=ProblemKind.BAD_CAST, hint=hint)
        return self.apply("cast", (self.bind(node.operand), literal(node.type_name)), node.span)

    def _call(self, node: FunctionCall) -> Expression:
        arguments = tuple(self.bind(argument) for argument in node.arguments)
        request_value = self.names.request_value(node, arguments)
        if request_value is not None:
            return request_value
        name = ".".join(node.parts)
        function = LEGACY_FUNCTIONS.get(name)
        if function is None:
            hint = f"Functions: {', '.join(sorted(LEGACY_FUNCTIONS))}."
            if node.parts[0] in _STREAM_SCOPES or node.parts[0] == "request":
                hint = "Parameter queries have request.user_id(), request.jwt(), request.parameters(), request.parameter('key')."
            raise SqlError(f"There is no function {name}()", node.span, kind=ProblemKind.UNKNOWN_FUNCTION, hint=hint)
        # Numbers of arguments are not checked in this language: what is too much means nothing, what is missing is NULL.
        missing = function.arguments_min - len(arguments)
        given = (*arguments[: function.arguments_max], *(literal(None) for _ in range(missing)))
        return self.apply(f"{name}{self._unfixed}" if name == "json_extract" else name, given, node.span)


def check_membership(node: InTest) -> Node:
    """The JSON array of an IN. Raises SqlError for the forms of IN that sync rules do not have."""
    if isinstance(node.target, (Select, ValueList)):
        hint = 'Write the list as JSON text: IN \'["a", "b"]\'.'
        raise _unsupported_expression(node.span, hint=hint)
    if node.negated:
        raise _unsupported_operator("NOT IN", node.span, hint="Write NOT (x IN …).")
    return node.target


def _unsupported_operator(what: str, span: Span, *, hint: str = "") -> SqlError:
    return SqlError(f"{what} is not supported in sync rules", span, kind=ProblemKind.UNSUPPORTED_OPERATOR, hint=hint)


def _unsupported_expression(span: Span, *, hint: str = "Streams (edition 3) have a larger language.") -> SqlError:
    message = "This is not supported in sync rules"
    return SqlError(message, span, kind=ProblemKind.UNSUPPORTED_EXPRESSION, hint=hint)
