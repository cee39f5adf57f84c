"""Resolves a whole query: sources, result columns, and its condition with all subqueries inlined as sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from syncline.sync_config.compiler.conditions import AllOf, AnyOf, Condition, Term
from syncline.sync_config.compiler.expressions import Apply, ColumnValue, Expression
from syncline.sync_config.compiler.scalars import DerivedColumns, ScalarBinder, Scope
from syncline.sync_config.compiler.sources import REQUEST, Sources, TableSource
from syncline.sync_config.plan import TablePattern
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
    ValueList,
)
from syncline.sync_config.sql.tokens import SqlError

__all__ = ["DEFAULT_SCHEMA", "BoundSelect", "QueryBinder"]

DEFAULT_SCHEMA = "public"
SOURCES_MAX = 100  # tables and json_each calls of one query with all its subqueries
_ALWAYS = AllOf(())


@dataclass(frozen=True, slots=True)
class BoundSelect:
    """A SELECT with names resolved. Tables and conditions of subqueries are in the query's own `Sources` and in `condition`."""

    select: Select
    scope: Scope
    condition: Condition


class QueryBinder:
    """Binds one query. `ctes` are the named subqueries that it may use, by name."""

    def __init__(self, ctes: Mapping[str, Select]) -> None:
        self.sources = Sources()
        self.used_ctes: set[str] = set()
        self.aliased: dict[int, Span] = {}
        self._ctes = ctes

    def bind_select(self, select: Select, *, inside_cte: bool = False, outer: Scope | None = None) -> BoundSelect:
        """Bind FROM, ON and WHERE. Raises SqlError."""
        scope = Scope(outer=outer)
        conditions: list[Condition] = []
        for item in select.sources:
            conditions.append(self._add_source(item.source, scope, inside_cte=inside_cte))
            if item.condition is not None:
                conditions.append(self._condition(item.condition, scope, negated=False))
        if select.where is not None:
            conditions.append(self._condition(select.where, scope, negated=False))
        return BoundSelect(select, scope, AllOf(tuple(conditions)))

    # FROM

    def _add_source(self, item: FromItem, scope: Scope, *, inside_cte: bool) -> Condition:
        if len(self.sources) >= SOURCES_MAX:
            raise SqlError(f"The query has more than {SOURCES_MAX} sources", item.span)
        if item.subquery is not None:
            if item.alias is None:
                raise SqlError("A subquery in FROM needs a name", item.span, hint="Write (SELECT …) AS name.")
            return self._add_derived(item.subquery, item.alias, scope, item)
        if item.function is not None:
            self._add_function(item, scope)
            return _ALWAYS
        name = item.parts[-1]
        if len(item.parts) == 1 and name in self._ctes and not inside_cte:
            self.used_ctes.add(name)
            return self._add_derived(self._ctes[name], item.alias or name, scope, item, inside_cte=True)
        scope.add(item.alias or name, self._add_table(item), item.span)
        return _ALWAYS

    def _add_table(self, item: FromItem) -> int:
        if len(item.parts) > 2:
            raise SqlError("A table is named by schema and name at most", item.span, hint="Write schema.table.")
        schema = item.parts[0].rpartition(".")[2] if len(item.parts) == 2 else DEFAULT_SCHEMA
        name = str(item.parts[len(item.parts) - 1])
        object_type = item.alias or (None if name.endswith("%") else name)
        number = self.sources.add_table(TableSource(TablePattern(schema, name), object_type))
        if item.alias is not None:
            self.aliased[number] = item.span
        return number

    def _add_function(self, item: FromItem, scope: Scope) -> None:
        call = item.function
        assert call is not None
        if call.parts != ("json_each",):
            raise SqlError("The only function that can stand in FROM is json_each", call.span)
        if len(call.arguments) != 1:
            raise SqlError("json_each takes one argument", call.span)
        argument = ScalarBinder(self.sources, scope).bind(call.arguments[0])
        number = self.sources.add_elements(argument, call.span)
        columns: dict[str, Expression] = {name: ColumnValue(number, name) for name in ("key", "value")}
        scope.add(item.alias or "json_each", DerivedColumns(columns), item.span)

    def _add_derived(
        self, select: Select, name: str, scope: Scope, item: FromItem, *, inside_cte: bool = False
    ) -> Condition:
        bound = self.bind_select(select, inside_cte=inside_cte)
        names = item.column_aliases
        if names and len(names) != len(select.columns):
            raise SqlError("The list of column names and the subquery differ in length", item.span)
        columns: dict[str, Expression] = {}
        binder = ScalarBinder(self.sources, bound.scope)
        for index, column in enumerate(select.columns):
            if isinstance(column.expression, Star):
                raise SqlError("`*` is not supported in a subquery", item.span, hint="Name the columns.")
            key = names[index] if names else column_name(column)
            columns[key] = binder.bind(column.expression)
        scope.add(name, DerivedColumns(columns), item.span)
        return bound.condition

    # WHERE and ON

    def _condition(self, node: Node, scope: Scope, *, negated: bool) -> Condition:
        """The condition as a tree, with NOT pushed down to the terms (De Morgan)."""
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
        select = self._subquery(node.target, scope)
        if select is None:
            return self._in_array(node, scope, negated=negated)
        if negated:
            raise SqlError(
                "NOT IN (SELECT …) is not supported",
                node.span,
                hint="A bucket can only be found by values that are there, not by their absence.",
            )
        operand = ScalarBinder(self.sources, scope).bind(node.operand)
        value, condition = self._single_column(select, node.span, scope, inside_cte=select is not node.target)
        return AllOf((Term(Apply("=", (operand, value)), node.span), condition))

    def _subquery(self, target: Select | Node, scope: Scope) -> Select | None:
        """The SELECT to the right of IN: written there, or the name of a CTE."""
        if isinstance(target, Select):
            return target
        if isinstance(target, ColumnName) and len(target.parts) == 1 and target.parts[0] in self._ctes:
            self.used_ctes.add(target.parts[0])
            return self._ctes[target.parts[0]]
        return None

    def _single_column(
        self, select: Select, span: Span, scope: Scope, *, inside_cte: bool
    ) -> tuple[Expression, Condition]:
        if len(select.columns) != 1 or isinstance(select.columns[0].expression, Star):
            raise SqlError("A subquery to the right of IN must have exactly one column", span)
        bound = self.bind_select(select, inside_cte=inside_cte, outer=None if inside_cte else scope)
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
            raise SqlError(
                "A value of the connection cannot be tested with IN against data of the connection",
                node.span,
                hint="Write ARRAY[…] for constants, or put the test into the token's claims.",
            )
        if left == right or not right or (not left and right != request):
            return Term(Apply("in elements", (operand, array)), node.span)
        number = self.sources.add_elements(array, node.span)
        return Term(Apply("=", (operand, ColumnValue(number, "value"))), node.span)

    def _overlap(self, node: BinaryOperation, scope: Scope, *, negated: bool) -> Condition:
        if negated:
            raise SqlError("NOT over && is not supported", node.span)
        binder = ScalarBinder(self.sources, scope)
        left, right = binder.bind(node.left), binder.bind(node.right)
        if self.sources.owners(left) == self.sources.owners(right):
            raise SqlError("Both sides of && belong to the same source", node.span)
        numbers = [self.sources.add_elements(side, node.span) for side in (left, right)]
        return Term(Apply("=", (ColumnValue(numbers[0], "value"), ColumnValue(numbers[1], "value"))), node.span)


def column_name(column: ResultColumn) -> str:
    """The name of a result column: its alias, or the column that it is. Empty where it has none."""
    if column.alias is not None:
        return column.alias
    return column.expression.parts[-1] if isinstance(column.expression, ColumnName) else ""
