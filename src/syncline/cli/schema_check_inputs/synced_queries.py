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
    queries = {source.name: source.queries for source in plan.bucket_sources}
    found: dict[SyncedQuery, None] = {}
    for stream in plan.compiled_streams:
        for _, bucket in stream.queriers:
            for query in queries[bucket]:
                pattern = query.table.pattern
                names = [column.name for column in query.columns]
                entry = SyncedQuery(
                    stream.definition.name,
                    query.object_type or pattern.name,
                    pattern,
                    None if None in names else frozenset(name for name in names if name is not None),
                    frozenset(owners.get((stream.definition.name, pattern), ())),
                )
                found[entry] = None
    return tuple(found)
