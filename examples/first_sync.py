"""A large first sync: what is urgent comes first and can be shown while the rest is on its way. Needs nothing but syncline."""

import asyncio
import os

from syncline.client import HttpConnector, SyncDatabase, SyncStatus
from todo_schema import SCHEMA

told = [""]


def show_progress(status: SyncStatus) -> None:
    text = f"{status.progress.fraction:.0%} of {status.progress.total} rows have come" if status.progress else ""
    if text not in told[-1:]:
        told.append(text)
        print(text)


async def main() -> None:
    async with SyncDatabase("first.db", schema=SCHEMA) as db:
        db.register_listener(show_progress)
        await db.connect(HttpConnector(os.environ["BACKEND_URL"], user_id=os.environ["USER_ID"]))
        await db.wait_for_first_sync(priority=1, timeout=30)  # the lists, as sync-config.yaml has it
        lists = await db.fetch(str, "SELECT name FROM lists")
        print(f"Lists {lists} are here; all is here: {db.current_status.has_synced}")
        await db.wait_for_first_sync(timeout=60)
        [count] = await db.fetch(int, "SELECT count(*) FROM history")
        print(f"{count} rows of history are here; all is here: {db.current_status.has_synced}")


asyncio.run(main())
