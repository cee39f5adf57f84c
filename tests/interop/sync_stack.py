"""Postgres, `syncline start` and a backend, for the scenarios that official SDKs play; every scenario has users of its own."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from syncline.backend import MutatorCall, Mutators, TablePolicy
from syncline.testing.postgres import PostgresServer, ScratchDatabase
from syncline.testing.service_process import ServiceProcess
from tests.support.backend_server import running_backend

__all__ = ["ITEM_COUNTS", "TABLES", "SyncStack", "running_stack"]

ITEM_COUNTS = {"many": 20_000, "some": 4_000}  # rows of `items` by their owner
START_TIMEOUT_S = 90.0  # seconds for the service, the copy of the source included, on a busy machine
SOURCE_SQL = """
CREATE TABLE lists (id uuid PRIMARY KEY, name text NOT NULL, owner_id text NOT NULL);
CREATE TABLE todos (id uuid PRIMARY KEY, description text NOT NULL, list_id uuid NOT NULL);
CREATE TABLE notes (id uuid PRIMARY KEY, text text NOT NULL, channel text NOT NULL, tag text NOT NULL);
CREATE TABLE items (
  id uuid PRIMARY KEY, owner_id text NOT NULL, label text, amount bigint NOT NULL, price numeric NOT NULL, weight float8 NOT NULL,
  is_open boolean NOT NULL, made_at timestamptz NOT NULL, details jsonb
);
CREATE PUBLICATION powersync FOR ALL TABLES;
"""
ITEMS_SOURCE_SQL = r"""
INSERT INTO lists SELECT gen_random_uuid(), 'list ' || i, '{owner}' FROM generate_series(1, 3) i;
INSERT INTO items SELECT
  gen_random_uuid(), '{owner}', CASE WHEN i % 7 > 0 THEN 'é 漢 😀 "' || i || E'" \\ \n' END, i * 400000000001, i / 8.0, i / 7.0, i % 2 = 0,
  timestamptz '2026-01-01 00:00:00Z' + i * interval '1 minute 1 microsecond',
  CASE WHEN i % 3 > 0 THEN jsonb_build_object('n', i, 'tags', jsonb_build_array('a', NULL, i::text)) END
FROM generate_series(1, {count}) i;
"""
# The same rows as the device shall hold them (docs/reference/protocol.md: values by type).
ITEMS_SQL = """
SELECT id::text, owner_id, label, amount, price::text, weight, is_open::int,
  to_char(made_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), details::text
FROM items WHERE owner_id = %s ORDER BY id::text COLLATE "C"
"""
SYNC_CONFIG = """
config: {edition: 3}
streams:
  lists:
    auto_subscribe: true
    priority: 1
    query: SELECT * FROM lists WHERE owner_id = auth.user_id()
  items:
    auto_subscribe: true
    priority: 3
    query: SELECT * FROM items WHERE owner_id = auth.user_id()
  notes:
    auto_subscribe: true
    query: SELECT * FROM notes WHERE channel = auth.parameter('channel') AND tag = connection.parameter('tag')
  todos:
    query: >-
      SELECT * FROM todos WHERE list_id = subscription.parameter('list')
      AND list_id IN (SELECT id FROM lists WHERE owner_id = auth.user_id())
"""
TABLES = {
    "syncline_mutations": {"name": "text", "args": "text"},
    "lists": {"name": "text", "owner_id": "text"},
    "todos": {"description": "text", "list_id": "text"},
    "notes": {"text": "text", "channel": "text", "tag": "text"},
    "items": {
        "owner_id": "text",
        "label": "text",
        "amount": "integer",
        "price": "text",
        "weight": "real",
        "is_open": "integer",
        "made_at": "text",
        "details": "text",
    },
}


@dataclass(frozen=True, slots=True)
class SyncStack:
    """What stands behind the devices."""

    source: ScratchDatabase
    service: ServiceProcess
    backend_url: str

    def add_list(self, owner: str, name: str) -> str:
        """A row of the user; its id."""
        key = str(uuid.uuid4())
        self.source.execute("INSERT INTO lists VALUES (%s, %s, %s)", (key, name, owner))
        return key

    def add_todo(self, list_id: str, description: str) -> None:
        """A row below a list."""
        self.source.execute("INSERT INTO todos VALUES (gen_random_uuid(), %s, %s)", (description, list_id))

    def items_of(self, owner: str) -> list[tuple[Any, ...]]:
        """The user's items in Postgres, as a device shall hold them: values of the rows of `ITEMS`, by id."""
        return self.source.execute(ITEMS_SQL, (owner,))

    def lists_of(self, owner: str) -> list[dict[str, Any]]:
        """The user's rows in Postgres, in the order and form of `SELECT id, name, owner_id FROM lists ORDER BY id` on the device."""
        rows = self.source.execute(
            'SELECT id::text, name, owner_id FROM lists WHERE owner_id = %s ORDER BY id::text COLLATE "C"', (owner,)
        )
        return [{"id": key, "name": name, "owner_id": owner_id} for key, name, owner_id in rows]


def _mutators() -> Mutators:
    mutators = Mutators()

    @mutators.register("sign_list")
    async def sign_list(call: MutatorCall, args: dict[str, Any]) -> None:
        """Adds a sign to a name: a second run would show."""
        await call.connection.execute(
            "UPDATE lists SET name = name || %s WHERE id = %s AND owner_id = %s",
            (args["sign"], args["id"], call.user_id),
        )

    return mutators


@contextlib.contextmanager
def running_stack(server: PostgresServer, folder: Path) -> Generator[SyncStack]:
    """Start all of it in `folder`."""
    source = server.create()
    try:
        source.execute(SOURCE_SQL)
        for owner, count in ITEM_COUNTS.items():
            source.execute(ITEMS_SOURCE_SQL.format(owner=owner, count=count))
        service = ServiceProcess(folder / "service", dsn=source.dsn, sync_config=SYNC_CONFIG)
        service.start(timeout_s=START_TIMEOUT_S)
        try:
            tables = {"lists": TablePolicy(owner="owner_id"), "todos": TablePolicy(owner=None)}
            with running_backend(
                source.dsn, service_url=service.base_url, tables=tables, mutators=_mutators()
            ) as backend_url:
                yield SyncStack(source, service, backend_url)
        finally:
            service.stop()
    finally:
        server.drop(source)
