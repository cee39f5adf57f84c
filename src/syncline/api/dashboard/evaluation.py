"""PURE: what a sync config gives to users, over rows that are at hand; and what would change with another config.

Rows are evaluated by the generated evaluators of replication, and buckets resolved as a sync session does it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from syncline.api.dashboard.limits import ROWS_NAMED_MAX
from syncline.errors import LimitExceeded
from syncline.replication.row_reading import TableRows
from syncline.sync_config import CompiledPlan
from syncline.sync_config.plan import BucketQuery, ConnectionData, ResolvedBuckets

__all__ = ["EvaluatedConfig", "UserRows", "answered", "compared", "evaluated", "rows_of"]

ObjectKey = tuple[str, str]  # table on the device, and id


@dataclass(slots=True)
class EvaluatedConfig:
    """A config over rows: the objects of each bucket, the outputs of each lookup, and how many rows could not be evaluated."""

    plan: CompiledPlan
    objects: dict[str, dict[ObjectKey, str]] = field(default_factory=dict[str, dict[ObjectKey, str]])
    lookups: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    failed_rows: int = 0


@dataclass(frozen=True, slots=True)
class UserRows:
    """What one user's device would have. `refused` says why the service would not serve the user; there are no rows then."""

    buckets: int = 0
    rows: Mapping[ObjectKey, str] = field(default_factory=dict[ObjectKey, str])  # with their data
    refused: str = ""


def evaluated(plan: CompiledPlan, tables: Sequence[TableRows]) -> EvaluatedConfig:
    """The config over these rows."""
    config = EvaluatedConfig(plan)
    for table in tables:
        evaluate = plan.row_evaluator(table.schema, table.name, table.columns, "")
        for result in evaluate.batch(table.rows):
            for row in result.rows:
                config.objects.setdefault(row.bucket, {})[row.object_type, row.object_id] = row.data
            for entry in result.lookups:
                config.lookups.setdefault(entry.lookup, []).append(entry.output)
            config.failed_rows += bool(result.errors)
    return config


def answered(query: BucketQuery, lookups: Mapping[str, Sequence[str]]) -> ResolvedBuckets:
    """The buckets of a query whose lookups stand in `lookups`. Raises LimitExceeded."""
    try:
        wanted = next(query)
        while True:
            wanted = query.send({name: lookups.get(name, ()) for name in wanted})
    except StopIteration as stop:
        return stop.value


def rows_of(
    config: EvaluatedConfig, connection: ConnectionData, *, buckets_max: int, parameter_results_max: int
) -> UserRows:
    """What the connection's user has, with the streams that need no subscription."""
    query = config.plan.query_buckets(
        connection, None, "", buckets_max=buckets_max, parameter_results_max=parameter_results_max
    )
    try:
        resolved = answered(query, config.lookups)
    except LimitExceeded as exc:
        return UserRows(refused=exc.message)
    rows: dict[ObjectKey, str] = {}
    for bucket in resolved.buckets:
        rows |= config.objects.get(bucket.name, {})
    return UserRows(len(resolved.buckets), rows)


def compared(
    active: EvaluatedConfig | None,
    following: EvaluatedConfig,
    connection: ConnectionData,
    *,
    buckets_max: int,
    parameter_results_max: int,
) -> dict[str, Any]:
    """How a user stands with both configs: buckets, rows by table, and the rows that would leave, come, or change.

    Each kind of row is counted whole; up to ROWS_NAMED_MAX of them are named, by table and id.
    """
    limits = {"buckets_max": buckets_max, "parameter_results_max": parameter_results_max}
    before = rows_of(active, connection, **limits) if active is not None else UserRows()
    after = rows_of(following, connection, **limits)
    old, new = before.rows, after.rows
    changed = [key for key, data in new.items() if key in old and old[key] != data]
    return {
        "user_id": connection.user_id,
        "active": _shown(before) if active is not None else None,
        "next": _shown(after),
        "leaving": _named([key for key in old if key not in new]),
        "arriving": _named([key for key in new if key not in old]),
        "changed": _named(changed),
    }


def _shown(user: UserRows) -> dict[str, Any]:
    return {
        "buckets": user.buckets,
        "rows": len(user.rows),
        "tables": _by_table(list(user.rows)),
        "refused": user.refused,
    }


def _named(keys: Sequence[ObjectKey]) -> dict[str, Any]:
    named = [{"table": table, "id": row_id} for table, row_id in sorted(keys)[:ROWS_NAMED_MAX]]
    return {"count": len(keys), "tables": _by_table(keys), "rows": named}


def _by_table(keys: Sequence[ObjectKey]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for table, _ in sorted(keys):
        counts[table] = counts.get(table, 0) + 1
    return counts
