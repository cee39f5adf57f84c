"""Drives row evaluators and bucket queries over rows that a test holds in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from syncline.protocol.bucket_names import SyncValue
from syncline.protocol.requests import StreamsRequest, StreamSubscription
from syncline.sync_config import SyncPlan
from syncline.sync_config.plan import BucketQuery, ConnectionData, ResolvedBuckets, RowEvaluation

Rows = Iterable[tuple[str, dict[str, SyncValue]]]


def evaluate(plan: SyncPlan, table: str, row: Mapping[str, SyncValue], prefix: str = "5#") -> RowEvaluation:
    """What one row contributes; the table is `name` or `schema.name`."""
    schema, _, name = table.rpartition(".")
    return plan.row_evaluator(schema or "public", name, list(row), prefix)(tuple(row.values()))


def lookups_of(plan: SyncPlan, rows: Rows) -> dict[str, list[str]]:
    """The lookup entries of rows, as storage would hold them."""
    entries: dict[str, list[str]] = {}
    for table, row in rows:
        for entry in evaluate(plan, table, row).lookups:
            entries.setdefault(entry.lookup, []).append(entry.output)
    return entries


def drive(query: BucketQuery, lookups: Mapping[str, list[str]]) -> ResolvedBuckets:
    """Answer a query's questions from `lookups`."""
    try:
        wanted = next(query)
        while True:
            wanted = query.send({name: lookups.get(name, []) for name in wanted})
    except StopIteration as stop:
        resolved: ResolvedBuckets = stop.value
        return resolved


def streams_request(subscriptions: Iterable[Mapping[str, Any]], *, include_defaults: bool = True) -> StreamsRequest:
    """The `streams` of a request; each subscription has `stream`, and may have `parameters` and `override_priority`."""
    return StreamsRequest(
        include_defaults,
        [StreamSubscription(s["stream"], s.get("parameters"), s.get("override_priority")) for s in subscriptions],
    )


def resolve(
    plan: SyncPlan,
    rows: Rows,
    token: dict[str, Any],
    *,
    subscriptions: Iterable[Mapping[str, Any]] = (),
    parameters: dict[str, Any] | None = None,
    include_defaults: bool = True,
    buckets_max: int = 1000,
    parameter_results_max: int = 1000,
) -> ResolvedBuckets:
    """The buckets of a connection when `rows` are all that is in the source."""
    request = streams_request(subscriptions, include_defaults=include_defaults)
    query = plan.query_buckets(
        ConnectionData(token, parameters or {}),
        request,
        "5#",
        buckets_max=buckets_max,
        parameter_results_max=parameter_results_max,
    )
    return drive(query, lookups_of(plan, rows))
