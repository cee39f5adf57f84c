"""Rows as dataclasses: SQLite has text and numbers only, the annotations say what they stand for. Needs nothing but syncline."""

import asyncio
import os
from dataclasses import dataclass
from datetime import UTC, datetime

from syncline.client import HttpConnector, SyncDatabase, new_id
from todo_schema import SCHEMA


@dataclass
class Todo:
    id: str
    title: str
    done: bool
    due: datetime | None = None


async def main() -> None:
    async with SyncDatabase("typed.db", schema=SCHEMA) as db:
        todos = [
            Todo(new_id(), "Buy milk", False, datetime(2030, 1, 31, 18, 0, tzinfo=UTC)),
            Todo(new_id(), "Rest", True),
        ]
        for todo in todos:
            await db.execute("INSERT INTO todos (id, title, done, due) VALUES (:id, :title, :done, :due)", vars(todo))
        await db.connect(HttpConnector(os.environ["BACKEND_URL"], user_id=os.environ["USER_ID"]))
        await db.trigger_sync(timeout=30)
        for todo in await db.fetch(Todo, "SELECT * FROM todos ORDER BY title"):
            print(todo.title, "is done" if todo.done else "is open", f"until {todo.due:%d %B %Y}" if todo.due else "")
        [count] = await db.fetch(int, "SELECT count(*) FROM todos WHERE done = :done", done=True)
        print(count, "done")


asyncio.run(main())
