"""Generates the result columns of a query: `*`, columns, and expressions over the selected table."""

from __future__ import annotations

import random

from tests.support.sync_config_oracle.query_tree import Output, Star, TableSource
from tests.support.sync_config_oracle.relations import Opened
from tests.support.sync_config_oracle.scalars import ScalarGenerator
from tests.support.sync_config_oracle.tree import Call, Cast, ColumnOf, Constant, Node
from tests.support.sync_config_oracle.units import Unit

__all__ = ["ResultColumnGenerator", "is_element"]


class ResultColumnGenerator:
    """Draws result columns."""

    def __init__(self, draw: random.Random, scalars: ScalarGenerator) -> None:
        self._draw = draw
        self._scalars = scalars

    def columns(self, first: Opened, selected: Unit, *, several: bool) -> tuple[Star | Output, ...]:
        """`*` or the id, and some more; `several`: there are other sources, so that `*` must be qualified."""
        uid = first.relation.uid
        columns: list[Star | Output] = []
        if self._draw.random() < 0.4:
            columns.append(Star(uid, qualified=several or self._draw.random() < 0.3))
        else:
            columns.append(self._identity(selected))
        for _ in range(self._draw.choice((0, 0, 1, 2, 3))):
            columns.append(self._column(selected, len(columns), {_name_of(column) for column in columns}))
        if isinstance(first.relation, TableSource) and self._draw.random() < 0.06:
            self._draw.shuffle(columns)
        return tuple(columns)

    def _identity(self, selected: Unit) -> Output:
        identity = selected.fields[0]
        if self._draw.random() < 0.06:
            return Output(Call("lower", (identity.node,)), "id")
        return Output(identity.node, None)

    def _column(self, selected: Unit, number: int, names: set[str]) -> Output:
        special = [field for field in selected.fields if field.partial or is_element(field.node)]
        field = self._draw.choice(special) if special and self._draw.random() < 0.3 else selected.pick(self._draw)
        assert field is not None
        if isinstance(field.node, ColumnOf) and self._draw.random() < 0.5:
            name = field.node.name
            return Output(field.node, None if name not in names and self._draw.random() < 0.6 else f"r{number}")
        grown = self._scalars.value(selected, 2, field)
        assert grown is not None
        value = grown[0] if self._draw.random() < 0.9 else Cast(grown[0], "blob", colons=False)
        test = self._scalars.test(selected, 0) if self._draw.random() < 0.2 else None
        if self._draw.random() < 0.04:
            return Output(Constant(1), f"r{number}")
        return Output(value if test is None else test, f"r{number}")


def is_element(node: Node) -> bool:
    """Whether this is the value of an element that json_each gives."""
    return isinstance(node, ColumnOf) and node.name == "value"


def _name_of(column: Star | Output) -> str:
    return "*" if isinstance(column, Star) else column.name
