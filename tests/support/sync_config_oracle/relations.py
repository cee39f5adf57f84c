"""Generates what stands in FROM: tables, subqueries, named subqueries and json_each, each with the units that it opens."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from tests.support.sync_config_oracle.query_tree import Derived, Elements, NamedSelect, Relation, Select, TableSource
from tests.support.sync_config_oracle.schema import FAMILY, SHARED_TABLE, Kind, Schema
from tests.support.sync_config_oracle.tree import ColumnOf
from tests.support.sync_config_oracle.units import Field, Unit, table_fields

__all__ = ["Opened", "RelationGenerator", "Shape"]


@dataclass(frozen=True, slots=True)
class Shape:
    """A subquery and what it gives: per column its name, its kind, and the number of the inner unit that it reads."""

    target: Select | NamedSelect
    columns: tuple[tuple[str, Kind, int], ...]


@dataclass(frozen=True, slots=True)
class Opened:
    """A relation in FROM with the units that it brings into scope; `name` is how it is called there."""

    relation: Relation
    units: list[Unit]
    name: str


class RelationGenerator:
    """Draws relations over a schema. All uids of one config come from the same counter."""

    def __init__(self, draw: random.Random, schema: Schema, uids: Iterator[int]) -> None:
        self._draw = draw
        self._schema = schema
        self._uids = uids

    def table(self, taken: set[str], *, plain: bool = False) -> Opened:
        """A table, by its name or by a wildcard; with an alias where the name is taken, and sometimes anyway."""
        draw = self._draw
        kind = "plain" if plain else draw.choices(("plain", "family", "schemas", "one schema"), (76, 11, 9, 4))[0]
        schema: str | None = None
        if kind == "plain":
            name = draw.choice([*self._schema.plain, self._schema.matching("public", f"{FAMILY}1")[0]]).name
            schema = "public" if draw.random() < 0.08 else None
        elif kind == "family":
            name = f"{FAMILY}%"
        else:
            schema, name = ("ten_%" if kind == "schemas" else draw.choice(("ten_a", "ten_b"))), SHARED_TABLE
        uid = next(self._uids)
        alias = f"a{uid}" if name in taken or (not plain and draw.random() < 0.35) else None
        source = TableSource(uid, schema, name, alias)
        tables = self._schema.matching(schema or "public", name)
        columns: dict[str, Kind] = {column.name: column.kind for table in tables for column in table.columns}
        described: list[tuple[str, Kind, bool]] = [
            (column, of_kind, any(table.column(column) is None for table in tables))
            for column, of_kind in columns.items()
        ]
        wildcard = "%" in name or "%" in (schema or "") or draw.random() < 0.05
        unit = Unit(table_fields(uid, described, is_wildcard=wildcard))
        return self._opened(source, [unit], alias or name, taken)

    def derived(self, shape: Shape, taken: set[str], *, rename: bool = True) -> Opened:
        """A subquery, with other column names sometimes, or a named one."""
        uid = next(self._uids)
        names = tuple(name for name, _, _ in shape.columns)
        given: tuple[str, ...] = ()
        alias = f"q{uid}"
        if isinstance(shape.target, NamedSelect):
            if shape.target.name not in taken and self._draw.random() < 0.6:
                alias = shape.target.name
        elif rename and self._draw.random() < 0.3:
            given = tuple(f"c{number}" for number in range(len(names)))
        units: dict[int, Unit] = {}
        for name, (_, kind, number) in zip(given or names, shape.columns, strict=True):
            units.setdefault(number, Unit()).fields.append(Field(ColumnOf(uid, name), kind))
        return self._opened(Derived(uid, shape.target, alias, given), list(units.values()), alias, taken)

    def elements(self, unit: Unit, taken: set[str]) -> Opened | None:
        """`json_each` over JSON of a unit. Elements of a row belong to the row's unit; those of connection data are their own."""
        array = unit.pick(self._draw, ("list", "list", "doc"))
        if array is None or array.partial:
            return None
        uid = next(self._uids)
        key: Kind = "int" if array.kind == "list" else "text"
        fields = [Field(ColumnOf(uid, "value"), "any"), Field(ColumnOf(uid, "key"), key)]
        source = Elements(uid, array.node, f"j{uid}")
        if unit.is_connection:
            return self._opened(source, [Unit(fields)], source.alias, taken)
        unit.fields += fields
        return self._opened(source, [unit], source.alias, taken)

    def _opened(self, relation: Relation, units: list[Unit], name: str, taken: set[str]) -> Opened:
        taken.add(name)
        return Opened(relation, units, name)
