"""Todos in the terminal. Needs syncline[textual].

`python examples/textual_tui [FILE]`; a second terminal with another file is a second device.
"""

import asyncio
import os
import sys

from syncline.client import HttpConnector, SyncDatabase, UploadPolicy
from todo_app import SCHEMA, TodoApp


async def main() -> None:
    policy = UploadPolicy(backend_keeps_refusals=False)  # this app shows them, whoever else keeps them
    connector = HttpConnector(os.environ["BACKEND_URL"], user_id=os.environ["USER_ID"], policy=policy)
    async with SyncDatabase(sys.argv[1] if len(sys.argv) > 1 else "todos.db", schema=SCHEMA) as db:
        await TodoApp(db, connector).run_async()


asyncio.run(main())
