"""The queries of a compiled sync config, as `check schema` compares them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from syncline.cli.schema_check.alignment import SyncedQuery
from syncline.sync_config.advice import owner_columns

if TYPE_CHECKING:
    from syncline.sync_config import CompiledPlan

__all__ = ["synced_queries"]


def synced_queries(plan: CompiledPlan) -> tuple[SyncedQuery, ...]:
    """Each query of each stream once."""
    owners: dict[tuple[str, object], set[str]] = {}
    for owner in owner_columns(plan):
        owners.setdefault((owner.stream, owner.table), set()).add(owner.column)
    found: dict[SyncedQuery, None] = {}
    for stream, _, query in plan.stream_queries():
        name, pattern = stream.definition.name, query.table.pattern
        filled = frozenset(owners.get((name, pattern), ()))
        found[SyncedQuery(name, query.device_table, pattern, query.column_names, filled)] = None
    return tuple(found)
