"""A service with two users' rows, and a device's file that has synced with it: what commands are shown."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from pathlib import Path

from syncline.client import BackendConnector, Column, Credentials, Refusal, Schema, SyncDatabase, Table
from syncline.testing.postgres import PostgresServer, ScratchDatabase
from syncline.testing.service_process import ServiceProcess, token
from tests.support.command_line import Outcome, run_command_line

__all__ = ["ADMIN", "SCHEMA", "OnlyDown", "Stack", "make_device_file", "running_stack"]

ADMIN = "an-admin-token"
SYNC_CONFIG = """
config: {edition: 3}
streams:
  lists:
    auto_subscribe: true
    query: SELECT * FROM lists WHERE owner_id = auth.user_id() AND NOT archived
  todos:
    auto_subscribe: true
    query: SELECT * FROM todos WHERE list_id IN (SELECT id FROM lists WHERE owner_id = auth.user_id())
  by_name:
    query: SELECT * FROM lists WHERE name = subscription.parameter('name')
"""
SCHEMA = Schema(
    [
        Table("lists", [Column.text("name"), Column.text("owner_id"), Column.integer("archived")]),
        Table("todos", [Column.text("list_id"), Column.text("what")]),
    ]
)
DEADLINE_S = 60.0  # seconds, on a busy machine


class Stack:
    """The source, its service, and a device's file (closed) of the user u1."""

    def __init__(self, source: ScratchDatabase, service: ServiceProcess, folder: Path) -> None:
        self.source = source
        self.service = service
        self.device = folder / "device.db"

    def run(self, *arguments: str, **environment: str) -> Outcome:
        """The command line in the service's folder, which is the project."""
        names = {
            "PS_ADMIN_TOKEN": ADMIN,
            "API_URL": self.service.base_url,
            "SYNCLINE_TOKEN": "",
            "SYNCLINE_FILE_KEY": "",
        }
        return run_command_line(self.service.folder, *arguments, **(names | environment))


class OnlyDown(BackendConnector):
    """Credentials of u1, and a backend that is away."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint

    async def fetch_credentials(self) -> Credentials:
        return Credentials(self._endpoint, token("u1"))

    async def upload_data(self, db: SyncDatabase) -> None:
        raise ConnectionError("the backend is away")


def running_stack(server: PostgresServer, folder: Path) -> Generator[Stack]:
    """Start everything; the device has synced once."""
    database = server.create()
    database.execute("CREATE TABLE lists (id text PRIMARY KEY, name text, owner_id text, archived bool DEFAULT false)")
    database.execute("CREATE TABLE todos (id text PRIMARY KEY, list_id text, what text)")
    database.execute(
        "INSERT INTO lists VALUES ('l1', 'Food', 'u1', false), ('l2', 'Work', 'u2', false), ('l3', 'Old', 'u1', true)"
    )
    database.execute("INSERT INTO todos VALUES ('t1', 'l1', 'Milk'), ('t2', 'l1', 'Bread'), ('t3', 'l2', 'Desk')")
    database.execute("CREATE PUBLICATION powersync FOR ALL TABLES")
    service = ServiceProcess(folder / "service", dsn=database.dsn, sync_config=SYNC_CONFIG, api={"tokens": [ADMIN]})
    try:
        service.start(timeout_s=DEADLINE_S)
        stack = Stack(database, service, folder)
        asyncio.run(_sync(stack))
        yield stack
    finally:
        service.stop()
        server.drop(database)


async def _sync(stack: Stack) -> None:
    async with SyncDatabase(stack.device, schema=SCHEMA) as db:
        await db.connect(OnlyDown(stack.service.base_url))
        await db.wait_for_first_sync(timeout=DEADLINE_S)


async def _with_queue(path: Path) -> None:
    async with SyncDatabase(path, schema=SCHEMA) as db:
        await db.execute("INSERT INTO lists(id, name) VALUES ('q1', 'secret-one'), ('q2', 'two')")
        head = await db.get_next_crud_transaction()
        assert head is not None
        await head.reject(Refusal("UNIQUE_VIOLATION", "taken", status_code=409))
        await db.execute("UPDATE lists SET name = 'three' WHERE id = 'q1'")
        await db.execute("DELETE FROM lists WHERE id = 'q2'")


def make_device_file(path: Path) -> Path:
    """A file with two transactions that wait (3 and 4) and a refused one (L1); never synced."""
    asyncio.run(_with_queue(path))
    return path
