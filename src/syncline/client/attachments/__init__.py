"""Files that belong to rows: saved on the device at once, carried to and from a remote storage in the background.

Rows hold the id of a file, never its content. Everything that an app needs is imported from here; the guide is docs/howto/attachments.md.
"""

from __future__ import annotations

from syncline.client.attachments.errors import (
    AttachmentExists,
    AttachmentNotFound,
    AttachmentNotHere,
    AttachmentRefused,
    AttachmentTooLarge,
    TransferFailed,
)
from syncline.client.attachments.folder import FolderStorage
from syncline.client.attachments.http import HttpStorage, SignedRequest
from syncline.client.attachments.model import (
    Attachment,
    AttachmentReference,
    AttachmentState,
    AttachmentStats,
    Operation,
)
from syncline.client.attachments.queue import AttachmentQueue
from syncline.client.attachments.storage import LocalStorage, MemoryStorage, RemoteStorage, StoredFile
from syncline.client.attachments.table import AttachmentTable

__all__ = [
    "Attachment",
    "AttachmentExists",
    "AttachmentNotFound",
    "AttachmentNotHere",
    "AttachmentQueue",
    "AttachmentReference",
    "AttachmentRefused",
    "AttachmentState",
    "AttachmentStats",
    "AttachmentTable",
    "AttachmentTooLarge",
    "FolderStorage",
    "HttpStorage",
    "LocalStorage",
    "MemoryStorage",
    "Operation",
    "RemoteStorage",
    "SignedRequest",
    "StoredFile",
    "TransferFailed",
]
