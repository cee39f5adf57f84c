"""A device of the demo: one local database, one user, online or off."""

from __future__ import annotations

import uuid
from pathlib import Path

from syncline.cli.demo.model import NAMES, SCHEMA
from syncline.client import HttpConnector, SyncDatabase

__all__ = ["Device"]

RETRY_DELAY_S = 0.5  # seconds: a demo should not keep people waiting
UPLOAD_THROTTLE_S = 0.01


class Device:
    """`name` is for the narration: "Alice's phone". The file stays when the device goes offline."""

    def __init__(self, name: str, user_id: str, file: Path, backend_url: str) -> None:
        self.name = name
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
        await self.db.connect(connector, retry_delay_s=RETRY_DELAY_S, upload_throttle_s=UPLOAD_THROTTLE_S)
        self.online = True

    async def go_offline(self) -> None:
        """Cut the connection; reads and writes go on."""
        await self.db.disconnect()
        self.online = False

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

    async def list_names(self) -> list[str]:
        """Names of all lists on this device."""
        return [row["name"] for row in await self.db.get_all("SELECT name FROM lists ORDER BY name")]

    async def queue_length(self) -> int:
        """Writes that the backend has not confirmed yet."""
        return (await self.db.get_upload_queue_stats()).count
