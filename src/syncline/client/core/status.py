"""PURE: what an app can know about its sync, as immutable values."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from syncline.client.errors import ConnectionFailed, NotSignedIn

__all__ = [
    "FULL_SYNC_PRIORITY",
    "BlockedBy",
    "PriorityStatus",
    "Progress",
    "Role",
    "StreamProgress",
    "StreamStatus",
    "SyncState",
    "SyncStatus",
    "is_network_away",
    "time_of",
]

FULL_SYNC_PRIORITY = 2**31 - 1
"""The priority under which a complete checkpoint is recorded in `ps_sync_state`."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def time_of(microseconds: int) -> datetime:
    """Microseconds since the epoch as an aware UTC time; exact, where a float of seconds would not be."""
    return _EPOCH + timedelta(microseconds=microseconds)


class BlockedBy(enum.StrEnum):
    """Why downloaded changes are not visible yet."""

    OPEN_TRANSACTION = "open transaction"  # the app holds the write connection: nothing can be stored, nor written
    PENDING_UPLOADS = "pending_uploads"  # local writes are in the queue
    WRITE_CHECKPOINT = "write_checkpoint"  # uploaded, but the service has not seen them in the source yet


class SyncState(enum.StrEnum):
    """The one word for an app's sync icon, derived from the rest of a status (`SyncStatus.state`)."""

    OFFLINE = "offline"  # not connected: nobody has connected, nobody is signed in, or the network is away; tried again by itself
    CONNECTING = "connecting"  # on the way to the service, and nothing has gone wrong so far
    SYNCING = "syncing"  # connected, and something is still to be downloaded, uploaded or shown
    SYNCED = "synced"  # connected, all of the service's data is visible here, and all local writes have arrived there
    ERROR = "error"  # something that waiting for the network does not heal: `SyncStatus.error` says what


class Role(enum.StrEnum):
    """Which part this process has in the sync of a file that several processes may use."""

    OWNER = "owner"  # this process syncs
    PEER = "peer"  # another process does; this one reads and writes, and takes over when that one ends


@dataclass(frozen=True, slots=True)
class PriorityStatus:
    """When everything up to `priority` was last complete."""

    priority: int
    last_synced_at: datetime


@dataclass(frozen=True, slots=True)
class Progress:
    """Operations of the current download, by bucket priority: (priority, downloaded, total)."""

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
        return _fraction(*self.until(FULL_SYNC_PRIORITY))


@dataclass(frozen=True, slots=True)
class StreamProgress:
    """Operations of the current download in the buckets of one stream."""

    downloaded: int
    total: int

    @property
    def fraction(self) -> float:
        """0.0 to 1.0; 0.0 where nothing is to be downloaded."""
        return _fraction(self.downloaded, self.total)


def _fraction(downloaded: int, total: int) -> float:
    return min(1.0, downloaded / total) if total > 0 else 0.0


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """One sync stream of this device. `unknown`: the service has no stream of this name for this user.

    `priority`: the least urgent among its buckets, which is when all of it is there; None while no checkpoint has named it.
    `progress`: its part of the current download, None where nothing is downloaded.
    """

    name: str
    parameters: dict[str, Any] | None
    active: bool
    is_default: bool
    explicit: bool
    unknown: bool = False
    errors: tuple[str, ...] = ()
    expires_at: datetime | None = None
    last_synced_at: datetime | None = None
    priority: int | None = None
    progress: StreamProgress | None = None

    @property
    def has_synced(self) -> bool:
        """True once all of the stream's data was on the device."""
        return self.last_synced_at is not None


@dataclass(frozen=True, slots=True)
class SyncStatus:
    """The state of sync at one moment. `has_synced` is None until the file has been read.

    `blocked_by` says why downloaded changes are not visible yet (`BlockedBy`), None where nothing holds them back. `stalled` is the error
    `Stalled` while something takes unusually long (contract C6); the client is still at it. `pending_changes` counts the crud entries
    that wait for their upload, None until the file has been read; `upload_queue_since`: since when nothing of the queue has moved, as of
    the last upload. `caught_up`: since it was connected, a complete checkpoint of the service
    has become visible. `applied_write_checkpoint` is the newest write checkpoint that is
    contained in the app's tables, as far as the open stream has told; `retries` counts failed tries of the stream in a row.
    `role` is None while nobody has called `connect`.
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
    stalled: Exception | None = field(default=None)
    caught_up: bool = False
    pending_changes: int | None = None
    upload_queue_since: datetime | None = None
    applied_write_checkpoint: int | None = None
    retries: int = 0
    role: Role | None = None

    @property
    def downloading(self) -> bool:
        """True from a checkpoint line until the checkpoint is visible."""
        return self.progress is not None

    @property
    def state(self) -> SyncState:
        """One word for it. Never SYNCED while any work is pending."""
        if not self.connected:
            errors = [error for error in (self.download_error, self.upload_error, self.stalled) if error is not None]
            if any(not is_network_away(error) for error in errors):
                return SyncState.ERROR
            return SyncState.CONNECTING if self.connecting and not errors else SyncState.OFFLINE
        # What kept us from connecting is over; its error stays in the status until a checkpoint was downloaded.
        if self.download_error is not None and not is_network_away(self.download_error):
            return SyncState.ERROR
        if self.upload_error is not None or self.stalled is not None:
            return SyncState.ERROR
        busy = self.uploading or self.downloading or self.blocked_by is not None or bool(self.pending_changes)
        return SyncState.SYNCED if self.caught_up and not busy else SyncState.SYNCING

    @property
    def error(self) -> Exception | None:
        """What is wrong: the error of the download, of the upload, or what has stalled; None where nothing is."""
        return self.download_error or self.upload_error or self.stalled

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


def is_network_away(error: Exception) -> bool:
    """Whether the device is only cut off, or signed out; OSError covers timeouts and sockets of connectors."""
    return isinstance(error, ConnectionFailed | NotSignedIn | OSError)
