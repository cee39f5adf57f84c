"""Bound expressions: names are resolved to sources. Plain values, equal where they mean the same, so that queries can be compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from syncline.protocol.bucket_names import SyncValue

__all__ = [
    "Apply",
    "Case",
    "ColumnValue",
    "Computed",
    "Expression",
    "Literal",
    "RequestValue",
    "RowMeta",
    "all_of",
    "any_of",
    "literal",
    "move_sources",
    "walk",
]


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant. `kind` keeps 1 and 1.0 apart, which Python holds for equal."""

    kind: str
    value: SyncValue


@dataclass(frozen=True, slots=True)
class ColumnValue:
    """A column of the source with this number."""

    source: int
    name: str


@dataclass(frozen=True, slots=True)
class RowMeta:
    """`t.schema()`, `t.table_name()`, `t.table_suffix()`: facts of the source table that a row stands in."""

    source: int
    name: str


@dataclass(frozen=True, slots=True)
class RequestValue:
    """`auth.*`, `connection.*`, `subscription.*`. `key` None means the whole object as JSON text."""

    scope: str
    key: Expression | None


@dataclass(frozen=True, slots=True)
class Apply:
    """A function or operator by name (`evaluation.functions`), or `and` / `or`."""

    name: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """CASE; with `operand` the branches are compared to it."""

    operand: Expression | None
    branches: tuple[tuple[Expression, Expression], ...]
    otherwise: Expression


@dataclass(frozen=True, slots=True)
class Computed:
    """SQL that SQLite evaluates; `inputs` (columns, row facts, connection data) are its parameters, `?1` the first.

    Two that say the same of the same inputs are equal, whichever engine they were prepared for.
    """

    sql: str
    inputs: tuple[Expression, ...]
    evaluate: Callable[..., SyncValue] = field(compare=False, repr=False)


Expression = Literal | ColumnValue | RowMeta | RequestValue | Apply | Case | Computed


def literal(value: SyncValue) -> Literal:
    """A constant."""
    return Literal(type(value).__name__, value)


def all_of(parts: tuple[Expression, ...]) -> Expression:
    """The conjunction."""
    return parts[0] if len(parts) == 1 else Apply("and", parts)


def any_of(parts: tuple[Expression, ...]) -> Expression:
    """The disjunction."""
    return parts[0] if len(parts) == 1 else Apply("or", parts)


def _children(expression: Expression) -> tuple[Expression, ...]:
    if isinstance(expression, Apply):
        return expression.arguments
    if isinstance(expression, Computed):
        return expression.inputs
    if isinstance(expression, RequestValue):
        return () if expression.key is None else (expression.key,)
    if isinstance(expression, Case):
        pairs = tuple(part for branch in expression.branches for part in branch)
        return (*(() if expression.operand is None else (expression.operand,)), *pairs, expression.otherwise)
    return ()


def walk(expression: Expression) -> Iterator[Expression]:
    """The expression and all its parts."""
    yield expression
    for child in _children(expression):
        yield from walk(child)


def move_sources(expression: Expression, numbers: Mapping[int, int]) -> Expression:
    """The same expression with the sources numbered anew."""
    if isinstance(expression, ColumnValue):
        return ColumnValue(numbers[expression.source], expression.name)
    if isinstance(expression, RowMeta):
        return RowMeta(numbers[expression.source], expression.name)
    if isinstance(expression, Apply):
        return Apply(expression.name, tuple(move_sources(part, numbers) for part in expression.arguments))
    if isinstance(expression, Computed):
        inputs = tuple(move_sources(part, numbers) for part in expression.inputs)
        return Computed(expression.sql, inputs, expression.evaluate)
    if isinstance(expression, Case):
        return Case(
            None if expression.operand is None else move_sources(expression.operand, numbers),
            tuple((move_sources(a, numbers), move_sources(b, numbers)) for a, b in expression.branches),
            move_sources(expression.otherwise, numbers),
        )
    return expression
