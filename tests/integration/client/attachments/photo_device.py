"""What the tests of attachments share: a schema with photos, and a device with its queue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from syncline.client import Column, Schema, SyncDatabase, Table
from syncline.client.attachments import (
    Attachment,
    AttachmentQueue,
    AttachmentState,
    AttachmentTable,
    FolderStorage,
    RemoteStorage,
)
from syncline.client.attachments.queue import UpdateHook
from syncline.client.retry import Fixed
from syncline.testing.waiting import eventually

__all__ = ["DEADLINE_S", "PHOTO", "REFERENCES", "SCHEMA", "PhotoDevice", "referring"]

SCHEMA = Schema(
    [
        Table("todos", [Column.text("description"), Column.text("photo_id")]),
        Table("drafts", [Column.text("body")], local_only=True),
        AttachmentTable(),
    ]
)
REFERENCES = "SELECT photo_id AS id, 'jpg' AS file_extension FROM todos WHERE photo_id IS NOT NULL ORDER BY 1"
PHOTO = b"\xff\xd8" + bytes(range(256)) * 300  # more than one chunk
DEADLINE_S = 20.0
NO_PAUSE = Fixed(0.0, jitter=0.0)


def referring(todo_id: str) -> UpdateHook:
    """A todo that refers to the file that is saved."""

    async def update(transaction: Any, attachment: Attachment) -> None:
        await transaction.execute("INSERT INTO todos(id, photo_id) VALUES (?, ?)", [todo_id, attachment.id])

    return update


class PhotoDevice:
    """A database, a folder of photos, and short ways to look at them."""

    def __init__(self, db: SyncDatabase, folder: Path) -> None:
        self.db = db
        self.folder = folder

    def queue(self, remote: RemoteStorage, **options: Any) -> AttachmentQueue:
        """A queue over the folder that tries again at once."""
        settings: dict[str, Any] = {"references": REFERENCES, "retry": NO_PAUSE, "throttle_s": 0.0, **options}
        return AttachmentQueue(self.db, local=FolderStorage(self.folder), remote=remote, **settings)

    def files(self) -> list[str]:
        """Names in the folder."""
        return sorted(path.name for path in self.folder.iterdir()) if self.folder.is_dir() else []

    async def refer(self, photo_id: str) -> None:
        """A row that came from elsewhere refers to a file."""
        await self.db.execute("INSERT INTO todos(id, photo_id) VALUES (uuid(), ?)", [photo_id])

    async def unrefer(self, photo_id: str) -> None:
        """No row refers to a file any more."""
        await self.db.execute("DELETE FROM todos WHERE photo_id = ?", [photo_id])

    async def record(self, photo_id: str) -> dict[str, Any]:
        """The record of a file, as it is stored; empty where there is none."""
        row = await self.db.get_optional("SELECT * FROM attachments WHERE id = ?", [photo_id])
        return {} if row is None else row.as_dict()

    async def state(self, photo_id: str) -> AttachmentState | None:
        """Where a file stands."""
        record = await self.record(photo_id)
        return AttachmentState(record["state"]) if record else None

    async def reaches(self, photo_id: str, state: AttachmentState | None) -> None:
        """Wait until a file stands somewhere."""

        async def is_there() -> bool:
            return await self.state(photo_id) is state

        await eventually(is_there, timeout_s=DEADLINE_S, what=f"{photo_id} is {state}")
