"""What can go wrong with a file, and whether it is tried again."""

from __future__ import annotations

from typing import ClassVar

from syncline.errors import ClientError, Retry

__all__ = [
    "AttachmentExists",
    "AttachmentNotFound",
    "AttachmentNotHere",
    "AttachmentRefused",
    "AttachmentTooLarge",
    "TransferFailed",
]


class AttachmentExists(ClientError):
    """A file was saved under an id that is taken. Files never change: other devices keep what they have under an id."""

    def __init__(self, attachment_id: str) -> None:
        super().__init__(
            f"There is an attachment with the id {attachment_id!r}.",
            hint="Save the new content under a new id, and let the row refer to that; the old file is archived then.",
        )


class AttachmentNotHere(ClientError):
    """A file was asked for that is not on the device (yet)."""


class TransferFailed(ClientError):
    """A file could not be carried now. It is tried again; `retry_after_s` is the wait that the remote storage asked for."""

    retry: ClassVar[Retry] = Retry.BACKOFF

    def __init__(self, message: str, *, hint: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class AttachmentNotFound(TransferFailed):
    """The remote storage has no such file. Rows often arrive before the files of other devices: it is tried again."""


class AttachmentRefused(ClientError):
    """The remote storage will never take, or give, this file. It rests until `retry()` or the next start."""

    retry: ClassVar[Retry] = Retry.NEVER


class AttachmentTooLarge(AttachmentRefused):
    """The file is larger than the queue's limit, or the remote storage's."""
