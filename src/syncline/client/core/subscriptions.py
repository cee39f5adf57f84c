"""PURE: sync stream subscriptions, as rows of the device's file and as part of a request (client SQLite reference, section 12)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from syncline.protocol.lines import LOWEST_PRIORITY, BucketChecksum, StreamDescription
from syncline.protocol.requests import StreamsRequest, StreamSubscription

__all__ = [
    "LocalSubscription",
    "bucket_owners",
    "decode_params",
    "encode_params",
    "stream_priorities",
    "streams_request",
    "synced_ids",
    "unknown_streams",
]


@dataclass(frozen=True, slots=True)
class LocalSubscription:
    """One row of `ps_stream_subscriptions`. Explicit where `ttl_s` is set; the times are microseconds since the epoch."""

    row_id: int
    stream: str
    params_text: str = "null"
    active: bool = False
    is_default: bool = False
    priority: int | None = None
    ttl_s: int | None = None
    expires_at_us: int | None = None
    last_synced_at_us: int | None = None

    @property
    def explicit(self) -> bool:
        """True for a subscription of the app, False for a row that only says that a default stream is active."""
        return self.ttl_s is not None


def encode_params(params: dict[str, Any] | None) -> str:
    """Parameters as the text that identifies a subscription: compact JSON in the caller's key order, `null` for none."""
    return "null" if params is None else msgspec.json.encode(params).decode()


def decode_params(text: str) -> dict[str, Any] | None:
    """Parameters of a stored subscription."""
    return msgspec.json.decode(text, type=dict[str, Any] | None)


def streams_request(rows: tuple[LocalSubscription, ...], *, include_defaults: bool) -> StreamsRequest:
    """What to ask the service for: every explicit subscription, in the order of the rows."""
    return StreamsRequest(
        include_defaults=include_defaults,
        subscriptions=[
            StreamSubscription(
                stream=row.stream, parameters=decode_params(row.params_text), override_priority=row.priority
            )
            for row in rows
            if row.explicit
        ],
    )


def unknown_streams(rows: tuple[LocalSubscription, ...], streams: list[StreamDescription]) -> list[str]:
    """Names that the app subscribed to and the service did not list: it has no such stream (protocol reference, 2.1)."""
    listed = {stream.name for stream in streams}
    return sorted({row.stream for row in rows if row.explicit} - listed)


def bucket_owners(
    requested: tuple[LocalSubscription, ...],
    rows: tuple[LocalSubscription, ...],
    streams: list[StreamDescription],
    buckets: list[BucketChecksum],
) -> dict[str, tuple[int, ...]]:
    """Bucket -> row ids of the subscriptions that are the reason for it (protocol reference, 2.3).

    `requested` are the rows at the time of the request, whose explicit ones the service counts; `rows` are those of now, among which
    default streams have got theirs.
    """
    explicit = [row for row in requested if row.explicit]
    defaults = {row.stream: row.row_id for row in rows if row.params_text == "null"}
    found: dict[str, tuple[int, ...]] = {}
    for bucket in buckets:
        owners: list[int] = []
        for reason in bucket.subscriptions:
            row_id: int | None = None
            if reason.sub is not None and 0 <= reason.sub < len(explicit):
                row_id = explicit[reason.sub].row_id
            elif reason.default is not None and 0 <= reason.default < len(streams):
                row_id = defaults.get(streams[reason.default].name)
            if row_id is not None and row_id not in owners:
                owners.append(row_id)
        if owners:
            found[bucket.bucket] = tuple(owners)
    return found


def stream_priorities(owners: dict[str, tuple[int, ...]], buckets: list[BucketChecksum]) -> dict[int, int]:
    """Row id -> the least urgent priority among the buckets of its stream: when that is complete, the whole stream is."""
    found: dict[int, int] = {}
    for bucket in buckets:
        for row_id in owners.get(bucket.bucket, ()):
            found[row_id] = max(found.get(row_id, 0), bucket.priority)
    return found


def synced_ids(
    rows: tuple[LocalSubscription, ...], priorities: dict[int, int], *, priority: int | None
) -> tuple[int, ...]:
    """Rows whose stream is complete at `priority`; None stands for a full checkpoint, which completes every active stream."""
    if priority is None:
        return tuple(row.row_id for row in rows if row.active)
    return tuple(
        row.row_id
        for row in rows
        if row.active and row.row_id in priorities and min(priorities[row.row_id], LOWEST_PRIORITY) <= priority
    )
