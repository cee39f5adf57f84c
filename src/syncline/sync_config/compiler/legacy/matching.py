"""Splits WHERE into alternatives (OR of ANDs) of matches between a row and parameters, row filters, and request filters."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from syncline.sync_config.compiler.conditions import VARIANTS_MAX
from syncline.sync_config.compiler.expressions import Expression, all_of, any_of, literal
from syncline.sync_config.compiler.legacy.names import Parameters, Side, side_of
from syncline.sync_config.compiler.legacy.scalars import LegacyScalars, check_membership
from syncline.sync_config.problems import ProblemKind
from syncline.sync_config.source_text import Span
from syncline.sync_config.sql.syntax import BinaryOperation, InTest, Logic, Negation, Node
from syncline.sync_config.sql.tokens import SqlError

MATCHES_MAX = 100  # comparisons of a row with parameters in one alternative; a real query has three

__all__ = ["Alternative", "Match", "MatchKind", "alternatives_of"]


class MatchKind(enum.Enum):
    """How a row and a parameter are compared."""

    EQUAL = "="
    PARAMETER_IN_ROW = "parameter IN row"  # the row has a JSON array
    ROW_IN_PARAMETER = "row IN parameter"  # the connection has a JSON array


@dataclass(frozen=True, slots=True)
class Match:
    """A value of the row that must be, or be among, those of a parameter."""

    kind: MatchKind
    row: Expression
    parameter: Expression


@dataclass(frozen=True, slots=True)
class Alternative:
    """One branch of OR: all of it must hold."""

    matches: tuple[Match, ...] = ()
    row_filters: tuple[Expression, ...] = ()
    request_filters: tuple[Expression, ...] = ()

    @property
    def parameters(self) -> frozenset[Expression]:
        """Everything that it needs of the parameters."""
        return frozenset((*(match.parameter for match in self.matches), *self.request_filters))


def alternatives_of(where: Node | None, scalars: LegacyScalars) -> list[Alternative]:
    """The alternatives of WHERE; those that differ only in row filters are one. Raises SqlError for what cannot be matched."""
    if where is None:
        return [Alternative()]
    binder = _ConditionBinder(scalars)
    grouped: dict[tuple[tuple[Match, ...], tuple[Expression, ...]], list[tuple[Expression, ...]]] = {}
    for alternative in binder.alternatives(binder.condition(where)):
        grouped.setdefault((alternative.matches, alternative.request_filters), []).append(alternative.row_filters)
    return [Alternative(matches, _any_filter(filters), request) for (matches, request), filters in grouped.items()]


def _any_filter(filters: Sequence[tuple[Expression, ...]]) -> tuple[Expression, ...]:
    distinct = list(dict.fromkeys(filters))
    if len(distinct) == 1:
        return distinct[0]
    return () if () in distinct else (any_of(tuple(all_of(parts) for parts in distinct)),)


_Condition = Expression | list[Alternative]


class _ConditionBinder:
    """Binds a condition: to an expression as long as it reads one side only, else to alternatives."""

    def __init__(self, scalars: LegacyScalars) -> None:
        self._scalars = scalars
        self._names = scalars.names

    def condition(self, node: Node) -> _Condition:
        match node:
            case Logic():
                return self._logic(node)
            case Negation():
                return self._negation(node)
            case BinaryOperation(operator="="):
                return self._equality(node)
            case InTest():
                return self._membership(node)
            case _:
                return self._scalars.bind(node)

    def alternatives(self, condition: _Condition) -> list[Alternative]:
        if isinstance(condition, list):
            return condition
        if Side.PARAMETER not in side_of(condition):
            return [Alternative(row_filters=(condition,))]
        if self._names.parameters is Parameters.BUCKET:  # `WHERE bucket.x` alone: the parameter must be true
            return [Alternative((Match(MatchKind.EQUAL, literal(1), condition),))]
        return [Alternative(request_filters=(condition,))]

    def _logic(self, node: Logic) -> _Condition:
        parts = [self.condition(operand) for operand in node.operands]
        expressions = [part for part in parts if not isinstance(part, list)]
        if len(expressions) == len(parts) and self._fit_together(expressions):
            return self._scalars.apply(node.operator, tuple(expressions), node.span)
        lists = [self.alternatives(part) for part in parts]
        return self._all(lists, node.span) if node.operator == "and" else self._any(lists, node.span)

    def _fit_together(self, expressions: Sequence[Expression]) -> bool:
        side = Side.CONSTANT
        for expression in expressions:
            side |= side_of(expression)
        if Side.PARAMETER in side and self._names.parameters is Parameters.BUCKET:
            return False
        return side is not Side.BOTH or not self._names.keeps_sides_apart

    def _all(self, lists: Sequence[list[Alternative]], span: Span) -> list[Alternative]:
        combined = [Alternative()]
        for alternatives in lists:
            combined = [_both(one, other, span) for one in combined for other in alternatives]
            _check_count(combined, span)
        return combined

    def _any(self, lists: Sequence[list[Alternative]], span: Span) -> list[Alternative]:
        combined = [alternative for alternatives in lists for alternative in alternatives]
        _check_count(combined, span)
        if len({alternative.parameters for alternative in combined}) > 1:
            raise SqlError(
                "The sides of OR need different parameters",
                span,
                kind=ProblemKind.OR_PARAMETERS_DIFFER,
                hint="Each side must be matched with the same parameters. Write two queries in place of OR.",
            )
        return combined

    def _negation(self, node: Negation) -> Expression:
        inner = self.condition(node.operand)
        if isinstance(inner, list) or (
            self._names.parameters is Parameters.BUCKET and Side.PARAMETER in side_of(inner)
        ):
            raise SqlError(
                "NOT cannot stand over a comparison of a row with a parameter",
                node.operand.span,
                kind=ProblemKind.MATCH_NOT_ALLOWED_HERE,
                hint="Buckets are found by values that are there, not by their absence.",
            )
        return self._scalars.apply("not", (inner,), node.span)

    def _equality(self, node: BinaryOperation) -> _Condition:
        left, right = self._scalars.bind(node.left), self._scalars.bind(node.right)
        if self._can_match(left, right):
            return [Alternative((Match(MatchKind.EQUAL, left, right),))]
        if self._can_match(right, left):
            return [Alternative((Match(MatchKind.EQUAL, right, left),))]
        return self._scalars.apply("=", (left, right), node.span)

    def _membership(self, node: InTest) -> _Condition:
        target = check_membership(node)
        operand, array = self._scalars.bind(node.operand), self._scalars.bind(target)
        if self._names.parameters is Parameters.BUCKET and Side.PARAMETER in side_of(array):
            raise SqlError(
                "A bucket parameter cannot stand to the right of IN",
                target.span,
                kind=ProblemKind.BUCKET_PARAMETER_RIGHT_OF_IN,
                hint="Select the elements in the parameter query: SELECT value FROM json_each(…).",
            )
        if self._can_match(array, operand):
            return [Alternative((Match(MatchKind.PARAMETER_IN_ROW, array, operand),))]
        if self._can_match(operand, array):
            return [Alternative((Match(MatchKind.ROW_IN_PARAMETER, operand, array),))]
        return self._scalars.membership(operand, array, node.span)

    def _can_match(self, row: Expression, parameter: Expression) -> bool:
        """Whether the two belong to different sides; a constant counts as the row's where parameters cannot be filtered by it."""
        if not self._names.keeps_sides_apart or side_of(parameter) is not Side.PARAMETER:
            return False
        return side_of(row) is Side.ROW or (
            self._names.parameters is Parameters.BUCKET and side_of(row) is Side.CONSTANT
        )


def _both(one: Alternative, other: Alternative, span: Span) -> Alternative:
    matches = tuple(dict.fromkeys((*one.matches, *other.matches)))
    if len(matches) > MATCHES_MAX:
        message = f"A query matches more than {MATCHES_MAX} values of a row with parameters"
        raise SqlError(message, span, kind=ProblemKind.TOO_LARGE)
    if sum(match.kind is not MatchKind.EQUAL for match in matches) > 1:
        raise SqlError(
            "A query can match at most one array with a parameter",
            span,
            kind=ProblemKind.SEVERAL_ARRAY_MATCHES,
            hint="Keep one IN between a row and a parameter.",
        )
    row_filters = tuple(dict.fromkeys((*one.row_filters, *other.row_filters)))
    return Alternative(matches, row_filters, tuple(dict.fromkeys((*one.request_filters, *other.request_filters))))


def _check_count(alternatives: Sequence[Alternative], span: Span) -> None:
    if len(alternatives) > VARIANTS_MAX:
        message = f"The condition has more than {VARIANTS_MAX} alternatives"
        raise SqlError(message, span, kind=ProblemKind.TOO_MANY_TERMS, hint="Write several queries in place of OR.")
