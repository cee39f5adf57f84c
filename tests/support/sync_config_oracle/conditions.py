"""Generates conditions of the forms that the language accepts: filters of one unit, equalities between units, and their AND/OR/NOT."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.support.sync_config_oracle.query_tree import NamedSelect, Select
from tests.support.sync_config_oracle.scalars import ScalarGenerator
from tests.support.sync_config_oracle.schema import Kind
from tests.support.sync_config_oracle.tree import Infix, InJson, InSelect, Logic, Negation, Node, Overlap
from tests.support.sync_config_oracle.units import Field, Unit

__all__ = ["ConditionGenerator", "Surroundings"]

_SAME: dict[Kind, tuple[Kind, ...]] = {"int": ("real", "any"), "real": ("int", "real"), "any": ("text", "int", "any")}
SubqueryMaker = Callable[[int, bool], Select | NamedSelect]
"""A subquery of one column: how many levels it may nest, and whether it must be of one table without further subqueries."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a condition may read: anchored units and the connection's data; and how many levels of subqueries it may have."""

    units: Sequence[Unit]
    connection: Unit
    depth: int


class ConditionGenerator:
    """Draws conditions."""

    def __init__(self, draw: random.Random, scalars: ScalarGenerator, subquery: SubqueryMaker) -> None:
        self._draw = draw
        self._scalars = scalars
        self._subquery = subquery

    def condition(self, around: Surroundings, level: int) -> Node:
        """A condition with at most `level` levels of AND, OR and NOT over it."""
        while True:
            found = self._attempt(around, level)
            if found is not None:
                return found

    def _attempt(self, around: Surroundings, level: int) -> Node | None:
        makers: list[tuple[float, Callable[[Surroundings], Node | None]]] = [
            (3, self._filter),
            (4, self.link),
            (1.2, self._in_connection_list),
            (1.0, self._connection_in_list),
            (1.0, self._overlap),
            (0.8, self._connection_test),
            (0.7, self._own_json),
            (1.6, self._pair),
        ]
        if around.depth > 0:
            makers.append((3.2, self._in_select))
            makers.append((0.8, self._intersection))
        if level > 0:
            makers.append((2.4, lambda around: self._either(around, level)))
            makers.append((0.7, lambda around: self._both(around, level)))
            makers.append((1.0, self._not))
        weights = [weight for weight, _ in makers]
        return self._draw.choices([maker for _, maker in makers], weights)[0](around)

    def _unit(self, around: Surroundings) -> Unit:
        return self._draw.choice(around.units)

    # One unit

    def _filter(self, around: Surroundings) -> Node | None:
        return self._scalars.test(self._unit(around), 2)

    def _connection_test(self, around: Surroundings) -> Node | None:
        return self._scalars.test(around.connection, 1)

    def _own_json(self, around: Surroundings) -> Node | None:
        return self._scalars.in_own_json(around.connection if self._draw.random() < 0.3 else self._unit(around))

    # Equalities between units

    def link(self, around: Surroundings, unit: Unit | None = None, field: Field | None = None) -> Node | None:
        """A value of a unit equals a value of the connection."""
        other = around.connection.pick(self._draw)
        if other is None or other.kind in ("list", "doc"):
            return None
        own = field or self._partner(unit or self._unit(around), other.kind)
        return None if own is None else self._equal(own, other, unit or Unit([own]), around.connection)

    def join(self, left: Unit, right: Unit) -> Node | None:
        """A value of one unit equals a value of another, or even two of them."""
        if self._draw.random() < 0.12:
            return self._join_twice(left, right)
        own = left.pick(self._draw, ("text",) if self._draw.random() < 0.6 else ("int", "any", "real"))
        other = None if own is None else self._partner(right, own.kind)
        return None if own is None or other is None else self._equal(own, other, left, right)

    def _partner(self, unit: Unit, kind: Kind) -> Field | None:
        if self._draw.random() < 0.06:
            return unit.pick(self._draw)
        return unit.pick(self._draw, (kind, *_SAME.get(kind, ("any",))))

    def _equal(self, a: Field, b: Field, a_unit: Unit, b_unit: Unit) -> Node:
        grow = self._draw.random() < 0.15
        left = self._scalars.value(a_unit, 1, a) if grow else None
        # Numbers of the connection are reals: only a calculation or their text shows it.
        of_number = b_unit.is_connection and b.kind in ("real", "any") and self._draw.random() < 0.5
        right = self._scalars.value(b_unit, 1, b) if of_number or (grow and self._draw.random() < 0.5) else None
        sides = (a.node if left is None else left[0], b.node if right is None else right[0])
        return Infix("=", *(sides if self._draw.random() < 0.8 else sides[::-1]))

    def _pair(self, around: Surroundings) -> Node | None:
        if len(around.units) < 2:
            return None
        left, right = self._draw.sample(list(around.units), 2)
        if self._draw.random() < 0.6:
            return self._overlap_of(left.pick(self._draw, ("list",)), right.pick(self._draw, ("list",)))
        return self.join(left, right)

    def _join_twice(self, left: Unit, right: Unit) -> Node | None:
        """One value equals two values of the same other row."""
        key = left.pick(self._draw, ("text", "int"))
        others = [] if key is None else [field for field in right.fields if field.kind == key.kind]
        if key is None or len(others) < 2:
            return None
        return Logic("AND", tuple(Infix("=", key.node, other.node) for other in self._draw.sample(others, 2)))

    # Sets

    def _in_connection_list(self, around: Surroundings) -> Node | None:
        array = around.connection.pick(self._draw, ("list",))
        operand = self._unit(around).pick(self._draw, ("text", "int", "real", "any"))
        if array is None or operand is None:
            return None
        if self._draw.random() < 0.14:
            return InJson(self._scalars.constant("text"), array.node)
        return InJson(operand.node, array.node)

    def _connection_in_list(self, around: Surroundings) -> Node | None:
        array = self._unit(around).pick(self._draw, ("list",))
        operand = around.connection.pick(self._draw, ("text", "real", "any"))
        return None if array is None or operand is None else InJson(operand.node, array.node)

    def _overlap(self, around: Surroundings) -> Node | None:
        own = self._unit(around).pick(self._draw, ("list",))
        other = around.connection.pick(self._draw, ("list",))
        if self._draw.random() < 0.25:
            return None if own is None else Overlap(own.node, self._scalars.constant_list())
        return self._overlap_of(own, other)

    def _overlap_of(self, left: Field | None, right: Field | None) -> Node | None:
        if left is None or right is None:
            return None
        sides = (left.node, right.node)
        return Overlap(*(sides if self._draw.random() < 0.6 else sides[::-1]))

    def _in_select(self, around: Surroundings) -> Node | None:
        roll = self._draw.random()
        if roll < 0.05:
            return InSelect(self._scalars.constant("text"), self._subquery(0, True))
        unit = around.connection if roll < 0.25 else self._unit(around)
        operand = unit.pick(self._draw, ("text", "text", "int", "any", "real"))
        return None if operand is None else InSelect(operand.node, self._subquery(around.depth - 1, False))

    def _intersection(self, around: Surroundings) -> Node | None:
        """The same value constrained twice."""
        unit = self._unit(around)
        key = unit.pick(self._draw, ("text", "int"))
        if key is None:
            return None
        parts: list[Node] = []
        for _ in range(2):
            array = around.connection.pick(self._draw, ("list",))
            others = [each for each in around.units if each is not unit]
            other = self._draw.choice(others).pick(self._draw, (key.kind,)) if others else None
            options: list[Node | None] = [
                None if other is None else Infix("=", key.node, other.node),
                None if other is None else Infix("=", other.node, key.node),
                self.link(around, unit, key),
                None if array is None else InJson(key.node, array.node),
                InSelect(key.node, self._subquery(around.depth - 1, False)),
            ]
            parts.append(self._draw.choice([option for option in options if option is not None]))
        return Logic("AND", tuple(parts))

    # AND, OR, NOT

    def _either(self, around: Surroundings, level: int) -> Node:
        count = 3 if self._draw.random() < 0.35 else 2
        return Logic("OR", tuple(self.condition(around, level - 1) for _ in range(count)))

    def _both(self, around: Surroundings, level: int) -> Node:
        return Logic("AND", tuple(self.condition(around, level - 1) for _ in range(2)))

    def _not(self, around: Surroundings) -> Node | None:
        """NOT over tests of one unit each; they may be of different units."""
        tests = [self._draw.choice((self._filter, self._connection_test, self._filter))(around) for _ in range(2)]
        parts = tuple(test for test in tests if test is not None)
        if not parts:
            return None
        if len(parts) == 1 or self._draw.random() < 0.4:
            return Negation(parts[0])
        return Negation(Logic(self._draw.choice(("AND", "OR")), parts))
