"""Resolves a whole query: sources, result columns, and its condition with all subqueries inlined as sources."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from syncline.sync_config.compiler.conditions import AllOf, AnyOf, Condition, Term
from syncline.sync_config.compiler.expressions import Apply, ColumnValue, Expression
from syncline.sync_config.compiler.scalars import DerivedColumns, ScalarBinder, Scope
from syncline.sync_config.compiler.sources import REQUEST, BindingBudget, ElementSource, Sources, TableSource
from syncline.sync_config.plan import TablePattern
from syncline.sync_config.problems import ProblemKind
from syncline.sync_config.query_text import QueryText
from syncline.sync_config.source_text import Span
from syncline.sync_config.sql.syntax import (
    BinaryOperation,
    ColumnName,
    FromItem,
    InTest,
    Logic,
    Negation,
    Node,
    ResultColumn,
    Select,
    Star,
    SubqueryValue,
    ValueList,
)
from syncline.sync_config.sql.tokens import SqlError

__all__ = ["DEFAULT_SCHEMA", "BoundSelect", "Cte", "QueryBinder", "column_name"]

DEFAULT_SCHEMA = "public"
SOURCES_MAX = 100  # tables and json_each calls of one query with all its subqueries
_ALWAYS = AllOf(())

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class BoundSelect:
    """A SELECT with names resolved. Tables and conditions of subqueries are in the query's own `Sources` and in `condition`."""

    select: Select
    scope: Scope
    condition: Condition


@dataclass(slots=True)
class Cte:
    """A named subquery. `select` is None where it has problems; these are reported already. `used` is set when a query uses it."""

    text: QueryText
    select: Select | None
    used: bool = False


class BrokenCte(SqlError):
    """A CTE that is used has problems of its own, which are reported where it is written."""


class QueryBinder:
    """Binds one query. `ctes` are the named subqueries that it may use, by name.

    Problems go to `report`, so that all of them are told at once; `broken` says whether there was one.
    """

    def __init__(
        self,
        ctes: Mapping[str, Cte],
        report: Callable[[SqlError], None],
        *,
        fixed_json: bool = True,
        budget: BindingBudget | None = None,
    ) -> None:
        self.sources = Sources(fixed_json=fixed_json, budget=budget)
        self.aliased: dict[int, Span] = {}
        self.broken = False
        self._ctes = ctes
        self._report = report

    def bind_query(self, select: Select) -> BoundSelect:
        """Bind FROM, ON and WHERE of the query itself; every part's problem is reported."""
        scope = Scope()
        conditions: list[Condition] = []
        for item in select.sources:
            conditions += self.attempt(lambda item=item: self._add_source(item.source, scope))
        if len(conditions) == len(select.sources):  # else names would be missing that are written there
            filters = [item.condition for item in select.sources if item.condition is not None]
            for node in [*filters, *([] if select.where is None else [select.where])]:
                for part in _conjuncts(node):
                    conditions += self.attempt(lambda part=part: self._condition(part, scope, negated=False))
        return BoundSelect(select, scope, AllOf(tuple(conditions)))

    def _bind_subquery(self, select: Select, *, elsewhere: bool, outer: Scope | None = None) -> BoundSelect:
        """Bind a subquery. Raises SqlError for its first problem."""
        scope = Scope(outer=outer, elsewhere=elsewhere)
        conditions: list[Condition] = []
        for item in select.sources:
            conditions.append(self._add_source(item.source, scope))
            if item.condition is not None:
                conditions.append(self._condition(item.condition, scope, negated=False))
        if select.where is not None:
            conditions.append(self._condition(select.where, scope, negated=False))
        return BoundSelect(select, scope, AllOf(tuple(conditions)))

    def attempt(self, action: Callable[[], _T]) -> list[_T]:
        """The result of an action as a list of one, or an empty list after its problem was reported."""
        try:
            return [action()]
        except SqlError as exc:
            self.broken = True
            if not isinstance(exc, BrokenCte):
                self.report(exc)
            return []

    def report(self, problem: SqlError) -> None:
        """Tell a problem that does not keep the rest of the query from being looked at."""
        self.broken = True
        self._report(problem)

    def bind_value(self, node: Node, scope: Scope) -> Expression:
        """Bind a scalar expression. Raises SqlError."""
        return ScalarBinder(self.sources, scope).bind(node)

    # FROM

    def _add_source(self, item: FromItem, scope: Scope) -> Condition:
        if len(self.sources) >= SOURCES_MAX:
            raise SqlError(f"The query has more than {SOURCES_MAX} sources", item.span, kind=ProblemKind.TOO_LARGE)
        if item.subquery is not None:
            if item.alias is None:
                raise SqlError(
                    "A subquery in FROM needs a name",
                    item.span,
                    kind=ProblemKind.SQL_SYNTAX,
                    hint="Write (SELECT …) AS name.",
                )
            return self._add_derived(item.subquery, item.alias, scope, item, elsewhere=scope.elsewhere)
        if item.function is not None:
            self._add_function(item, scope)
            return _ALWAYS
        name = item.parts[-1]
        if len(item.parts) == 1 and name in self._ctes and not scope.elsewhere:
            return self._add_derived(self._cte(name, item.span), item.alias or name, scope, item, elsewhere=True)
        scope.add(item.alias or name, self._add_table(item, scope), item.span)
        return _ALWAYS

    def _cte(self, name: str, span: Span) -> Select:
        cte = self._ctes[name]
        cte.used = True
        if cte.select is None:
            raise BrokenCte(f'The subquery "{name}" has problems', span)
        return cte.select

    def _add_table(self, item: FromItem, scope: Scope) -> int:
        if len(item.parts) > 2:
            raise SqlError("A table is named by schema and name at most", item.span, hint="Write schema.table.")
        schema = item.parts[0].rpartition(".")[2] if len(item.parts) == 2 else DEFAULT_SCHEMA
        name = str(item.parts[len(item.parts) - 1])
        object_type = item.alias or (None if name.endswith("%") else name)
        number = self.sources.add_table(TableSource(TablePattern(schema, name), object_type))
        if item.alias is not None:
            self.aliased[number] = item.span
        if not scope.elsewhere:
            self.sources.table_spans[number] = item.span
        return number

    def _add_function(self, item: FromItem, scope: Scope) -> None:
        call = item.function
        assert call is not None
        if call.parts != ("json_each",):
            raise SqlError(
                "The only function that can stand in FROM is json_each", call.span, kind=ProblemKind.NOT_A_TABLE
            )
        if len(call.arguments) != 1:
            raise SqlError("json_each takes one argument", call.span, kind=ProblemKind.ARGUMENT_COUNT)
        argument = ScalarBinder(self.sources, scope).bind(call.arguments[0])
        number = self.sources.add_elements(argument, call.span)
        columns: dict[str, Expression] = {name: ColumnValue(number, name) for name in ("key", "value")}
        scope.add(item.alias or "json_each", DerivedColumns(columns), item.span)

    def _add_derived(self, select: Select, name: str, scope: Scope, item: FromItem, *, elsewhere: bool) -> Condition:
        bound = self._bind_subquery(select, elsewhere=elsewhere)
        names = item.column_aliases
        if names and len(names) != len(select.columns):
            raise SqlError(
                "The list of column names and the subquery differ in length",
                item.span,
                kind=ProblemKind.SUBQUERY_COLUMN_COUNT,
            )
        columns: dict[str, Expression] = {}
        binder = ScalarBinder(self.sources, bound.scope)
        for index, column in enumerate(select.columns):
            if isinstance(column.expression, Star):
                raise SqlError(
                    "`*` is not supported in a subquery",
                    item.span,
                    kind=ProblemKind.STAR_IN_SUBQUERY,
                    hint="Name the columns.",
                )
            key = names[index] if names else column_name(column)
            columns[key] = binder.bind(column.expression)
        scope.add(name, DerivedColumns(columns), item.span)
        return bound.condition

    # WHERE and ON

    def _condition(self, node: Node, scope: Scope, *, negated: bool) -> Condition:
        """The condition as a tree, with NOT pushed down to the terms (De Morgan)."""
        self.sources.budget.take_term(node.span)
        match node:
            case Logic():
                parts = tuple(self._condition(operand, scope, negated=negated) for operand in node.operands)
                return AllOf(parts) if (node.operator == "and") != negated else AnyOf(parts)
            case Negation():
                return self._condition(node.operand, scope, negated=not negated)
            case InTest():
                return self._in_condition(node, scope, negated=negated != node.negated)
            case BinaryOperation(operator="&&"):
                return self._overlap(node, scope, negated=negated)
            case _:
                return self._term(ScalarBinder(self.sources, scope).bind(node), node.span, negated=negated)

    def _term(self, expression: Expression, span: Span, *, negated: bool) -> Term:
        if not negated:
            return Term(expression, span)
        if isinstance(expression, Apply) and expression.name == "not":
            return Term(expression.arguments[0], span)
        return Term(Apply("not", (expression,)), span)

    def _in_condition(self, node: InTest, scope: Scope, *, negated: bool) -> Condition:
        select, elsewhere = self._subquery(node.target, scope)
        if select is None:
            return self._in_array(node, scope, negated=negated)
        if negated:
            raise SqlError(
                "NOT IN (SELECT …) is not supported",
                node.span,
                kind=ProblemKind.MIXED_SOURCES,
                hint="A bucket can only be found by values that are there, not by their absence.",
            )
        operand = ScalarBinder(self.sources, scope).bind(node.operand)
        value, condition = self._single_column(select, node.span, scope, elsewhere=elsewhere)
        return AllOf((Term(Apply("=", (operand, value)), node.span), condition))

    def _subquery(self, target: Select | Node, scope: Scope) -> tuple[Select | None, bool]:
        """The SELECT to the right of IN, written there or named by a CTE, and whether its text is elsewhere."""
        if isinstance(target, Select):
            return target, scope.elsewhere
        if isinstance(target, SubqueryValue):
            return target.select, scope.elsewhere
        if isinstance(target, ColumnName) and len(target.parts) == 1 and not scope.elsewhere:
            name = target.parts[0]
            if name in self._ctes:
                return self._cte(name, target.span), True
        return None, False

    def _single_column(
        self, select: Select, span: Span, scope: Scope, *, elsewhere: bool
    ) -> tuple[Expression, Condition]:
        if len(select.columns) != 1 or isinstance(select.columns[0].expression, Star):
            raise SqlError(
                "A subquery to the right of IN must have exactly one column", span, kind=ProblemKind.ONE_COLUMN_EXPECTED
            )
        outer = scope if elsewhere == scope.elsewhere else None  # a CTE sees no names around it
        bound = self._bind_subquery(select, elsewhere=elsewhere, outer=outer)
        value = ScalarBinder(self.sources, bound.scope).bind(select.columns[0].expression)
        return value, bound.condition

    def _in_array(self, node: InTest, scope: Scope, *, negated: bool) -> Condition:
        """`x IN` a list is a filter. `x IN` JSON of another source compares x with its elements, as json_each gives them."""
        binder = ScalarBinder(self.sources, scope)
        if isinstance(node.target, ValueList) or negated:
            test = binder.bind_in_values(InTest(node.span, node.operand, node.target, negated=False))
            return self._term(test, node.span, negated=negated)
        assert not isinstance(node.target, Select)
        operand, array = binder.bind(node.operand), binder.bind(node.target)
        left, right = self.sources.owners(operand), self.sources.owners(array)
        request = frozenset({REQUEST})
        if left == request and right <= request:
            raise _both_sides_connection("IN", ProblemKind.REQUEST_TABLE_FUNCTION_PARTITION, node.span)
        if left == right or not right or (not left and right != request):
            return Term(Apply("in elements", (operand, array)), node.span)
        number = self.sources.add_elements(array, node.span)
        return Term(Apply("=", (operand, ColumnValue(number, "value"))), node.span)

    def _overlap(self, node: BinaryOperation, scope: Scope, *, negated: bool) -> Condition:
        if negated:
            raise SqlError("NOT over && is not supported", node.span, kind=ProblemKind.MIXED_SOURCES)
        left, of_left = self._overlap_side(node.left, scope)
        right, of_right = self._overlap_side(node.right, scope)
        owners = [self.sources.owners(side) or frozenset({REQUEST}) for side in (left, right)]
        if all(self._of_connection(side) for side in owners):
            raise _both_sides_connection("&&", ProblemKind.UNASSOCIATED_FILTER, node.span)
        if owners[0] == owners[1]:
            raise SqlError(
                "Both sides of && belong to the same source", node.span, kind=ProblemKind.UNASSOCIATED_FILTER
            )
        return AllOf((Term(Apply("=", (left, right)), node.span), of_left, of_right))

    def _of_connection(self, owners: frozenset[int]) -> bool:
        return all(
            owner == REQUEST or (isinstance(source := self.sources[owner], ElementSource) and source.owner == REQUEST)
            for owner in owners
        )

    def _overlap_side(self, node: Node, scope: Scope) -> tuple[Expression, Condition]:
        """One element of a side: of a JSON list, or a row of a subquery."""
        if isinstance(node, SubqueryValue):
            return self._single_column(node.select, node.span, scope, elsewhere=scope.elsewhere)
        number = self.sources.add_elements(ScalarBinder(self.sources, scope).bind(node), node.span)
        return ColumnValue(number, "value"), _ALWAYS


def _both_sides_connection(operator: str, kind: ProblemKind, span: Span) -> SqlError:
    hint = "Write IN ARRAY[…] for constants, or put the answer into the token's claims."
    return SqlError(f"Both sides of {operator} are data of the connection", span, kind=kind, hint=hint)


def _conjuncts(node: Node) -> Sequence[Node]:
    """The parts of a top-level AND: each can have a problem of its own."""
    return node.operands if isinstance(node, Logic) and node.operator == "and" else (node,)


def column_name(column: ResultColumn) -> str:
    """The name of a result column: its alias, or the column that it is. Empty where it has none."""
    if column.alias is not None:
        return column.alias
    return column.expression.parts[-1] if isinstance(column.expression, ColumnName) else ""
