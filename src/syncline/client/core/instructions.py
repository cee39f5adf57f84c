"""PURE: what the sync machine asks for.

`StoreOps` to `ResetProgress` change the device's file: those of one event are performed in one transaction, in their order, and the
last two groups report back as events. The others happen at the edge.
"""

from __future__ import annotations

from dataclasses import dataclass

from syncline.client.core.checkpoint import LocalCheckpoint
from syncline.client.core.status import SyncStatus
from syncline.protocol.lines import DataBatch, StreamDescription
from syncline.protocol.requests import StreamRequest

__all__ = [
    "ApplyCheckpoint",
    "CloseStream",
    "DeleteBuckets",
    "EdgeInstruction",
    "FetchCredentials",
    "Instruction",
    "LogWarning",
    "MarkStreamsSynced",
    "OpenStream",
    "PublishStatus",
    "RecordStreams",
    "RefreshSubscriptions",
    "ResetProgress",
    "StoreInstruction",
    "StoreOps",
    "TriggerUpload",
]


@dataclass(frozen=True, slots=True)
class StoreOps:
    """Store the operations of one data line; `line_bytes` is its size on the wire."""

    batch: DataBatch
    line_bytes: int


@dataclass(frozen=True, slots=True)
class DeleteBuckets:
    """Delete buckets that the device may no longer have; their rows leave the tables at the next full apply."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ApplyCheckpoint:
    """Validate and make visible; answer with `CheckpointApplied`. `priority` None: the full checkpoint."""

    checkpoint: LocalCheckpoint
    priority: int | None


@dataclass(frozen=True, slots=True)
class RecordStreams:
    """Note which streams the service serves; answer with `SubscriptionsChanged`."""

    streams: tuple[StreamDescription, ...]


@dataclass(frozen=True, slots=True)
class MarkStreamsSynced:
    """Note that these subscriptions are complete; answer with `SubscriptionsChanged`."""

    row_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RefreshSubscriptions:
    """Extend the lives of subscriptions in use, drop expired ones; answer with `SubscriptionsChanged`."""


@dataclass(frozen=True, slots=True)
class ResetProgress:
    """The service has fewer operations than were counted (compaction): the stored counters start again at 0."""


@dataclass(frozen=True, slots=True)
class OpenStream:
    """Open a stream with this request."""

    request: StreamRequest


@dataclass(frozen=True, slots=True)
class CloseStream:
    """End this iteration. `reconnect_now`: without a delay; `hide_disconnect`: without a change of status.

    `delay_s`: seconds until the next one, to which the runner adds jitter.
    """

    hide_disconnect: bool = False
    reconnect_now: bool = False
    error: Exception | None = None
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class FetchCredentials:
    """The token expires soon (fetch ahead, answer with `TokenRefreshed`), or has `expired` (drop it now)."""

    expired: bool


@dataclass(frozen=True, slots=True)
class PublishStatus:
    """Tell the app. The fields of the upload side are not the machine's and are kept as they are."""

    status: SyncStatus


@dataclass(frozen=True, slots=True)
class TriggerUpload:
    """Look at the upload queue now."""


@dataclass(frozen=True, slots=True)
class LogWarning:
    """Something that the developer should know; `event` is the name of the log event."""

    event: str
    message: str


StoreInstruction = (
    StoreOps
    | DeleteBuckets
    | ApplyCheckpoint
    | RecordStreams
    | MarkStreamsSynced
    | RefreshSubscriptions
    | ResetProgress
)
EdgeInstruction = OpenStream | CloseStream | FetchCredentials | PublishStatus | TriggerUpload | LogWarning
Instruction = StoreInstruction | EdgeInstruction
