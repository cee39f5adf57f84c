"""Write a row on the device, let it go to Postgres and come back, and read it. Needs nothing but syncline."""

import asyncio
import os

from syncline.client import Column, HttpConnector, Schema, SyncDatabase, Table

schema = Schema([Table("lists", [Column.text("name"), Column.text("owner_id")])])


async def main() -> None:
    async with SyncDatabase("quickstart.db", schema=schema) as db:
        await db.execute("INSERT INTO lists (id, name) VALUES (uuid(), ?)", ["Groceries"])  # at once, also offline
        await db.connect(HttpConnector(os.environ["BACKEND_URL"], user_id=os.environ["USER_ID"]))
        await db.trigger_sync(timeout=30)
        for row in await db.get_all("SELECT name, owner_id FROM lists ORDER BY name"):
            print(f"{row['name']}: the backend says that it is {row['owner_id']}'s")


asyncio.run(main())
