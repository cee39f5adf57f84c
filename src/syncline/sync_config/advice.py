"""Advice on a compiled config and the write side: rows that would leave the device that wrote them.

A row that is synced by its owner column must get that column from the verified token when it is written: left to the client, one
forgotten value makes the row disappear after its upload. So the backend's policies and the sync config have to agree.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from syncline.sync_config.compiled_plan import CompiledPlan
from syncline.sync_config.compiler.expressions import ColumnValue, Expression, Literal, RequestValue, walk
from syncline.sync_config.compiler.model import LookupIndex, Querier, RequestSource, RowQuery, ValueSource
from syncline.sync_config.plan import TablePattern

__all__ = ["Advice", "AdviceKind", "OwnerColumn", "advise", "owner_columns"]


class AdviceKind(enum.StrEnum):
    """What the advice is about."""

    OWNER_NOT_INJECTED = "owner_not_injected"  # the backend does not fill an owner column from the token
    NO_OWNER_COLUMN = "no_owner_column"  # rows reach their users only through lookups in other tables


@dataclass(frozen=True, slots=True)
class OwnerColumn:
    """Rows of `table` reach the connections whose token has the value of `column` in `parameter` (`sub`, or another claim)."""

    stream: str
    table: TablePattern
    column: str
    parameter: str


@dataclass(frozen=True, slots=True)
class Advice:
    """One finding, and what to do."""

    kind: AdviceKind
    stream: str
    table: TablePattern
    column: str
    message: str
    hint: str

    def __str__(self) -> str:
        return f"{self.table.name}: {self.message}\n    hint: {self.hint}"


def owner_columns(plan: CompiledPlan) -> tuple[OwnerColumn, ...]:
    """The columns by which rows reach the users that own them, each once for every stream."""
    found: dict[OwnerColumn, None] = {}
    for stream, querier, query in plan.stream_queries():
        for key, sources in zip(query.keys, querier.instantiation, strict=True):
            if isinstance(key, ColumnValue) and key.source == 0:
                for parameter in filter(None, map(_claim, sources)):
                    found[OwnerColumn(stream.definition.name, query.table.pattern, key.name, parameter)] = None
    return tuple(found)


def advise(plan: CompiledPlan, injected: Mapping[str, Collection[str]]) -> tuple[Advice, ...]:
    """Compare a config with the backend's declarations.

    `injected` has, for each table that clients may write (by its name, or as `schema.table`), the columns that the backend fills from
    the token. Tables that it does not name cannot be written, and are left out.
    """
    found: dict[Advice, None] = {}
    for owner in owner_columns(plan):
        columns = _injected(injected, owner.table)
        if columns is not None and owner.column not in columns:
            found[_not_injected(owner)] = None
    for stream, querier, query in plan.stream_queries():
        if _injected(injected, query.table.pattern) is not None and _only_through_lookups(querier, query):
            found[_no_owner(stream.definition.name, query.table.pattern)] = None
    return tuple(found)


def _claim(source: ValueSource) -> str:
    """The claim that a value is, or an empty text for anything but one claim of the token."""
    value: Expression | None = source.value if isinstance(source, RequestSource) else None
    if isinstance(value, RequestValue) and value.scope == "auth" and isinstance(value.key, Literal):
        return str(value.key.value)
    return ""


def _injected(injected: Mapping[str, Collection[str]], table: TablePattern) -> Collection[str] | None:
    return injected.get(f"{table.schema}.{table.name}", injected.get(table.name))


def _only_through_lookups(querier: Querier, query: RowQuery) -> bool:
    """Whether rows are found by the user's identity, but only by way of other tables."""
    if not query.keys or any(_claim(source) for sources in querier.instantiation for source in sources):
        return False
    stages = [stage for group in querier.groups for stage in group if isinstance(stage.table, LookupIndex)]
    return any(
        isinstance(part, RequestValue) and part.scope == "auth"
        for stage in stages
        for source in stage.keys
        if isinstance(source, RequestSource)
        for part in walk(source.value)
    )


def _not_injected(owner: OwnerColumn) -> Advice:
    return Advice(
        AdviceKind.OWNER_NOT_INJECTED,
        owner.stream,
        owner.table,
        owner.column,
        f'stream "{owner.stream}" syncs rows by {owner.column} = the token\'s {owner.parameter}, but the backend does not fill'
        f" {owner.column}",
        f"Fill {owner.column} from the token when a row is written; else a row without it disappears from the device after upload.",
    )


def _no_owner(stream: str, table: TablePattern) -> Advice:
    return Advice(
        AdviceKind.NO_OWNER_COLUMN,
        stream,
        table,
        "",
        f'stream "{stream}" finds the rows of {table.name} only through other tables',
        "An owner column on the table itself syncs with one bucket a user, and lets the backend check each write by its row alone.",
    )
