"""Resolves names, functions and operators of scalar expressions."""

from __future__ import annotations

from dataclasses import dataclass, field

from syncline.sync_config.compiler.expressions import (
    Apply,
    Case,
    ColumnValue,
    Expression,
    Literal,
    RequestValue,
    RowMeta,
    literal,
    walk,
)
from syncline.sync_config.compiler.sources import Sources, TableSource
from syncline.sync_config.evaluation.functions import FUNCTIONS
from syncline.sync_config.source_text import Span
from syncline.sync_config.sql.syntax import (
    BetweenTest,
    BinaryOperation,
    CaseExpression,
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

__all__ = ["DerivedColumns", "ScalarBinder", "Scope"]

_REQUEST_SCOPES = frozenset({"auth", "connection", "subscription"})
_ROW_META = frozenset({"schema", "table_name", "table_suffix"})
_CAST_TYPES = frozenset({"text", "numeric", "integer", "real", "blob"})
_NON_DETERMINISTIC = frozenset({"random", "randomblob"})


@dataclass(frozen=True, slots=True)
class DerivedColumns:
    """A subquery, CTE or `json_each` in FROM: its result columns by name."""

    columns: dict[str, Expression]


@dataclass(slots=True)
class Scope:
    """The names of one FROM clause, and around a subquery those of the outer one.

    An `int` is the number of a source; the rest are inlined subqueries.
    """

    names: dict[str, int | DerivedColumns] = field(default_factory=dict[str, "int | DerivedColumns"])
    outer: Scope | None = None

    def find(self, name: str) -> int | DerivedColumns | None:
        """The source of this name, here or around the subquery."""
        if name in self.names or self.outer is None:
            return self.names.get(name)
        return self.outer.find(name)

    def add(self, name: str, target: int | DerivedColumns, span: Span) -> None:
        """Bring a source into scope. Raises SqlError for a name that is there already."""
        if name in self.names:
            raise SqlError(f'The name "{name}" stands for two sources here', span, hint="Give one of them an alias.")
        self.names[name] = target


class ScalarBinder:
    """Binds scalar expressions of one scope."""

    def __init__(self, sources: Sources, scope: Scope) -> None:
        self.sources = sources
        self.scope = scope

    def bind(self, node: Node) -> Expression:
        """The bound expression. Raises SqlError for what is unknown or not supported."""
        match node:
            case LiteralValue():
                return literal(node.value)
            case ColumnName():
                return self._column(node)
            case FunctionCall():
                return self._call(node)
            case BinaryOperation():
                return self._binary(node)
            case UnaryOperation():
                if node.operator == "-":
                    raise SqlError("A minus sign before an expression is not supported", node.span, hint="Write 0 - x.")
                return Apply("sign", (self.bind(node.operand),))
            case Logic():
                parts = tuple(self.bind(operand) for operand in node.operands)
                return Apply(node.operator, parts)
            case Negation():
                return Apply("not", (self.bind(node.operand),))
            case _:
                return self._special(node)

    def _special(self, node: Node) -> Expression:
        match node:
            case IsTest():
                test = Apply(f"is {node.what}", (self.bind(node.operand),))
                return Apply("not", (test,)) if node.negated else test
            case BetweenTest():
                return self._between(node)
            case CastExpression():
                if node.type_name not in _CAST_TYPES:
                    hint = f"The types are {', '.join(sorted(_CAST_TYPES))}."
                    raise SqlError(f"CAST to {node.type_name} is not supported", node.span, hint=hint)
                return Apply("cast", (self.bind(node.operand), literal(node.type_name)))
            case CaseExpression():
                return self._case(node)
            case InTest():
                return self.bind_in_values(node)
            case _:
                raise SqlError("This is not supported here", node.span)

    def bind_in_values(self, node: InTest) -> Expression:
        """`x IN` a list or JSON array as a plain test of values."""
        if isinstance(node.target, Select):
            raise SqlError("IN (SELECT …) may only stand in WHERE and ON, joined by AND and OR", node.span)
        operand = self.bind(node.operand)
        if isinstance(node.target, ValueList):
            test = Apply("in list", (operand, *(self.bind(item) for item in node.target.items)))
        else:
            test = Apply("in json", (operand, self.bind(node.target)))
        return Apply("not", (test,)) if node.negated else test

    def _between(self, node: BetweenTest) -> Expression:
        test = Apply("between", (self.bind(node.operand), self.bind(node.low), self.bind(node.high)))
        return Apply("not", (test,)) if node.negated else test

    def _case(self, node: CaseExpression) -> Expression:
        return Case(
            None if node.operand is None else self.bind(node.operand),
            tuple((self.bind(condition), self.bind(value)) for condition, value in node.branches),
            literal(None) if node.otherwise is None else self.bind(node.otherwise),
        )

    def _binary(self, node: BinaryOperation) -> Expression:
        if node.operator == "&&":
            raise SqlError("&& may only stand in WHERE and ON, joined by AND and OR", node.span)
        left, right = self.bind(node.left), self.bind(node.right)
        match node.operator:
            case "!=":
                return Apply("not", (Apply("=", (left, right)),))
            case ">":
                return Apply("<", (right, left))
            case ">=":
                return Apply("<=", (right, left))
            case "->" | "->>" if not isinstance(right, Literal) or not isinstance(right.value, (str, int)):
                raise SqlError("The key of -> and ->> must be a text or integer constant", node.right.span)
            case _:
                return Apply(node.operator, (left, right))

    def _column(self, node: ColumnName) -> Expression:
        names = self.scope.names
        if not names and self.scope.outer is not None:
            return ScalarBinder(self.sources, self.scope.outer).bind(node)
        if len(node.parts) == 1:
            if len(names) != 1:
                what = "No table is in scope" if not names else f'It is ambiguous whose column "{node.parts[0]}" is'
                raise SqlError(what, node.span, hint="Write table.column.")
            return self._member(next(iter(names)), node.parts[0], node.span)
        return self._member(node.parts[-2], node.parts[-1], node.span)

    def _member(self, qualifier: str, column: str, span: Span) -> Expression:
        target = self._target(qualifier, span)
        if isinstance(target, int):
            return ColumnValue(target, column)
        if column not in target.columns:
            raise SqlError(f'"{qualifier}" has no column "{column}"', span)
        return target.columns[column]

    def _target(self, qualifier: str, span: Span) -> int | DerivedColumns:
        target = self.scope.find(qualifier)
        if target is None:
            known = ", ".join(sorted(self.scope.names)) or "none"
            raise SqlError(f'No source named "{qualifier}" is in scope', span, hint=f"In scope: {known}.")
        return target

    def _call(self, node: FunctionCall) -> Expression:
        *schema, name = node.parts
        name = name.lower()
        if schema:
            if len(schema) == 1 and schema[0] in _REQUEST_SCOPES and self.scope.find(schema[0]) is None:
                return self._request_value(schema[0], name, node)
            return self._row_meta(schema[-1], name, node)
        if name in _NON_DETERMINISTIC:
            raise SqlError(f"{name}() gives another value each time and cannot be used", node.span)
        function = FUNCTIONS.get(name)
        if function is None:
            hint = f"Functions: {', '.join(sorted(FUNCTIONS))}."
            raise SqlError(f"There is no function {name}()", node.span, hint=hint)
        count = len(node.arguments)
        most = function.arguments_max
        if count < function.arguments_min or (most is not None and count > most):
            raise SqlError(f"{name}() does not take {count} argument{'s' * (count != 1)}", node.span)
        return Apply(name, tuple(self.bind(argument) for argument in node.arguments))

    def _request_value(self, scope: str, name: str, node: FunctionCall) -> Expression:
        if name == "user_id" and scope == "auth":
            return RequestValue("auth", literal("sub"))
        if name == "parameters":
            return RequestValue(scope, None)
        if name != "parameter":
            raise SqlError(
                f"There is no function {scope}.{name}()",
                node.span,
                hint="There are auth.user_id(), and parameter('key') and parameters() of auth, connection, subscription.",
            )
        if len(node.arguments) != 1:
            raise SqlError(f"{scope}.parameter() takes one argument", node.span)
        key = self.bind(node.arguments[0])
        if any(isinstance(part, (ColumnValue, RowMeta)) for part in walk(key)):
            raise SqlError(f"The key of {scope}.parameter() may not depend on a row", node.arguments[0].span)
        return RequestValue(scope, key)

    def _row_meta(self, qualifier: str, name: str, node: FunctionCall) -> Expression:
        target = self.scope.find(qualifier)
        if target is None or name not in _ROW_META:
            raise SqlError(f"There is no function {'.'.join(node.parts)}()", node.span)
        if not isinstance(target, int) or not isinstance(self.sources[target], TableSource):
            raise SqlError(f"{name}() needs a table", node.span)
        if node.arguments:
            raise SqlError(f"{name}() takes no arguments", node.span)
        return RowMeta(target, name)
