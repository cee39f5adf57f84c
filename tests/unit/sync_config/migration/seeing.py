"""The rows that a connection sees through a plan, when some rows are all that is in the source."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from syncline.protocol.bucket_names import SyncValue
from syncline.sync_config import SyncPlan
from syncline.sync_config.plan import ConnectionData
from tests.unit.sync_config.resolving import drive

__all__ = ["Connection", "SeenRow", "SourceRow", "World"]

SeenRow = tuple[str, str, str]
"""Object type, object id, and the data as JSON with sorted keys."""


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A row of the source."""

    table: str
    values: Mapping[str, SyncValue]
    schema: str = "public"


@dataclass(frozen=True, slots=True)
class Connection:
    """A user's token and the client's parameters."""

    token: Mapping[str, Any]
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])


class World:
    """Rows in the buckets of a plan, and its parameter lookups."""

    def __init__(self, plan: SyncPlan, rows: Iterable[SourceRow]) -> None:
        self._plan = plan
        self._buckets: dict[str, set[SeenRow]] = {}
        self._lookups: dict[str, list[str]] = {}
        for row in rows:
            evaluator = plan.row_evaluator(row.schema, row.table, list(row.values), "7#")
            evaluation = evaluator(tuple(row.values.values()))
            for entry in evaluation.lookups:
                self._lookups.setdefault(entry.lookup, []).append(entry.output)
            for found in evaluation.rows:
                data = json.dumps(json.loads(found.data), sort_keys=True)
                self._buckets.setdefault(found.bucket, set()).add((found.object_type, found.object_id, data))

    def sees(self, connection: Connection) -> dict[SeenRow, int]:
        """The rows in the connection's buckets, each with its most urgent priority."""
        seen: dict[SeenRow, int] = {}
        query = self._plan.query_buckets(
            ConnectionData(connection.token, connection.parameters),
            None,
            "7#",
            buckets_max=10_000,
            parameter_results_max=10_000,
        )
        for bucket in drive(query, self._lookups).buckets:
            for row in self._buckets.get(bucket.name, ()):
                seen[row] = min(seen.get(row, bucket.priority), bucket.priority)
        return seen


def visible(plan: SyncPlan, rows: Sequence[SourceRow], connections: Iterable[Connection]) -> list[dict[SeenRow, int]]:
    """What each connection sees."""
    world = World(plan, rows)
    return [world.sees(connection) for connection in connections]
