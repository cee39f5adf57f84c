"""PURE: what the queue knows about one file (client API reference, 10)."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

__all__ = ["Attachment", "AttachmentReference", "AttachmentState", "AttachmentStats", "Operation"]


class AttachmentState(enum.IntEnum):
    """Where a file stands; the numbers are those of the official SDKs."""

    QUEUED_UPLOAD = 0  # on the device, not yet in the remote storage
    QUEUED_DOWNLOAD = 1  # some row refers to it, and it is not on the device yet
    QUEUED_DELETE = 2  # to be deleted there and here
    SYNCED = 3  # there and here
    ARCHIVED = 4  # nothing refers to it any more; the file stays until newer archived ones displace it


class Operation(enum.StrEnum):
    """What is done with a remote storage."""

    UPLOAD = "upload"
    DOWNLOAD = "download"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class AttachmentReference:
    """A file that a row of the app refers to: its id, and what the app knows of it.

    `filename` is what remote storages name it by; by default the id with `.file_extension`.
    """

    id: str
    file_extension: str | None = None
    filename: str | None = None
    media_type: str | None = None
    meta_data: str | None = None

    @property
    def name(self) -> str:
        """The file's name in the remote storage."""
        if self.filename:
            return self.filename
        return f"{self.id}.{self.file_extension.removeprefix('.')}" if self.file_extension else self.id


@dataclass(frozen=True, slots=True)
class Attachment:
    """One record of the queue.

    `local_uri` is what the local storage knows the file by, None while it is not on the device. `timestamp_ms` is the time of its last
    change (ms since the epoch). `has_synced`: it was in the remote storage once. `attempts` counts failures in a row, `error` is the
    text of the last one, and `retry_at_ms` when it is tried again.
    """

    id: str
    filename: str
    state: AttachmentState
    timestamp_ms: int
    local_uri: str | None = None
    size: int | None = None
    media_type: str | None = None
    has_synced: bool = False
    meta_data: str | None = None
    attempts: int = 0
    retry_at_ms: int = 0
    error: str | None = None

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Attachment:
        """A record as the view has it; columns that an official SDK left out count as empty."""
        return cls(
            id=row["id"],
            filename=row["filename"] or row["id"],
            state=AttachmentState(row["state"] or 0),
            timestamp_ms=row["timestamp"] or 0,
            local_uri=row["local_uri"],
            size=row["size"],
            media_type=row["media_type"],
            has_synced=bool(row["has_synced"]),
            meta_data=row["meta_data"],
            attempts=row["attempts"] or 0,
            retry_at_ms=row["retry_at"] or 0,
            error=row["error"],
        )

    @property
    def operation(self) -> Operation | None:
        """What the remote storage is wanted for; None where nothing is to be done."""
        return _OPERATIONS.get(self.state)


_OPERATIONS = {
    AttachmentState.QUEUED_UPLOAD: Operation.UPLOAD,
    AttachmentState.QUEUED_DOWNLOAD: Operation.DOWNLOAD,
    AttachmentState.QUEUED_DELETE: Operation.DELETE,
}


@dataclass(frozen=True, slots=True)
class AttachmentStats:
    """How many files stand where. `failed` ones are among the queued: they have failed too often, and rest."""

    uploads: int = 0
    downloads: int = 0
    deletions: int = 0
    synced: int = 0
    archived: int = 0
    failed: int = 0

    @property
    def waiting(self) -> int:
        """Transfers and deletions that are still to be done."""
        return self.uploads + self.downloads + self.deletions
