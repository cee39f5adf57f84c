"""A process that works on a file which another process may sync; it reads commands and answers with JSON lines."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from syncline.client import Column, HttpConnector, Schema, SyncDatabase, Table

WAIT_S = 30.0
SCHEMA = Schema([Table("lists", [Column.text("name")])])


def say(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


class Worker:
    """One database, and what it is asked to do: `["name", argument…]` calls the method of this name."""

    def __init__(self, db: SyncDatabase, url: str) -> None:
        self.db = db
        self.url = url
        self.watching: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        await self.db.connect(HttpConnector(self.url), retry_delay_s=0.05)
        say(role=self.db.current_status.role)

    async def disconnect(self) -> None:
        await self.db.disconnect()
        say(role=self.db.current_status.role)

    async def role(self, wanted: str) -> None:
        say(role=(await self.db.wait_for_status(lambda status: status.role == wanted, WAIT_S)).role)

    async def connected(self, wanted: bool) -> None:
        say(connected=(await self.db.wait_for_status(lambda status: status.connected is wanted, WAIT_S)).connected)

    async def blocked(self, reason: str | None) -> None:
        status = await self.db.wait_for_status(lambda status: status.blocked_by == reason, WAIT_S)
        say(blocked=status.blocked_by, state=status.state)

    async def failed(self) -> None:
        status = await self.db.wait_for_status(lambda status: status.error is not None, WAIT_S)
        say(error=str(status.error), state=status.state)

    async def synced(self) -> None:
        await self.db.wait_for_first_sync(timeout=WAIT_S)
        say(synced=True)

    async def enable(self, enabled: bool) -> None:
        await self.db.set_sync_enabled(enabled)
        say(enabled=enabled)

    async def write(self, name: str) -> None:
        await self.db.execute("INSERT INTO lists(id, name) VALUES (uuid(), ?)", [name])
        say(wrote=name)

    async def subscribe(self, name: str) -> None:
        await self.db.sync_stream(name).subscribe()
        say(subscribed=name)

    async def version(self, at_least: int) -> None:
        async for version in self.db.version_changes():
            if version >= at_least:
                say(version=version)
                return

    async def watch(self) -> None:
        self.watching = asyncio.create_task(self._show())

    async def _show(self) -> None:
        async for rows in self.db.watch("SELECT name FROM lists ORDER BY name", throttle_s=0, distinct=True):
            say(watched=[row["name"] for row in rows])


async def main(path: str, url: str) -> None:
    loop = asyncio.get_running_loop()
    async with SyncDatabase(path, schema=SCHEMA) as db:
        worker = Worker(db, url)
        say(ready=True)
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            name, *arguments = json.loads(line)
            await getattr(worker, name)(*arguments)
        if worker.watching is not None:
            worker.watching.cancel()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
