"""Two processes on one file: one syncs, both read and write, and the other takes over. Needs nothing but syncline."""

import asyncio
import os
import sys

from syncline.client import HttpConnector, Role, SyncDatabase
from todo_schema import SCHEMA

NAMES = "SELECT name FROM lists ORDER BY name"


async def first(db: SyncDatabase) -> None:
    await db.wait_for_status(lambda status: status.role is Role.OWNER, timeout=30)
    other = await asyncio.create_subprocess_exec(sys.executable, __file__, "second")
    async for names in db.watch(NAMES, row_type=str):  # sees what the other process writes
        if f"by {other.pid}" in names:
            print("The first process syncs, and sees the row of the other", flush=True)
            break
    await db.disconnect()
    await other.wait()


async def second(db: SyncDatabase) -> None:
    await db.wait_for_status(lambda status: status.role is Role.PEER, timeout=30)
    await db.execute("INSERT INTO lists (id, name) VALUES (uuid(), ?)", [f"by {os.getpid()}"])
    await db.wait_for_status(lambda status: status.role is Role.OWNER, timeout=30)
    await db.trigger_sync(timeout=30)
    print("The second process has taken over; writes that wait:", (await db.get_upload_queue_stats()).count)


async def main() -> None:
    async with SyncDatabase("shared.db", schema=SCHEMA) as db:
        await db.connect(HttpConnector(os.environ["BACKEND_URL"], user_id=os.environ["USER_ID"]))
        await (second(db) if "second" in sys.argv else first(db))


asyncio.run(main())
