"""PURE: what an app can know about its sync, as immutable values."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

__all__ = ["FULL_SYNC_PRIORITY", "PriorityStatus", "Progress", "StreamStatus", "SyncStatus", "time_of"]

FULL_SYNC_PRIORITY = 2**31 - 1
"""The priority under which a complete checkpoint is recorded in `ps_sync_state`."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def time_of(microseconds: int) -> datetime:
    """Microseconds since the epoch as an aware UTC time; exact, where a float of seconds would not be."""
    return _EPOCH + timedelta(microseconds=microseconds)


@dataclass(frozen=True, slots=True)
class PriorityStatus:
    """When everything up to `priority` was last complete."""

    priority: int
    last_synced_at: datetime


@dataclass(frozen=True, slots=True)
class Progress:
    """Operations of the current download, by bucket priority: (downloaded, total)."""

    by_priority: tuple[tuple[int, int, int], ...] = ()

    def until(self, priority: int) -> tuple[int, int]:
        """(downloaded, total) over the buckets that are at least as urgent as `priority`."""
        chosen = [entry for entry in self.by_priority if entry[0] <= priority]
        return sum(entry[1] for entry in chosen), sum(entry[2] for entry in chosen)

    @property
    def downloaded(self) -> int:
        """Operations received."""
        return self.until(FULL_SYNC_PRIORITY)[0]

    @property
    def total(self) -> int:
        """Operations that the checkpoint needs."""
        return self.until(FULL_SYNC_PRIORITY)[1]

    @property
    def fraction(self) -> float:
        """0.0 to 1.0; 0.0 where nothing is to be downloaded."""
        downloaded, total = self.until(FULL_SYNC_PRIORITY)
        return downloaded / total if total else 0.0


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """One sync stream of this device. `unknown`: the service has no stream of this name for this user."""

    name: str
    parameters: dict[str, Any] | None
    active: bool
    is_default: bool
    explicit: bool
    unknown: bool = False
    errors: tuple[str, ...] = ()
    expires_at: datetime | None = None
    last_synced_at: datetime | None = None

    @property
    def has_synced(self) -> bool:
        """True once all of the stream's data was on the device."""
        return self.last_synced_at is not None


@dataclass(frozen=True, slots=True)
class SyncStatus:
    """The state of sync at one moment. `has_synced` is None until the file has been read.

    `blocked_by` says why downloaded changes are not visible yet: `pending_uploads` (local writes are in the queue) or
    `write_checkpoint` (uploaded, but the service has not seen them in the source yet).
    """

    connected: bool = False
    connecting: bool = False
    uploading: bool = False
    has_synced: bool | None = None
    priorities: tuple[PriorityStatus, ...] = ()
    streams: tuple[StreamStatus, ...] = ()
    progress: Progress | None = None
    blocked_by: str | None = None
    download_error: Exception | None = field(default=None)
    upload_error: Exception | None = field(default=None)

    @property
    def downloading(self) -> bool:
        """True from a checkpoint line until the checkpoint is visible."""
        return self.progress is not None

    @property
    def last_synced_at(self) -> datetime | None:
        """When a complete checkpoint was last made visible, in UTC."""
        entries = [entry for entry in self.priorities if entry.priority == FULL_SYNC_PRIORITY]
        return entries[0].last_synced_at if entries else None

    def for_priority(self, priority: int) -> PriorityStatus | None:
        """The newest sync that covers `priority`, None for never (client SQLite reference, 11)."""
        return next((entry for entry in self.priorities if entry.priority >= priority), None)

    def for_stream(self, name: str, parameters: dict[str, Any] | None = None) -> StreamStatus | None:
        """Status of one stream, None where this device has no subscription to it and it is not a default stream."""
        return next((s for s in self.streams if s.name == name and s.parameters == parameters), None)
