"""PURE: what the sync machine hears. Times are arguments of `SyncMachine.receive`, not parts of events."""

from __future__ import annotations

from dataclasses import dataclass, field

from syncline.client.core.checkpoint import ApplyResult
from syncline.client.core.progress import BucketCounters
from syncline.client.core.subscriptions import LocalSubscription
from syncline.protocol.lines import Line
from syncline.protocol.requests import BucketPosition

__all__ = [
    "CheckpointApplied",
    "ClientIdChanged",
    "ConnectionOpened",
    "Event",
    "LineReceived",
    "Started",
    "Stopped",
    "StreamEnded",
    "StreamFailed",
    "SubscriptionsChanged",
    "SyncStateChanged",
    "TimePassed",
    "TokenPrefetchFailed",
    "TokenRefreshed",
    "UploadFinished",
]


@dataclass(frozen=True, slots=True)
class Started:
    """An iteration begins: what the device has. Everything that the machine knew of the last one is forgotten."""

    positions: tuple[BucketPosition, ...] = ()
    counters: dict[str, BucketCounters] = field(default_factory=dict[str, BucketCounters])
    subscriptions: tuple[LocalSubscription, ...] = ()
    sync_state: tuple[tuple[int, int], ...] = ()  # (priority, microseconds)


@dataclass(frozen=True, slots=True)
class ClientIdChanged:
    """The device has another client id than the open stream was asked for with: a stream sees the write checkpoints of one id."""

    client_id: str


@dataclass(frozen=True, slots=True)
class ConnectionOpened:
    """The service answered 200."""


@dataclass(frozen=True, slots=True)
class LineReceived:
    """One line of the stream; None for a kind of line that this version does not know."""

    line: Line | None
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """The service closed the stream."""


@dataclass(frozen=True, slots=True)
class StreamFailed:
    """The stream could not be opened, broke, or an instruction could not be performed."""

    error: Exception


@dataclass(frozen=True, slots=True)
class UploadFinished:
    """The upload queue is empty and its write checkpoint is stored. `target`: the gate, None for open.

    `last_seen`: the newest write checkpoint in any checkpoint since the last local write, None for none.
    """

    target: int | None
    last_seen: int | None = None


@dataclass(frozen=True, slots=True)
class TokenRefreshed:
    """Credentials that were asked for ahead of expiry are there."""


@dataclass(frozen=True, slots=True)
class TokenPrefetchFailed:
    """They are not there: the connector failed. The old ones are good for some time yet."""


@dataclass(frozen=True, slots=True)
class TimePassed:
    """A keepalive's time has passed in an open stream whose transport brings no keepalive lines."""


@dataclass(frozen=True, slots=True)
class SubscriptionsChanged:
    """The rows of `ps_stream_subscriptions` now."""

    subscriptions: tuple[LocalSubscription, ...]


@dataclass(frozen=True, slots=True)
class SyncStateChanged:
    """The rows of `ps_sync_state` now: (priority, microseconds)."""

    sync_state: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class CheckpointApplied:
    """What came of an `ApplyCheckpoint`."""

    result: ApplyResult
    priority: int | None


@dataclass(frozen=True, slots=True)
class Stopped:
    """The app disconnected."""


Event = (
    Started
    | ClientIdChanged
    | ConnectionOpened
    | LineReceived
    | StreamEnded
    | StreamFailed
    | UploadFinished
    | TokenRefreshed
    | TokenPrefetchFailed
    | TimePassed
    | SubscriptionsChanged
    | SyncStateChanged
    | CheckpointApplied
    | Stopped
)
