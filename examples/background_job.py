"""A job for cron or a phone's background slot: sync, work, sync, end. Needs nothing but syncline.

It has no user who signs in: POWERSYNC_URL, POWERSYNC_TOKEN and BACKEND_URL tell where and as whom.
"""

import asyncio
import sys

from syncline.client import SyncDatabase, get_connector
from syncline.errors import SynclineError
from todo_schema import SCHEMA


async def remove_done(db: SyncDatabase) -> int:
    """Delete what is ticked off; returns how many todos that were."""
    async with db.write_transaction() as tx:
        [count] = await tx.get("SELECT count(*) FROM todos WHERE done")
        await tx.execute("DELETE FROM todos WHERE done")
    return count


async def main() -> None:
    async with SyncDatabase("job.db", schema=SCHEMA) as db:
        try:
            await db.sync_once(get_connector(), timeout=30)
            print("Removed:", await remove_done(db))
            status = await db.sync_once(get_connector(), timeout=30)
            print("Waiting for upload:", status.pending_changes)
        except (SynclineError, TimeoutError) as exc:
            sys.exit(f"Not now: {exc!r}")  # nothing is lost; the next run goes on


if __name__ == "__main__":
    asyncio.run(main())
