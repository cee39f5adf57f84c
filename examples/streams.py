"""Rows that a device has only while it wants them: a subscription to a sync stream, with a TTL. Needs nothing but syncline."""

import asyncio
import os

from syncline.client import HttpConnector, SyncDatabase, new_id
from todo_schema import SCHEMA

NOTES = "SELECT text FROM notes"


async def main() -> None:
    async with SyncDatabase("streams.db", schema=SCHEMA) as db:
        list_id = new_id()
        async with db.write_transaction() as tx:
            await tx.execute("INSERT INTO lists (id, name) VALUES (?, 'Books')", [list_id])
            await tx.execute("INSERT INTO notes (id, list_id, text) VALUES (uuid(), ?, 'Ask Ann')", [list_id])
        await db.connect(HttpConnector(os.environ["BACKEND_URL"], user_id=os.environ["USER_ID"]))
        await db.trigger_sync(timeout=30)
        print("Not subscribed:", await db.fetch(str, NOTES))  # uploaded, and in no stream of this device

        stream = db.sync_stream("notes", {"list_id": list_id})
        async with stream.subscribe(ttl=3600) as subscription:  # as long as a screen shows the list, say
            await subscription.wait_for_first_sync(timeout=30)
            print("Subscribed:", await db.fetch(str, NOTES))
        status = db.current_status.for_stream("notes", stream.parameters)
        print("Released:", await db.fetch(str, NOTES), "until", status and status.expires_at)

        await stream.unsubscribe_all()  # at once
        async for notes in db.watch(NOTES, row_type=str):
            if not notes:
                print("Unsubscribed:", notes)
                break


asyncio.run(main())
