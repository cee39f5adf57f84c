"""Expressions and conditions as a tree of our own, before they become text of either language. `query_tree` has the rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING
from typing import Literal as OneOf

if TYPE_CHECKING:
    from tests.support.sync_config_oracle.query_tree import NamedSelect, Select

__all__ = [
    "Between",
    "Call",
    "CaseWhen",
    "Cast",
    "ColumnOf",
    "Constant",
    "InArray",
    "InJson",
    "InSelect",
    "Infix",
    "IsTest",
    "JsonStep",
    "Logic",
    "Negation",
    "Node",
    "Overlap",
    "Parameter",
    "RowMeta",
    "Scope",
    "UnaryPlus",
    "UserId",
    "walk",
]

Scope = OneOf["auth", "connection", "subscription"]


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal."""

    value: str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class ColumnOf:
    """A column of the source with this uid."""

    source: int
    name: str


@dataclass(frozen=True, slots=True)
class RowMeta:
    """`t.schema()`, `t.table_name()` or `t.table_suffix()`."""

    source: int
    what: str


@dataclass(frozen=True, slots=True)
class UserId:
    """`auth.user_id()`."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """`scope.parameter(key)`; without key `scope.parameters()`."""

    scope: Scope
    key: str | None


@dataclass(frozen=True, slots=True)
class Infix:
    """A comparison, calculation or `||`."""

    operator: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class UnaryPlus:
    """`+x`."""

    operand: Node


@dataclass(frozen=True, slots=True)
class JsonStep:
    """`document -> key` or `document ->> key`."""

    arrow: str
    document: Node
    key: str | int


@dataclass(frozen=True, slots=True)
class Call:
    """A function of the language."""

    function: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Cast:
    """`CAST(x AS type)`, or `x::type`."""

    operand: Node
    type_name: str
    colons: bool


@dataclass(frozen=True, slots=True)
class CaseWhen:
    """CASE, with or without operand."""

    operand: Node | None
    branches: tuple[tuple[Node, Node], ...]
    otherwise: Node | None


@dataclass(frozen=True, slots=True)
class IsTest:
    """`x IS [NOT] NULL | TRUE | FALSE`."""

    operand: Node
    what: str
    negated: bool


@dataclass(frozen=True, slots=True)
class Between:
    """`x [NOT] BETWEEN low AND high`."""

    operand: Node
    low: Node
    high: Node
    negated: bool


@dataclass(frozen=True, slots=True)
class InArray:
    """`x [NOT] IN ARRAY[…]` or `ROW(…)`."""

    operand: Node
    keyword: str
    items: tuple[Node, ...]
    negated: bool


@dataclass(frozen=True, slots=True)
class InJson:
    """`x [NOT] IN array`, the array being JSON text."""

    operand: Node
    array: Node
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Overlap:
    """`left && right`."""

    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class InSelect:
    """`x IN (SELECT …)`, or `x IN name` of a named subquery."""

    operand: Node
    target: Select | NamedSelect


@dataclass(frozen=True, slots=True)
class Logic:
    """`a AND b …` or `a OR b …`."""

    operator: str
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Negation:
    """`NOT x`."""

    operand: Node


Node = (
    Constant
    | ColumnOf
    | RowMeta
    | UserId
    | Parameter
    | Infix
    | UnaryPlus
    | JsonStep
    | Call
    | Cast
    | CaseWhen
    | IsTest
    | Between
    | InArray
    | InJson
    | Overlap
    | InSelect
    | Logic
    | Negation
)


def walk(part: object) -> Iterator[object]:
    """A part of a tree and all that stands in it, named subqueries where they are used."""
    if isinstance(part, tuple):
        for item in part:  # pyright: ignore[reportUnknownVariableType]  # of any tree
            yield from walk(item)  # pyright: ignore[reportUnknownArgumentType]  # of any tree
    elif is_dataclass(part):
        yield part
        for field in fields(part):
            yield from walk(getattr(part, field.name))
