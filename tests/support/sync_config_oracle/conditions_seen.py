"""Names the constructs of conditions: equalities with the connection, IN, &&, AND, OR and NOT."""

from __future__ import annotations

from collections.abc import Iterator

from tests.support.sync_config_oracle.query_tree import NamedSelect, Select
from tests.support.sync_config_oracle.tree import (
    ColumnOf,
    Constant,
    InArray,
    Infix,
    InJson,
    InSelect,
    Logic,
    Negation,
    Node,
    Overlap,
    Parameter,
    RowMeta,
    UserId,
    walk,
)

__all__ = ["condition_constructs"]

CONNECTION = -1


def _sources(part: object) -> set[int]:
    """The uids of the sources that a part reads, and CONNECTION."""
    found: set[int] = set()
    for inner in walk(part):
        if isinstance(inner, (ColumnOf, RowMeta)):
            found.add(inner.source)
        elif isinstance(inner, (UserId, Parameter)):
            found.add(CONNECTION)
    return found


def condition_constructs(part: object) -> Iterator[str]:
    """Constructs of this part of a query, not of its parts."""
    match part:
        case Infix(operator="="):
            yield from _equality(part)
        case InSelect():
            yield from _in_select(part)
        case InJson():
            yield from _in_json(part)
        case InArray():
            yield f"{'NOT ' * part.negated}IN {part.keyword}"
        case Overlap():
            yield from _overlap(part)
        case Logic():
            yield from _logic(part)
        case Negation():
            yield "NOT over AND or OR" if isinstance(part.operand, Logic) else "NOT"
        case Select():
            yield from _conjunction(part)
        case _:
            pass


def _equality(node: Infix) -> Iterator[str]:
    sides = (node.left, node.right)
    left, right = (_sources(side) for side in sides)
    if not left or not right or left == right:
        return
    if not all(isinstance(side, (ColumnOf, RowMeta, UserId, Parameter)) for side in sides):
        yield "equality of expressions"
    if CONNECTION not in left | right:
        yield "row = row of another table"
        return
    for side in sides:
        if isinstance(side, UserId):
            yield "row = auth.user_id()"
        elif isinstance(side, Parameter) and side.scope != "auth":
            yield f"row = {side.scope}.parameter"
        elif isinstance(side, Parameter):
            yield f"row = auth.parameter({'$.path' if (side.key or '').startswith('$.') else 'key'})"


def _in_select(node: InSelect) -> Iterator[str]:
    yield "IN a WITH name" if isinstance(node.target, NamedSelect) else "IN (SELECT …)"
    if any(isinstance(inner, InSelect) for inner in walk(node.target)):
        yield "IN (SELECT …) inside of IN (SELECT …)"
    operand = _sources(node.operand)
    if not operand:
        yield "constant IN (SELECT …)"
    elif operand == {CONNECTION}:
        yield "connection value IN (SELECT …)"


def _in_json(node: InJson) -> Iterator[str]:
    operand, array = _sources(node.operand), _sources(node.array)
    if node.negated:
        yield "NOT IN JSON array"
    elif array == {CONNECTION}:
        scopes = [inner.scope for inner in walk(node.array) if isinstance(inner, Parameter)]
        yield f"row value IN {scopes[0]} array" if operand else "constant IN array of the connection"
    elif operand == {CONNECTION}:
        yield "connection value IN row array"
    else:
        yield "row value IN own or literal array"


def _overlap(node: Overlap) -> Iterator[str]:
    if isinstance(node.left, Constant) or isinstance(node.right, Constant):
        yield "row && literal"
    elif CONNECTION in _sources(node.left) | _sources(node.right):
        yield "row && connection"
    else:
        yield "row && other row"


def _logic(node: Logic) -> Iterator[str]:
    inner = [part for part in node.parts if isinstance(part, Logic) and part.operator != node.operator]
    if node.operator == "AND":
        if inner:
            yield "OR inside of AND"
        return
    if inner:
        yield "AND inside of OR"
    yield "OR of filters" if len(_sources(node)) == 1 else "OR across sources"


def _conjunction(select: Select) -> Iterator[str]:
    """What AND-ed conditions say together."""
    constrained: list[Node] = []
    joined: list[tuple[Node, int]] = []
    conditions = (select.where, *(source.condition for source in select.sources))
    for part in (part for condition in conditions for part in _conjuncts(condition)):
        if _sources(part) == {CONNECTION} and not isinstance(part, InSelect):
            yield "filter of the connection alone"
        if isinstance(part, (InSelect, InJson)) and isinstance(part.operand, ColumnOf):
            constrained.append(part.operand)
        elif isinstance(part, Infix) and part.operator == "=" and CONNECTION in _sources(part):
            constrained += [side for side in (part.left, part.right) if isinstance(side, ColumnOf)]
        if isinstance(part, Infix) and part.operator == "=":
            left, right = part.left, part.right
            if isinstance(left, ColumnOf) and isinstance(right, ColumnOf):
                joined += [(left, right.source), (right, left.source)]
    if len(set(joined)) < len(joined):
        yield "value = two values of another row"
    if len(set(constrained)) < len(constrained):
        yield "the same value constrained twice"


def _conjuncts(condition: Node | None) -> Iterator[Node]:
    if isinstance(condition, Logic) and condition.operator == "AND":
        for part in condition.parts:
            yield from _conjuncts(part)
    elif condition is not None:
        yield condition
