"""What becomes of a write that the backend refuses: a dead letter, while the queue goes on. Needs nothing but syncline."""

import asyncio
import os

from syncline.client import CrudTransaction, HttpConnector, Refusal, SyncDatabase, UploadPolicy
from todo_schema import SCHEMA

ADD = "INSERT INTO lists (id, name) VALUES (uuid(), ?)"


def warn(transaction: CrudTransaction, refusal: Refusal) -> None:
    print(f"Refused: {len(transaction.crud)} row, {refusal.code}")


async def main() -> None:
    policy = UploadPolicy(on_rejected=warn, backend_keeps_refusals=False)  # the app keeps them itself
    connector = HttpConnector(os.environ["BACKEND_URL"], user_id=os.environ["USER_ID"], policy=policy)
    async with SyncDatabase("uploads.db", schema=SCHEMA) as db:
        await db.execute(ADD, [""])  # the table has CHECK (name <> ''), which the device does not know
        await db.execute(ADD, ["Books"])
        print((await db.get_upload_queue_stats()).count, "writes wait")
        await db.connect(connector)
        await db.trigger_sync(timeout=30)
        print("On the device:", [row["name"] for row in await db.get_all("SELECT name FROM lists")])
        for letter in await db.dead_letters.list():
            [entry] = letter.entries
            print(f"Refused was {entry.op} {entry.table} {entry.op_data}: {letter.refusal.message}")
            await db.execute(ADD, ["Untitled"])  # put right, and given up in its old form
            await db.dead_letters.discard(letter.id)
        await db.trigger_sync(timeout=30)
        print("On the device:", sorted(row["name"] for row in await db.get_all("SELECT name FROM lists")))


asyncio.run(main())
