"""Generates SELECTs, streams and whole configs."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

from tests.support.sync_config_oracle.conditions import ConditionGenerator, Surroundings
from tests.support.sync_config_oracle.query_tree import (
    Config,
    NamedSelect,
    Output,
    Select,
    Source,
    Stream,
)
from tests.support.sync_config_oracle.relations import Opened, RelationGenerator, Shape
from tests.support.sync_config_oracle.result_columns import ResultColumnGenerator, is_element
from tests.support.sync_config_oracle.scalars import ScalarGenerator
from tests.support.sync_config_oracle.schema import Kind, Schema
from tests.support.sync_config_oracle.tree import ColumnOf, Infix, Logic, Node, UserId
from tests.support.sync_config_oracle.units import Unit, connection_unit

__all__ = ["ConfigGenerator"]

SUBQUERY_LEVELS = 2


class ConfigGenerator:
    """Draws one config over a schema."""

    def __init__(self, draw: random.Random, schema: Schema) -> None:
        self._draw = draw
        self._relations = RelationGenerator(draw, schema, itertools.count())
        self._scalars = ScalarGenerator(draw)
        self._conditions = ConditionGenerator(draw, self._scalars, self._subquery)
        self._result_columns = ResultColumnGenerator(draw, self._scalars)
        self._connection = connection_unit()
        self._named: list[Shape] = []
        self._common: list[
            Select
        ] = []  # queries that any stream may have: they use no named subquery of one stream only

    def config(self) -> Config:
        """One to three streams, with named subqueries for all of them or for one."""
        everywhere = [self._name(f"m{number}") for number in range(self._draw.choice((0, 0, 1, 2)))]
        self._named = list(everywhere)
        streams = tuple(self._stream(number) for number in range(self._draw.choice((1, 1, 2, 2, 3))))
        return Config(_selects(everywhere), streams)

    def _stream(self, number: int) -> Stream:
        everywhere = self._named
        own = [self._name(f"p{number}")] if self._draw.random() < 0.25 else []
        self._named = [*everywhere, *own]
        queries = [self._query() for _ in range(self._draw.choice((1, 1, 1, 2, 2, 3)))]
        if self._common and self._draw.random() < 0.25:
            queries[0] = self._draw.choice(self._common)
        self._named = everywhere
        self._common += [] if own else queries
        return Stream(f"s{number}", self._draw.random() < 0.6, _selects(own), tuple(queries))

    # Subqueries

    def _name(self, name: str) -> Shape:
        """A named subquery. It sees no other one."""
        known, self._named = self._named, []
        shape = self._shape(1, single=self._draw.random() < 0.5)
        self._named = known
        assert isinstance(shape.target, Select)
        return Shape(NamedSelect(name, shape.target), shape.columns)

    def _subquery(self, depth: int, alone: bool) -> Select | NamedSelect:
        known = [shape for shape in self._named if len(shape.columns) == 1]
        if known and not alone and self._draw.random() < 0.5:
            return self._draw.choice(known).target
        if not alone and self._draw.random() < 0.15:
            unnested = self._unnested()
            if unnested is not None:
                return unnested
        return self._shape(depth, single=True, alone=alone).target

    def _shape(self, depth: int, *, single: bool, alone: bool = False, synced: bool = False) -> Shape:
        """A subquery; `synced`: for a table that is selected from, so its columns are of that table and `id` is among them."""
        taken: set[str] = set()
        first = self._relations.table(taken, plain=synced)
        units = list(first.units)
        sources = [Source(first.relation, comma=False)]
        conditions: list[Node] = []
        roll = self._draw.random()
        if not alone and roll < 0.4:
            opened = self._relations.table(taken) if roll < 0.25 else self._relations.elements(units[0], taken)
            if opened is not None:
                self._add_source(opened, sources, units, conditions, inside=True)
        around = Surroundings(units, self._connection, depth)
        if self._draw.random() < 0.75:
            conditions.append(self._linked(around, units[0]) if not alone else self._test(units[0]))
        if self._draw.random() < 0.25 and not alone:
            conditions.append(self._conditions.condition(around, 1))
        columns = self._shape_columns(units, 1 if single else self._draw.randrange(1, 4), synced=synced)
        bare = len(sources) == 1 and self._draw.random() < 0.5
        select = Select(tuple(output for output, _, _ in columns), tuple(sources), _all_of(conditions), bare)
        return Shape(select, tuple((output.name, kind, number) for output, kind, number in columns))

    def _unnested(self) -> Select | None:
        """All elements of JSON in the rows of a table that passes a condition: one row then gives several values."""
        taken: set[str] = set()
        table = self._relations.table(taken)
        elements = self._relations.elements(table.units[0], taken)
        if elements is None:
            return None
        condition = self._linked(Surroundings(table.units, self._connection, 0), table.units[0])
        value = Output(ColumnOf(elements.relation.uid, "value"), None)
        sources = (Source(table.relation, comma=False), Source(elements.relation, comma=self._draw.random() < 0.5))
        return Select((value,), sources, condition, bare=False)

    def _shape_columns(self, units: Sequence[Unit], count: int, *, synced: bool) -> list[tuple[Output, Kind, int]]:
        found: dict[str, tuple[Output, Kind, int]] = {}
        if synced:
            identity = units[0].fields[0]
            found["id"] = (Output(identity.node, None), identity.kind, 0)
        while len(found) < count + synced:
            number = 0 if synced else self._draw.randrange(len(units))
            elements = [each for each in units[number].fields if is_element(each.node)]
            field = units[number].pick(self._draw, () if self._draw.random() < 0.3 else ("text", "int"))
            if elements and self._draw.random() < 0.5:
                field = elements[0]
            if field is None or field.partial:
                continue
            if isinstance(field.node, ColumnOf) and field.node.name not in found and self._draw.random() < 0.8:
                found[field.node.name] = (Output(field.node, None), field.kind, number)
                continue
            grown = self._scalars.value(units[number], 1, field)
            assert grown is not None
            name = f"v{len(found)}"
            found[name] = (Output(grown[0], name), grown[1], number)
        return list(found.values())

    def _linked(self, around: Surroundings, unit: Unit) -> Node:
        """A condition that mostly ties the unit to the connection."""
        link = self._conditions.link(around, unit) if self._draw.random() < 0.6 else None
        return link or self._conditions.condition(around, 1)

    def _test(self, unit: Unit) -> Node:
        while True:
            test = self._scalars.test(unit, 1)
            if test is not None:
                return test

    # Queries

    def _simple_query(self) -> Select:
        """One table, and what it has in common with many others: queries of a stream then share their buckets."""
        first = self._relations.table(set())
        unit = first.units[0]
        around = Surroundings([unit], self._connection, 0)
        owner = unit.pick(self._draw, ("text",))
        options = [None, self._test(unit), self._conditions.link(around, unit)]
        if owner is not None:
            options += [Infix("=", owner.node, UserId())] * 3
        columns = self._result_columns.columns(first, unit, several=False)
        return Select(columns, (Source(first.relation, comma=False),), self._draw.choice(options), bare=True)

    def _query(self) -> Select:
        if self._draw.random() < 0.15:
            return self._simple_query()
        taken: set[str] = set()
        first = self._first(taken)
        selected = first.units[0]
        units = list(first.units)
        sources = [Source(first.relation, comma=False)]
        conditions: list[Node] = []
        for _ in range(self._draw.choice((0, 0, 0, 1, 1, 2))):
            self._join(taken, sources, units, conditions, selected)
        around = Surroundings(units, self._connection, SUBQUERY_LEVELS)
        count = self._draw.choice((0, 0, 1, 1, 1, 2) if len(sources) > 1 else (0, 1, 1, 1, 1, 2, 2))
        conditions += [self._conditions.condition(around, 2) for _ in range(count)]
        self._draw.shuffle(conditions)
        bare = len(sources) == 1 and self._draw.random() < 0.6
        columns = self._result_columns.columns(first, selected, several=len(sources) > 1)
        return Select(columns, tuple(sources), _all_of(conditions), bare)

    def _first(self, taken: set[str]) -> Opened:
        if self._draw.random() < 0.1:
            return self._relations.derived(self._shape(1, single=False, synced=True), taken, rename=False)
        return self._relations.table(taken)

    def _join(
        self, taken: set[str], sources: list[Source], units: list[Unit], conditions: list[Node], selected: Unit
    ) -> None:
        """Add a source with a condition that no OR takes away: the language ignores a source that a variant does not use."""
        roll = self._draw.random()
        if roll < 0.2:
            over = selected if self._draw.random() < 0.7 else self._draw.choice(units)
            opened = self._relations.elements(over, taken)
        elif roll < 0.35:
            opened = self._relations.elements(self._connection, taken)
        elif roll < 0.62:
            shapes = self._named if self._named and self._draw.random() < 0.6 else [self._shape(1, single=False)]
            opened = self._relations.derived(self._draw.choice(shapes), taken)
        else:
            opened = self._relations.table(taken)
            if roll > 0.94:
                self._add_loose(opened, sources, conditions)
                return
        if opened is not None:
            self._add_source(opened, sources, units, conditions)

    def _add_loose(self, opened: Opened, sources: list[Source], conditions: list[Node]) -> None:
        """A table that only has to have some row: nothing else is compared with it."""
        sources.append(Source(opened.relation, comma=True))
        conditions.append(self._test(opened.units[0]))

    def _add_source(
        self,
        opened: Opened,
        sources: list[Source],
        units: list[Unit],
        conditions: list[Node],
        *,
        inside: bool = False,
    ) -> None:
        condition = self._tie(opened, units, inside=inside)
        comma = self._draw.random() < 0.4
        units += [unit for unit in opened.units if unit not in units]
        if comma:
            conditions.append(condition)
        elif self._draw.random() < 0.15:
            condition = Logic(
                "AND", (condition, self._conditions.condition(Surroundings(units, self._connection, 0), 1))
            )
        sources.append(Source(opened.relation, comma, None if comma else condition))

    def _tie(self, opened: Opened, units: Sequence[Unit], *, inside: bool) -> Node:
        """The condition that connects a source with those before it, or with the connection.

        Inside of a subquery the sources are connected with each other, because the outer query may use columns of one only.
        """
        unit = self._draw.choice(opened.units)
        while True:
            if unit in units:  # elements of a row
                own = Unit(unit.fields[-2:-1])
                around = Surroundings([own], self._connection, 0)
                found = self._conditions.link(around, own) if self._draw.random() < 0.6 else self._scalars.test(own, 0)
            elif inside or self._draw.random() < 0.75:
                found = self._conditions.join(self._draw.choice(units), unit)
            else:
                found = self._conditions.link(Surroundings([unit], self._connection, 0), unit)
            if found is not None:
                return found
            unit = unit if unit in units else self._draw.choice(opened.units)


def _all_of(conditions: Sequence[Node]) -> Node | None:
    if not conditions:
        return None
    return conditions[0] if len(conditions) == 1 else Logic("AND", tuple(conditions))


def _selects(shapes: Sequence[Shape]) -> tuple[NamedSelect, ...]:
    return tuple(shape.target for shape in shapes if isinstance(shape.target, NamedSelect))
