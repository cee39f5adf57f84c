"""The official Node client, unchanged, against `syncline start` and our backend, over each of its transports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest

from syncline.backend import TablePolicy
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.service_process import ServiceProcess, token
from syncline.testing.waiting import eventually
from tests.interop.node_client import NodeClient
from tests.support.backend_server import running_backend

SOURCE_SQL = """
CREATE TABLE lists (id uuid PRIMARY KEY, name text NOT NULL, owner_id text NOT NULL);
CREATE TABLE todos (id uuid PRIMARY KEY, description text NOT NULL, done boolean NOT NULL DEFAULT false, list_id uuid NOT NULL);
CREATE PUBLICATION powersync FOR ALL TABLES;
INSERT INTO lists VALUES
  ('11111111-0000-4000-8000-000000000001', 'Groceries', 'u1'),
  ('22222222-0000-4000-8000-000000000002', 'Not theirs', 'u2');
INSERT INTO todos VALUES
  ('aaaaaaaa-0000-4000-8000-000000000001', 'unicode: é 漢 😀 "quote"', true, '11111111-0000-4000-8000-000000000001');
"""
SYNC_CONFIG = """
config: {edition: 3}
streams:
  lists:
    auto_subscribe: true
    priority: 1
    query: SELECT * FROM lists WHERE owner_id = auth.user_id()
  todos:
    query: >-
      SELECT * FROM todos WHERE list_id = subscription.parameter('list')
      AND list_id IN (SELECT id FROM lists WHERE owner_id = auth.user_id())
"""
TABLES = {
    "lists": {"name": "text", "owner_id": "text"},
    "todos": {"description": "text", "done": "integer", "list_id": "text"},
}
GROCERIES = "11111111-0000-4000-8000-000000000001"


@pytest.fixture
def source(postgres_database: ScratchDatabase) -> ScratchDatabase:
    postgres_database.execute(SOURCE_SQL)
    return postgres_database


@pytest.fixture
def service(source: ScratchDatabase, tmp_path: Path) -> Generator[ServiceProcess]:
    with ServiceProcess(tmp_path / "service", dsn=source.dsn, sync_config=SYNC_CONFIG) as process:
        yield process


@pytest.fixture
def backend(source: ScratchDatabase, service: ServiceProcess) -> Generator[str]:
    tables = {"lists": TablePolicy(owner="owner_id"), "todos": TablePolicy(owner=None)}
    with running_backend(source.dsn, service_url=service.base_url, tables=tables) as url:
        yield url


@pytest.fixture(params=["http", "websocket"])
def transport(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
async def client(service: ServiceProcess, backend: str, tmp_path: Path, transport: str) -> AsyncGenerator[NodeClient]:
    async with NodeClient() as node:
        await node.ask("open", folder=str(tmp_path), file="official.db", tables=TABLES)
        await node.ask("connect", endpoint=service.base_url, token=token("u1"), backend=backend, transport=transport)
        await node.ask("firstSync")
        yield node
        await node.ask("close")


@pytest.mark.requirement(187)
async def test_the_first_sync_holds_exactly_the_user_s_rows(client: NodeClient) -> None:
    assert await client.ask("all", sql="SELECT name, owner_id FROM lists") == [{"name": "Groceries", "owner_id": "u1"}]
    assert await client.ask("all", sql="SELECT count(*) AS n FROM todos") == [{"n": 0}]


@pytest.mark.requirement(187)
async def test_the_device_holds_the_rows_of_the_source_by_the_transport_that_was_asked_for(
    client: NodeClient, source: ScratchDatabase, service: ServiceProcess, transport: str
) -> None:
    source.execute(
        "INSERT INTO lists SELECT gen_random_uuid(), 'list ' || i, 'u1' FROM generate_series(1, 3000) i;"
        "UPDATE lists SET name = name || ' changed' WHERE name LIKE '%7' AND owner_id = 'u1'"
    )
    await client.ask("execute", sql="INSERT INTO lists (id, name) VALUES (uuid(), 'From the device')")
    counted = "SELECT count(*) AS n, sum(name LIKE '%changed') AS changed, sum(owner_id = 'u1') AS mine FROM lists"
    await client.until(counted, [{"n": 3002, "changed": 300, "mine": 3002}], timeout_s=30)
    ours = await client.ask("all", sql="SELECT id, name, owner_id FROM lists ORDER BY id")
    rows = source.execute(
        "SELECT id::text, name, owner_id FROM lists WHERE owner_id = 'u1' ORDER BY id::text COLLATE \"C\""
    )
    assert [(row["id"], row["name"], row["owner_id"]) for row in ours] == rows
    assert ("transport=websocket" in service.log) == (transport == "websocket")


async def test_a_change_in_postgres_reaches_the_open_client(client: NodeClient, source: ScratchDatabase) -> None:
    source.execute("UPDATE lists SET name = 'Food' WHERE owner_id = 'u1'")
    await client.until("SELECT name FROM lists", [{"name": "Food"}])
    source.execute("DELETE FROM lists WHERE owner_id = 'u1'")
    await client.until("SELECT name FROM lists", [])


async def test_a_local_write_is_uploaded_and_confirmed_by_the_write_checkpoint(
    client: NodeClient, source: ScratchDatabase
) -> None:
    await client.ask("execute", sql="INSERT INTO lists (id, name) VALUES (uuid(), 'From the device')")
    # The owner is set by the backend. It comes back only once the write checkpoint has opened the client's gate.
    await client.until(
        "SELECT name, owner_id FROM lists ORDER BY name",
        [{"name": "From the device", "owner_id": "u1"}, {"name": "Groceries", "owner_id": "u1"}],
    )
    assert await client.ask("queue") == 0
    assert await client.ask("uploads") == ["success"]
    assert source.execute("SELECT name, owner_id FROM lists WHERE name LIKE 'From%'") == [("From the device", "u1")]


async def test_a_subscription_with_parameters_brings_its_rows(client: NodeClient, source: ScratchDatabase) -> None:
    await client.ask("subscribe", stream="todos", parameters={"list": GROCERIES})
    query = "SELECT description, done FROM todos ORDER BY description"
    await client.until(query, [{"description": 'unicode: é 漢 😀 "quote"', "done": 1}])
    source.execute(f"INSERT INTO todos (id, description, list_id) VALUES (gen_random_uuid(), 'later', '{GROCERIES}')")
    await client.until(
        query, [{"description": "later", "done": 0}, {"description": 'unicode: é 漢 😀 "quote"', "done": 1}]
    )


async def test_the_client_goes_on_after_the_service_was_killed(
    client: NodeClient, service: ServiceProcess, source: ScratchDatabase
) -> None:
    service.kill()

    async def is_cut() -> bool:
        return not (await client.ask("status"))["connected"]

    await eventually(is_cut)
    source.execute("INSERT INTO lists VALUES (gen_random_uuid(), 'While it was away', 'u1')")
    await asyncio.to_thread(service.start)
    await client.until("SELECT name FROM lists ORDER BY name", [{"name": "Groceries"}, {"name": "While it was away"}])
    status = await client.ask("status")
    assert status["connected"]


async def test_a_write_for_another_user_s_row_changes_nothing(client: NodeClient, source: ScratchDatabase) -> None:
    foreign = "22222222-0000-4000-8000-000000000002"
    await client.ask("execute", sql=f"INSERT INTO lists (id, name, owner_id) VALUES ('{foreign}', 'taken over', 'u1')")

    async def is_settled() -> bool:
        return await client.ask("queue") == 0

    await eventually(is_settled)
    assert await client.ask("uploads") == ["fatal_error"]
    assert source.execute(f"SELECT name, owner_id FROM lists WHERE id = '{foreign}'") == [("Not theirs", "u2")]
    await client.until("SELECT name FROM lists", [{"name": "Groceries"}])
