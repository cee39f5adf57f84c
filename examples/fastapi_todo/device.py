"""A device: signs in, adds a todo where one is named, syncs, and prints what there is. Needs nothing but syncline.

`python examples/fastapi_todo/device.py NAME PASSWORD [TODO]`
"""

import asyncio
import json
import os
import sys
import urllib.error
import urllib.request

from schema import SCHEMA
from syncline.client import HttpConnector, SyncDatabase, new_id

URL = os.environ.get("BACKEND_URL", "http://127.0.0.1:8000")


def sign_in(name: str, password: str) -> str:
    """What a login form does: a token of the app's own login."""
    body = json.dumps({"name": name, "password": password}).encode()
    asked = urllib.request.Request(f"{URL}/login", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return json.load(answer)["token"]
    except urllib.error.HTTPError as exc:
        sys.exit(f"Not signed in: {json.load(exc)['detail']}")


async def add(db: SyncDatabase, title: str) -> None:
    """Into the first list; it is made where there is none."""
    async with db.write_transaction() as tx:
        todo_list = await tx.get_optional("SELECT id FROM lists ORDER BY name LIMIT 1")
        list_id = new_id() if todo_list is None else todo_list["id"]
        if todo_list is None:
            await tx.execute("INSERT INTO lists (id, name) VALUES (?, 'Inbox')", [list_id])
        await tx.execute("INSERT INTO todos (id, list_id, title, done) VALUES (uuid(), ?, ?, 0)", [list_id, title])


async def main(name: str, password: str, *titles: str) -> None:
    connector = HttpConnector(URL)
    await connector.login(sign_in(name, password))  # goes along when the connector asks for a token of the sync service
    async with SyncDatabase(f"{name}.db", schema=SCHEMA) as db:
        await db.sync_once(connector, timeout=30)
        for title in titles:
            await add(db, title)
        await db.sync_once(connector, timeout=30)
        for row in await db.get_all(
            "SELECT name, title FROM todos JOIN lists ON lists.id = list_id ORDER BY name, title"
        ):
            print(f"{row['name']}: {row['title']}")


asyncio.run(main(*sys.argv[1:]))
