"""A photo that belongs to a row, stored together, and shown on another device. Needs nothing but syncline."""

import asyncio
import os

from syncline.client import HttpConnector, SyncDatabase
from syncline.client.attachments import Attachment, AttachmentQueue, FolderStorage, HttpStorage, Operation
from todo_schema import SCHEMA

PHOTOS = "SELECT photo_id AS id, 'jpg' AS file_extension FROM todos WHERE photo_id IS NOT NULL"
ADD = "INSERT INTO todos (id, title, photo_id) VALUES (uuid(), 'Mend the tap', ?)"

connector = HttpConnector(os.environ["BACKEND_URL"], user_id=os.environ["USER_ID"])


async def sign(attachment: Attachment, operation: Operation) -> str:
    wanted = {"name": attachment.filename, "operation": operation}
    return (await connector.authenticated_fetch("POST", "/api/files/sign", value=wanted)).json()["url"]


def photos_of(db: SyncDatabase) -> AttachmentQueue:
    return AttachmentQueue(db, local=FolderStorage(f"{db.path}.photos"), remote=HttpStorage(sign), references=PHOTOS)


async def main() -> None:
    async with SyncDatabase("phone.db", schema=SCHEMA) as db, photos_of(db) as photos:
        photo = await photos.save_file(
            b"\xff\xd8", file_extension="jpg", update=lambda tx, it: tx.execute(ADD, [it.id])
        )
        await db.sync_once(connector, timeout=30)
    async with SyncDatabase("tablet.db", schema=SCHEMA) as db, photos_of(db) as photos:
        await db.connect(connector)
        async for found in photos.watch(photo.id):
            if found is not None and found.local_uri:
                print(f"The tablet has {len(await photos.read(photo.id))} bytes of the photo")
                break


asyncio.run(main())
