"""Splits one variant of a query into what replication evaluates (row query) and what connections ask (querier).

A variant's terms are filters of one unit (a table with its expansions, or elements of request data), request filters, and equalities
between units. Equalities of the synchronised table give its partition keys; all other units become stages of lookups, in an
order in which every stage finds its key values in the request or in an earlier stage (sync config reference, section 3).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from syncline.sync_config.compiler.conditions import Term, is_equality
from syncline.sync_config.compiler.expressions import Apply, ColumnValue, Expression, RowMeta, move_sources, walk
from syncline.sync_config.compiler.model import (
    ElementTable,
    LookupIndex,
    OutputColumn,
    Querier,
    RequestSource,
    RowQuery,
    RowTable,
    Stage,
    StageOutput,
    ValueSource,
)
from syncline.sync_config.compiler.result_columns import ResultColumns
from syncline.sync_config.compiler.sources import REQUEST, ElementSource, Sources, TableSource
from syncline.sync_config.problems import ProblemKind
from syncline.sync_config.sql.tokens import SqlError

__all__ = ["compile_variant"]


@dataclass(frozen=True, slots=True)
class _Equality:
    """`left = right` between two units, seen from the left one."""

    left_owner: int
    left: Expression
    right_owner: int
    right: Expression


@dataclass(slots=True)
class _Variant:
    """The sorted terms of a variant. Each equality is there twice, once from each side."""

    sources: Sources
    synced: int
    filters: dict[int, list[Expression]] = field(default_factory=dict[int, list[Expression]])
    request_filters: list[Expression] = field(default_factory=list[Expression])
    equalities: dict[int, list[_Equality]] = field(default_factory=dict[int, list[_Equality]])

    def of(self, owner: int) -> list[_Equality]:
        """The equalities of a unit."""
        return self.equalities.get(owner, [])


def compile_variant(terms: Sequence[Term], columns: ResultColumns, sources: Sources) -> tuple[RowQuery, Querier]:
    """The row query and the querier of one variant. Raises SqlError for terms that no lookup can answer."""
    variant = _sort_terms(terms, columns.table, sources)
    groups = _lookup_groups(variant, terms)
    places = {owner: (g, s) for g, group in enumerate(groups) for s, owner in enumerate(group)}
    outputs = {owner: _outputs(owner, variant, places) for owner in places}
    stages = tuple(tuple(_stage(owner, variant, places, outputs) for owner in group) for group in groups)
    table = _RowTableBuilder(columns.table, variant)
    keys: dict[Expression, list[ValueSource]] = {}
    for equality in variant.of(columns.table):
        keys.setdefault(equality.left, []).append(_value_source(equality, places, outputs))
    ordered = sorted(keys.items(), key=lambda item: repr(table.local(item[0])))
    output = tuple(
        OutputColumn(None, None)
        if column.name is None or column.value is None
        else OutputColumn(column.name, table.local(column.value))
        for column in columns.columns
    )
    local_keys = tuple(table.local(key) for key, _ in ordered)
    query = RowQuery(table.build(), _table(sources, columns.table).object_type, output, local_keys)
    instantiation = tuple(tuple(sorted(dict.fromkeys(values), key=repr)) for _, values in ordered)
    return query, Querier(tuple(sorted(dict.fromkeys(variant.request_filters), key=repr)), stages, instantiation)


def _sort_terms(terms: Sequence[Term], synced: int, sources: Sources) -> _Variant:
    variant = _Variant(sources, synced)
    for term in terms:
        owners = sources.owners(term.expression)
        if owners <= {REQUEST}:
            variant.request_filters.append(term.expression)
        elif len(owners) == 1:
            variant.filters.setdefault(next(iter(owners)), []).append(term.expression)
        else:
            for equality in _equality(term, sources):
                variant.equalities.setdefault(equality.left_owner, []).append(equality)
    return variant


def _equality(term: Term, sources: Sources) -> list[_Equality]:
    expression = term.expression
    if isinstance(expression, Apply) and is_equality(expression):
        left, right = expression.arguments
        a, b = sources.owners(left), sources.owners(right)
        if len(a) == len(b) == 1 and a != b:
            (x,), (y,) = a, b
            return [_Equality(x, left, y, right), _Equality(y, right, x, left)]
    raise SqlError(
        "This condition mixes sources outside of an equality",
        term.span,
        kind=ProblemKind.MIXED_SOURCES,
        hint="Values of different tables, or of a row and the connection, can only be compared as one = other.",
    )


def _lookup_groups(variant: _Variant, terms: Sequence[Term]) -> list[list[int]]:
    """Units other than the synchronised table and the request, in connected groups, each in the order of its stages."""
    remaining = sorted((set(variant.equalities) | set(variant.filters)) - {variant.synced, REQUEST})
    groups: list[list[int]] = []
    while remaining:
        group = _ordered_group(remaining, variant)
        if len(group) > 1 and not _is_anchored(group, variant):
            raise SqlError(
                "These tables are connected neither to the selected table nor to the connection",
                terms[0].span if terms else (0, 0),
                kind=ProblemKind.UNASSOCIATED_FILTER,
                hint="Add an equality with the selected table, or with auth, connection or subscription data.",
            )
        groups.append(group)
        taken = set(group)
        remaining = [owner for owner in remaining if owner not in taken]
    return groups


def _is_anchored(group: Iterable[int], variant: _Variant) -> bool:
    return any(
        isinstance(variant.sources[owner], ElementSource)
        or any(equality.right_owner in (REQUEST, variant.synced) for equality in variant.of(owner))
        for owner in group
    )


def _ordered_group(remaining: Sequence[int], variant: _Variant) -> list[int]:
    """The group of the first remaining unit: all units that equalities connect, those with known values first."""
    others = set(remaining)
    reachable: set[int] = {remaining[0]}
    frontier = [remaining[0]]
    while frontier:
        for equality in variant.of(frontier.pop()):
            other = equality.right_owner
            if other in others and other not in reachable:
                reachable.add(other)
                frontier.append(other)
    waiting = [(_lateness(owner, variant), owner) for owner in reachable]
    heapq.heapify(waiting)
    ordered: dict[int, None] = {}
    while len(ordered) < len(reachable):
        _, owner = heapq.heappop(waiting)
        if owner in ordered:
            continue
        ordered[owner] = None
        for equality in variant.of(owner):  # what is connected to a stage before is next
            if equality.right_owner in reachable:
                heapq.heappush(waiting, (0, equality.right_owner))
    return list(ordered)


def _lateness(owner: int, variant: _Variant) -> int:
    """Smaller for units that narrow earlier: connected to the request, or made of request data; 0 is for those connected to a stage."""
    if any(equality.right_owner == REQUEST for equality in variant.of(owner)):
        return 1
    return 2 if isinstance(variant.sources[owner], ElementSource) else 3


def _outputs(owner: int, variant: _Variant, places: dict[int, tuple[int, int]]) -> list[Expression]:
    """What later stages and the synchronised table need of a unit's rows."""
    needed = {
        equality.left
        for equality in variant.of(owner)
        if equality.right_owner == variant.synced
        or (equality.right_owner in places and places[equality.right_owner] > places[owner])
    }
    return sorted(needed, key=repr)


def _value_source(
    equality: _Equality, places: dict[int, tuple[int, int]], outputs: dict[int, list[Expression]]
) -> ValueSource:
    if equality.right_owner == REQUEST:
        return RequestSource(equality.right)
    group, stage = places[equality.right_owner]
    return StageOutput(group, stage, outputs[equality.right_owner].index(equality.right))


def _stage(
    owner: int, variant: _Variant, places: dict[int, tuple[int, int]], outputs: dict[int, list[Expression]]
) -> Stage:
    keys = [
        (equality.left, _value_source(equality, places, outputs))
        for equality in variant.of(owner)
        if equality.right_owner == REQUEST
        or (equality.right_owner in places and places[equality.right_owner] < places[owner])
    ]
    keys = sorted(dict.fromkeys(keys), key=repr)
    source = variant.sources[owner]
    values = tuple(value for _, value in keys)
    if isinstance(source, ElementSource):
        numbers = {owner: 0}
        filters = tuple(move_sources(expression, numbers) for expression in variant.filters.get(owner, []))
        own_keys = tuple(move_sources(key, numbers) for key, _ in keys)
        own_outputs = tuple(move_sources(expression, numbers) for expression in outputs[owner])
        return Stage(ElementTable(source.argument, filters, own_keys, own_outputs), values)
    table = _RowTableBuilder(owner, variant)
    own_keys = tuple(table.local(key) for key, _ in keys)
    own_outputs = tuple(table.local(expression) for expression in outputs[owner])
    return Stage(LookupIndex(table.build(), own_keys, own_outputs), values)


def _table(sources: Sources, number: int) -> TableSource:
    source = sources[number]
    assert isinstance(source, TableSource)
    return source


class _RowTableBuilder:
    """Rewrites expressions of one table to local source numbers; expansions are numbered as they are first used."""

    def __init__(self, owner: int, variant: _Variant) -> None:
        self.numbers = {owner: 0}
        self._variant = variant
        self._owner = owner
        self._expansions: list[Expression] = []
        self._filters = tuple(sorted((self.local(e) for e in variant.filters.get(owner, [])), key=repr))

    def local(self, expression: Expression) -> Expression:
        """The expression with the table as source 0 and its expansions from 1 on."""
        for part in walk(expression):
            if isinstance(part, (ColumnValue, RowMeta)) and part.source not in self.numbers:
                self._add_expansion(part.source)
        return move_sources(expression, self.numbers)

    def _add_expansion(self, number: int) -> None:
        source = self._variant.sources[number]
        assert isinstance(source, ElementSource)
        argument = move_sources(source.argument, self.numbers)
        self._expansions.append(argument)
        self.numbers[number] = len(self._expansions)

    def build(self) -> RowTable:
        """The table, once all expressions went through `local`."""
        return RowTable(
            _table(self._variant.sources, self._owner).pattern,
            tuple(self._expansions),
            tuple(dict.fromkeys(self._filters)),
        )
