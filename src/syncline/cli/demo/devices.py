"""A device of the demo: one local database, one user, online or off."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from syncline.cli.demo.model import CONFLICTS_TABLE, NAMES, SCHEMA
from syncline.client import HttpConnector, SyncDatabase
from syncline.client.rejections import REJECTIONS_TABLE

__all__ = ["Device"]

RETRY_DELAY_S = 0.5  # seconds: a demo should not keep people waiting
UPLOAD_THROTTLE_S = 0.01


class Device:
    """`name` is for the narration ("Alice's phone"), `key` for the web page. The file stays when the device goes offline."""

    def __init__(self, name: str, user_id: str, file: Path, backend_url: str) -> None:
        self.name = name
        self.key = file.stem
        self.user_id = user_id
        self.db = SyncDatabase(file, schema=SCHEMA)
        self.online = False
        self._backend_url = backend_url

    @property
    def user_name(self) -> str:
        """The user's first name."""
        return NAMES[self.user_id]

    async def go_online(self) -> None:
        """Connect, and return at once: the rows come by themselves."""
        connector = HttpConnector(self._backend_url, user_id=self.user_id)
        self.online = True
        await self.db.connect(connector, retry_delay_s=RETRY_DELAY_S, upload_throttle_s=UPLOAD_THROTTLE_S)

    async def go_offline(self) -> None:
        """Cut the connection; reads and writes go on."""
        self.online = False
        await self.db.disconnect()

    async def forget_everything(self) -> None:
        """Go offline and become empty; what waits in the queue is given up."""
        self.online = False
        await self.db.disconnect_and_clear(discard_pending=True)

    async def add_list(self, name: str) -> str:
        """A new list. The device does not name the owner: the backend takes it from the token."""
        list_id = str(uuid.uuid4())
        await self.db.execute("INSERT INTO lists (id, name) VALUES (?, ?)", [list_id, name])
        return list_id

    async def add_todo(self, list_id: str, description: str) -> str:
        """A new todo."""
        todo_id = str(uuid.uuid4())
        await self.db.execute(
            "INSERT INTO todos (id, list_id, description, completed) VALUES (?, ?, ?, 0)",
            [todo_id, list_id, description],
        )
        return todo_id

    async def describe_todo(self, todo_id: str, description: str) -> None:
        """Write another text into a todo."""
        await self.db.execute("UPDATE todos SET description = ? WHERE id = ?", [description, todo_id])

    async def complete_todo(self, todo_id: str, *, completed: bool) -> None:
        """Tick a todo off, or not."""
        await self.db.execute("UPDATE todos SET completed = ? WHERE id = ?", [int(completed), todo_id])

    async def delete_todo(self, todo_id: str) -> None:
        """Delete a todo."""
        await self.db.execute("DELETE FROM todos WHERE id = ?", [todo_id])

    async def delete_list(self, list_id: str) -> None:
        """Delete a list with its todos: one local transaction, and one in Postgres."""
        async with self.db.write_transaction() as tx:
            await tx.execute("DELETE FROM todos WHERE list_id = ?", [list_id])
            await tx.execute("DELETE FROM lists WHERE id = ?", [list_id])

    async def dismiss_rejection(self, rejection_id: str) -> None:
        """Say that the user has seen it: a local write like any other, which reaches the user's other devices."""
        await self.db.execute(f"UPDATE {REJECTIONS_TABLE} SET resolved = 1 WHERE id = ?", [rejection_id])  # noqa: S608 - our own names

    async def settle_conflict(self, conflict_id: str, *, description: str | None) -> None:
        """Settle a conflict: with a text, the todo gets it; with None it stays as it is. Both in one transaction."""
        async with self.db.write_transaction() as tx:
            if description is not None:
                await tx.execute(
                    f"UPDATE todos SET description = ? WHERE id = (SELECT row_id FROM {CONFLICTS_TABLE} WHERE id = ?)",  # noqa: S608 - our own names
                    [description, conflict_id],
                )
            await tx.execute(f"UPDATE {CONFLICTS_TABLE} SET resolved = 1 WHERE id = ?", [conflict_id])  # noqa: S608 - our own names

    async def rows(self, sql: str) -> list[dict[str, Any]]:
        """Rows of a query on the device."""
        return [row.as_dict() for row in await self.db.get_all(sql)]

    async def list_names(self) -> list[str]:
        """Names of all lists on this device."""
        return [row["name"] for row in await self.db.get_all("SELECT name FROM lists ORDER BY name")]

    async def queue_length(self) -> int:
        """Writes that the backend has not confirmed yet."""
        return (await self.db.get_upload_queue_stats()).count
