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
from syncline.sync_config.compiler.function_hints import function_hint
from syncline.sync_config.compiler.sources import BindingWarning, ColumnUse, Sources, TableSource
from syncline.sync_config.evaluation.functions import FUNCTIONS
from syncline.sync_config.problems import ProblemKind
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
    SubqueryValue,
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

    An `int` is the number of a source; the rest are inlined subqueries. `elsewhere` scopes belong to a CTE, whose text is not the
    query's.
    """

    names: dict[str, int | DerivedColumns] = field(default_factory=dict[str, "int | DerivedColumns"])
    outer: Scope | None = None
    elsewhere: bool = False

    def find(self, name: str) -> int | DerivedColumns | None:
        """The source of this name, here or around the subquery."""
        if name in self.names or self.outer is None:
            return self.names.get(name)
        return self.outer.find(name)

    def add(self, name: str, target: int | DerivedColumns, span: Span) -> None:
        """Bring a source into scope. Raises SqlError for a name that is there already."""
        if name in self.names:
            raise SqlError(
                f'The name "{name}" stands for two sources here',
                span,
                kind=ProblemKind.DUPLICATE_NAME,
                hint="Give one of them an alias.",
            )
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
                    raise SqlError(
                        "A minus sign before an expression is not supported",
                        node.span,
                        kind=ProblemKind.UNARY_MINUS,
                        hint="Write 0 - x.",
                    )
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
                    raise SqlError(
                        f"CAST to {node.type_name} is not supported", node.span, kind=ProblemKind.BAD_CAST, hint=hint
                    )
                return Apply("cast", (self.bind(node.operand), literal(node.type_name)))
            case CaseExpression():
                return self._case(node)
            case InTest():
                return self.bind_in_values(node)
            case ValueList():
                raise SqlError(
                    "ARRAY and ROW may only stand to the right of IN",
                    node.span,
                    kind=ProblemKind.UNSUPPORTED_EXPRESSION,
                    hint='Write the list as JSON text: \'["a", "b"]\'.',
                )
            case SubqueryValue():
                raise SqlError(
                    "A subquery may only stand in FROM, to the right of IN, and beside &&",
                    node.span,
                    kind=ProblemKind.SUBQUERY_POSITION,
                    hint="Write x IN (SELECT …), or join the table.",
                )
            case _:
                raise SqlError("This is not supported here", node.span, kind=ProblemKind.UNSUPPORTED_EXPRESSION)

    def bind_in_values(self, node: InTest) -> Expression:
        """`x IN` a list or JSON array as a plain test of values."""
        if isinstance(node.target, Select):
            raise SqlError(
                "IN (SELECT …) may only stand in WHERE and ON, joined by AND and OR",
                node.span,
                kind=ProblemKind.SUBQUERY_POSITION,
            )
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
            raise SqlError(
                "&& may only stand in WHERE and ON, joined by AND and OR", node.span, kind=ProblemKind.NOT_A_TABLE
            )
        left, right = self.bind(node.left), self.bind(node.right)
        match node.operator:
            case "!=":
                return Apply("not", (Apply("=", (left, right)),))
            case ">":
                return Apply("<", (right, left))
            case ">=":
                return Apply("<=", (right, left))
            case "->" | "->>" if self._is_no_key(right):
                raise SqlError(
                    "The key of -> and ->> must be a text or integer constant",
                    node.right.span,
                    kind=ProblemKind.UNSUPPORTED_EXPRESSION,
                )
            case "->" | "->>" if not self.sources.fixed_json:
                return Apply(f"{node.operator} unfixed", (left, right))
            case _:
                return Apply(node.operator, (left, right))

    def _is_no_key(self, key: Expression) -> bool:
        return not isinstance(key, Literal) or not isinstance(key.value, (str, int))

    def _column(self, node: ColumnName) -> Expression:
        names = self.scope.names
        if not names and self.scope.outer is not None:
            return ScalarBinder(self.sources, self.scope.outer).bind(node)
        if len(node.parts) == 1:
            if len(names) != 1:
                what = "No table is in scope" if not names else f'It is ambiguous whose column "{node.parts[0]}" is'
                kind = ProblemKind.UNKNOWN_SOURCE if not names else ProblemKind.AMBIGUOUS_COLUMN
                raise SqlError(what, node.span, kind=kind, hint="Write table.column.")
            return self._member(next(iter(names)), node.parts[0], node.span)
        return self._member(node.parts[-2], node.parts[-1], node.span)

    def _member(self, qualifier: str, column: str, span: Span) -> Expression:
        target = self._target(qualifier, span)
        if isinstance(target, int):
            if not self.scope.elsewhere:
                self.sources.column_uses.append(ColumnUse(target, column, span))
            return ColumnValue(target, column)
        if column not in target.columns:
            raise SqlError(f'"{qualifier}" has no column "{column}"', span, kind=ProblemKind.UNKNOWN_SUBQUERY_COLUMN)
        self.sources.budget.take_parts(target.columns[column], span)
        return target.columns[column]

    def _target(self, qualifier: str, span: Span) -> int | DerivedColumns:
        target = self.scope.find(qualifier)
        if target is None:
            known = ", ".join(sorted(self.scope.names)) or "none"
            raise SqlError(
                f'No source named "{qualifier}" is in scope',
                span,
                kind=ProblemKind.UNKNOWN_SOURCE,
                hint=f"In scope: {known}.",
            )
        return target

    def _call(self, node: FunctionCall) -> Expression:
        *schema, name = node.parts
        name = name.lower()
        if schema:
            if len(schema) == 1 and schema[0] in _REQUEST_SCOPES and self.scope.find(schema[0]) is None:
                return self._request_value(schema[0], name, node)
            return self._row_meta(schema[-1], name, node)
        if name in _NON_DETERMINISTIC:
            raise SqlError(
                f"{name}() gives another value each time and cannot be used",
                node.span,
                kind=ProblemKind.UNKNOWN_FUNCTION,
            )
        function = FUNCTIONS.get(name)
        if function is None:
            hint = function_hint(name, FUNCTIONS)
            raise SqlError(f"There is no function {name}()", node.span, kind=ProblemKind.UNKNOWN_FUNCTION, hint=hint)
        count = len(node.arguments)
        most = function.arguments_max
        if count < function.arguments_min or (most is not None and count > most):
            raise SqlError(
                f"{name}() does not take {count} argument{'s' * (count != 1)}",
                node.span,
                kind=ProblemKind.ARGUMENT_COUNT,
            )
        arguments = tuple(self.bind(argument) for argument in node.arguments)
        if name == "json_extract" and not self.sources.fixed_json:
            return Apply("json_extract unfixed", arguments)
        return Apply(name, arguments)

    def _request_value(self, scope: str, name: str, node: FunctionCall) -> Expression:
        if name == "user_id" and scope == "auth":
            return RequestValue("auth", literal("sub"))
        if name == "parameters":
            return RequestValue(scope, None)
        if name == "user_id":
            message, hint = f"{scope} has no user_id()", "Write auth.user_id()."
            raise SqlError(message, node.span, kind=ProblemKind.USER_ID_ONLY_ON_AUTH, hint=hint)
        if name != "parameter":
            raise SqlError(
                f"There is no function {scope}.{name}()",
                node.span,
                kind=ProblemKind.UNKNOWN_REQUEST_FUNCTION,
                hint="There are auth.user_id(), and parameter('key') and parameters() of auth, connection, subscription.",
            )
        if len(node.arguments) != 1:
            raise SqlError(f"{scope}.parameter() takes one argument", node.span, kind=ProblemKind.ARGUMENT_COUNT)
        key = self.bind(node.arguments[0])
        if any(isinstance(part, (ColumnValue, RowMeta)) for part in walk(key)):
            raise SqlError(
                f"The key of {scope}.parameter() may not depend on a row",
                node.arguments[0].span,
                kind=ProblemKind.MIXED_SOURCES,
            )
        return RequestValue(scope, key)

    def _row_meta(self, qualifier: str, name: str, node: FunctionCall) -> Expression:
        target = self.scope.find(qualifier)
        if qualifier == "request" and target is None:
            raise SqlError(
                "request.… belongs to bucket_definitions",
                node.span,
                kind=ProblemKind.BAD_FUNCTION_SCHEMA,
                hint="Write auth.user_id(), auth.parameter('key'), connection.parameter('key') or subscription.parameter('key').",
            )
        if target is None and name in _ROW_META:
            raise SqlError(f'No source named "{qualifier}" is in scope', node.span, kind=ProblemKind.UNKNOWN_SOURCE)
        if target is None or name not in _ROW_META:
            raise SqlError(
                f"There is no function {'.'.join(node.parts)}()", node.span, kind=ProblemKind.UNKNOWN_FUNCTION
            )
        if not isinstance(target, int) or not isinstance(self.sources[target], TableSource):
            raise SqlError(f"{name}() needs a table", node.span, kind=ProblemKind.METADATA_ON_SUBQUERY)
        if node.arguments:
            raise SqlError(f"{name}() takes no arguments", node.span, kind=ProblemKind.ARGUMENT_COUNT)
        self._warn_of_suffix(target, name, node.span)
        return RowMeta(target, name)

    def _warn_of_suffix(self, number: int, name: str, span: Span) -> None:
        source = self.sources[number]
        plain = isinstance(source, TableSource) and not source.pattern.name.endswith("%")
        if name == "table_suffix" and plain and not self.scope.elsewhere:
            message = "table_suffix() is always empty for a table without a wildcard"
            hint = 'Write "prefix%" as the table\'s name, or table_name().'
            self.sources.warnings.append(BindingWarning(ProblemKind.SUFFIX_WITHOUT_WILDCARD, message, span, hint))
