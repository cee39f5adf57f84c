"""A device as a process of its own, for tests that kill it: `python -m tests.support.device '<json>'`.

Options: file, backend, user_id, tables (name -> text columns), statements (run once connected). It prints "written" when the statements
are done and "queue empty" when nothing waits for upload any more, then stays until it is killed.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from syncline.client import Column, HttpConnector, Schema, SyncDatabase, Table
from syncline.testing.waiting import eventually


async def run(options: dict[str, Any]) -> None:
    tables = [Table(name, [Column.text(column) for column in columns]) for name, columns in options["tables"].items()]
    async with SyncDatabase(options["file"], schema=Schema(tables)) as db:
        for statement in options["statements"]:
            await db.execute(statement)
        print("written", flush=True)
        connector = HttpConnector(options["backend"], user_id=options["user_id"])
        await db.connect(connector, retry_delay_s=0.2, upload_throttle_s=0.01)

        async def is_empty() -> bool:
            return (await db.get_upload_queue_stats()).count == 0

        await eventually(is_empty, timeout_s=60)
        print("queue empty", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(run(json.loads(sys.argv[1])))
