"""`explain_connection`: resolves a connection's buckets as a sync session does, and tells every step of it."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence

from syncline.protocol.requests import StreamsRequest
from syncline.sync_config.compiled_plan import CompiledPlan
from syncline.sync_config.explain.connection_explanation import (
    ConnectionBucket,
    ConnectionExplanation,
    StreamExplanation,
    SubscriptionExplanation,
)
from syncline.sync_config.explain.plan_index import PlanIndex
from syncline.sync_config.explain.recorder import Recorder
from syncline.sync_config.plan import ConnectionData, ResolvedBucket, ResolvedBuckets

__all__ = ["EXPLAINED_MAX", "ConnectionQuery", "explain_connection"]

EXPLAINED_MAX = (
    100_000  # buckets or parameter results of one connection: a hundred times what the service allows by default
)

ConnectionQuery = Generator[Sequence[str], Mapping[str, Sequence[str]], ConnectionExplanation]
"""Yields names of lookups; is sent, for each of them, the output texts stored under it; returns the explanation."""


def explain_connection(
    plan: CompiledPlan,
    connection: ConnectionData,
    streams: StreamsRequest | None = None,
    bucket_prefix: str = "",
    *,
    buckets_max: int = 1000,
    parameter_results_max: int = 1000,
) -> ConnectionQuery:
    """Which buckets a connection has and through which parameters, and how many; see `ConnectionQuery` for how to drive it.

    `streams` is what the client asks for, as in its request. `buckets_max` and `parameter_results_max` are the service's limits: beyond
    them the explanation says so, and goes on. Raises LimitExceeded beyond EXPLAINED_MAX.
    """
    index = PlanIndex(plan)
    recorder = Recorder(index, bucket_prefix)
    resolved = yield from plan.query_buckets(
        connection,
        streams,
        bucket_prefix,
        buckets_max=EXPLAINED_MAX,
        parameter_results_max=EXPLAINED_MAX,
        observer=recorder,
    )
    explained = _streams(recorder.subscriptions())
    return ConnectionExplanation(
        connection.user_id,
        bucket_prefix,
        explained,
        tuple(_bucket(bucket, resolved, streams) for bucket in resolved.buckets),
        tuple(sorted(resolved.lookups)),
        tuple(name for name in index.streams if all(stream.name != name for stream in explained)),
        resolved.unknown_streams,
        buckets_max,
        recorder.parameter_results,
        parameter_results_max,
    )


def _streams(subscriptions: Sequence[tuple[str, SubscriptionExplanation]]) -> tuple[StreamExplanation, ...]:
    by_stream: dict[str, list[SubscriptionExplanation]] = {}
    for name, subscription in subscriptions:
        by_stream.setdefault(name, []).append(subscription)
    return tuple(
        StreamExplanation(
            name,
            tuple(found),
            len({bucket.name for one in found for querier in one.queriers for bucket in querier.buckets}),
        )
        for name, found in by_stream.items()
    )


def _bucket(bucket: ResolvedBucket, resolved: ResolvedBuckets, request: StreamsRequest | None) -> ConnectionBucket:
    reasons: list[str] = []
    for reason in bucket.subscriptions:
        if reason.default is not None:
            reasons.append(f"{resolved.streams[reason.default].name}, by default")
        elif reason.sub is not None and request is not None:
            reasons.append(f"{request.subscriptions[reason.sub].stream}, subscription {reason.sub}")
    return ConnectionBucket(bucket.name, bucket.priority, tuple(reasons))
