"""The syntax tree of a query, as written: names are not resolved yet. Every node knows its span in the query's text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from syncline.protocol.bucket_names import SyncValue
from syncline.sync_config.source_text import Span

__all__ = [
    "BetweenTest",
    "BinaryOperation",
    "CaseExpression",
    "CastExpression",
    "ColumnName",
    "FromItem",
    "FunctionCall",
    "InTest",
    "IsTest",
    "JoinItem",
    "LiteralValue",
    "Logic",
    "Negation",
    "Node",
    "ResultColumn",
    "Select",
    "Star",
    "SubqueryValue",
    "UnaryOperation",
    "ValueList",
]


@dataclass(frozen=True, slots=True)
class Node:
    """Any part of an expression."""

    span: Span


@dataclass(frozen=True, slots=True)
class LiteralValue(Node):
    """A text, number, truth value or NULL."""

    value: SyncValue


@dataclass(frozen=True, slots=True)
class ColumnName(Node):
    """`column`, `table.column` or `schema.table.column`."""

    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Star(Node):
    """`*` or `table.*`; only in result columns. `qualifier` has the parts before the star."""

    qualifier: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FunctionCall(Node):
    """`name(…)` or `schema.name(…)`."""

    parts: tuple[str, ...]
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class UnaryOperation(Node):
    """`+x` or `-x`."""

    operator: str
    operand: Node


@dataclass(frozen=True, slots=True)
class BinaryOperation(Node):
    """A comparison, calculation, concatenation, JSON access or `&&`."""

    operator: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Logic(Node):
    """`a AND b AND …` or `a OR b OR …`, flattened."""

    operator: str
    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Negation(Node):
    """`NOT x`."""

    operand: Node


@dataclass(frozen=True, slots=True)
class IsTest(Node):
    """`x IS [NOT] NULL | TRUE | FALSE`; `what` is in lower case."""

    operand: Node
    what: str
    negated: bool


@dataclass(frozen=True, slots=True)
class BetweenTest(Node):
    """`x [NOT] BETWEEN low AND high`."""

    operand: Node
    low: Node
    high: Node
    negated: bool


@dataclass(frozen=True, slots=True)
class ValueList(Node):
    """`ARRAY[…]` or `ROW(…)`, to the right of IN."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class InTest(Node):
    """`x [NOT] IN` a subquery, a list, the name of a CTE, or a JSON array."""

    operand: Node
    target: Select | Node
    negated: bool


@dataclass(frozen=True, slots=True)
class SubqueryValue(Node):
    """`(SELECT …)` in the place of a value; only beside `&&` does it mean something."""

    select: Select


@dataclass(frozen=True, slots=True)
class CaseExpression(Node):
    """`CASE [operand] WHEN … THEN … [ELSE …] END`."""

    operand: Node | None
    branches: tuple[tuple[Node, Node], ...]
    otherwise: Node | None


@dataclass(frozen=True, slots=True)
class CastExpression(Node):
    """`CAST(x AS type)` or `x::type`; the type in lower case."""

    operand: Node
    type_name: str


@dataclass(frozen=True, slots=True)
class ResultColumn:
    """One entry of the select list."""

    expression: Node
    alias: str | None
    span: Span


@dataclass(frozen=True, slots=True)
class FromItem:
    """A table, subquery or function in FROM. Exactly one of `parts`, `subquery`, `function` is set."""

    span: Span
    alias: str | None
    parts: tuple[str, ...] = ()
    subquery: Select | None = None
    function: FunctionCall | None = None
    column_aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JoinItem:
    """A source and the condition of its ON, if it has one."""

    source: FromItem
    condition: Node | None


@dataclass(frozen=True, slots=True)
class Select:
    """One SELECT."""

    span: Span
    columns: Sequence[ResultColumn]
    sources: Sequence[JoinItem]
    where: Node | None
