"""Explanations of rows and connections over rows that a test holds in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from syncline.protocol.bucket_names import SyncValue
from syncline.protocol.requests import StreamsRequest
from syncline.sync_config import CompiledPlan, compile_sync_config
from syncline.sync_config.explain import (
    ConnectionExplanation,
    ConnectionQuery,
    RowExplanation,
    SourceTableName,
    explain_connection,
    explain_row,
)
from syncline.sync_config.plan import ConnectionData
from tests.unit.sync_config.resolving import Rows, lookups_of, streams_request

__all__ = ["connection_of", "drive_explanation", "plan_of", "row_of"]

INDENT = "      "


def plan_of(*queries: str, options: str = "") -> CompiledPlan:
    """A plan of one default stream `s` with these queries; the first stands in line 6."""
    lines = "\n".join(f"{INDENT}- {query}" for query in queries)
    return compile_sync_config(
        f"config: {{edition: 3}}\nstreams:\n  s:\n    auto_subscribe: true\n    queries:\n{lines}\n{options}"
    )


def row_of(plan: CompiledPlan, table: str, prefix: str = "", /, **row: SyncValue) -> RowExplanation:
    """What a config makes of a row; the table is `name` or `schema.name`."""
    schema, _, name = table.rpartition(".")
    return explain_row(plan, SourceTableName(schema or "public", name), row, prefix)


def drive_explanation(query: ConnectionQuery, lookups: Mapping[str, list[str]]) -> ConnectionExplanation:
    """Answer an explanation's questions from `lookups`."""
    try:
        wanted = next(query)
        while True:
            wanted = query.send({name: lookups.get(name, []) for name in wanted})
    except StopIteration as stop:
        explanation: ConnectionExplanation = stop.value
        return explanation


def connection_of(
    plan: CompiledPlan,
    token: dict[str, Any],
    rows: Rows = (),
    *,
    subscriptions: Iterable[Mapping[str, Any]] = (),
    buckets_max: int = 1000,
    prefix: str = "",
) -> ConnectionExplanation:
    """What a connection gets when `rows` are all that is in the source."""
    request: StreamsRequest = streams_request(subscriptions)
    query = explain_connection(plan, ConnectionData(token), request, prefix, buckets_max=buckets_max)
    return drive_explanation(query, lookups_of(plan, rows))
