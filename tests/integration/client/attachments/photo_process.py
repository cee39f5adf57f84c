"""A device that saves photos until it is killed: `python -m tests.integration.client.attachments.photo_process FILE FOLDER URL`.

It prints the id of each photo after it was saved, and uploads meanwhile, by plain PUT.
"""

from __future__ import annotations

import asyncio
import sys
from itertools import count
from pathlib import Path

from syncline.client import SyncDatabase
from syncline.client.attachments import Attachment, HttpStorage, Operation
from tests.integration.client.attachments.photo_device import SCHEMA, PhotoDevice, referring


def content_of(photo_id: str) -> bytes:
    """What a photo of this id contains: several chunks."""
    return photo_id.encode() * 5000


async def main(file: str, folder: str, url: str) -> None:
    """Save and upload."""

    async def sign(attachment: Attachment, operation: Operation) -> str:
        return f"{url}/{attachment.filename}"

    async with SyncDatabase(file, schema=SCHEMA) as db, PhotoDevice(db, Path(folder)).queue(HttpStorage(sign)) as queue:
        for number in count():
            photo_id = queue.generate_id()
            await queue.save_file(content_of(photo_id), id=photo_id, update=referring(f"t{number}-{photo_id}"))
            print(photo_id, flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
