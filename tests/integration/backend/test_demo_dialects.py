"""What connectors of the field's demos send, over HTTP into a real Postgres: nothing that is refused blocks them, and nothing is lost."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Generator
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest

from syncline.backend import TablePolicy, via
from syncline.testing.postgres import PostgresServer, ScratchDatabase
from syncline.testing.service_process import token
from tests.support.backend_server import running_backend

SQL = """
CREATE TABLE lists (id uuid PRIMARY KEY, name text NOT NULL, created_at timestamptz NOT NULL DEFAULT now(), owner_id text NOT NULL);
CREATE TABLE todos (id uuid PRIMARY KEY, list_id uuid NOT NULL, description text NOT NULL, completed boolean NOT NULL DEFAULT false);
"""
TABLES = {"lists": TablePolicy(owner="owner_id"), "todos": TablePolicy(owner=via("lists", "list_id"))}


class DemoApp:
    """One user's app, whose requests carry its token."""

    def __init__(self, session: aiohttp.ClientSession, url: str, source: ScratchDatabase) -> None:
        self.user = f"user-{uuid.uuid4().hex[:8]}"
        self.source = source
        self._session = session
        self._url = url
        self._headers = {"authorization": f"Bearer {token(self.user)}"}

    async def ask(self, method: str, path: str, value: object = None) -> tuple[int, Any]:
        """Status and body of an answer."""
        async with self._session.request(method, self._url + path, json=value, headers=self._headers) as answer:
            return answer.status, await answer.json()

    async def send(self, *batch: dict[str, Any]) -> tuple[int, Any]:
        """One batch."""
        return await self.ask("POST", "/api/data", {"batch": batch})

    async def dead_letters(self) -> list[tuple[str, list[str]]]:
        """Code and row ids of each letter that the backend keeps of this user, the newest last."""
        _, page = await self.ask("GET", "/api/dead-letters")
        return [(each["code"], [entry["id"] for entry in each["transaction"]["crud"]]) for each in page["letters"]]

    def names(self) -> list[str]:
        rows = self.source.execute("SELECT name FROM lists WHERE owner_id = %s ORDER BY name", (self.user,))
        return [name for [name] in rows]


@pytest.fixture(scope="module")
def source(postgres_server: PostgresServer) -> Generator[ScratchDatabase]:
    database = postgres_server.create()
    database.execute(SQL)
    yield database
    postgres_server.drop(database)


@pytest.fixture(scope="module")
def backend_url(source: ScratchDatabase) -> Generator[str]:
    with running_backend(source.dsn, service_url="http://127.0.0.1:1", tables=TABLES) as url:
        yield url


@pytest.fixture
async def app(source: ScratchDatabase, backend_url: str) -> AsyncGenerator[DemoApp]:
    async with aiohttp.ClientSession() as session:
        yield DemoApp(session, backend_url, source)


def put(table: str, **data: Any) -> dict[str, Any]:
    return {"op": "PUT", "table": table, "id": str(uuid.uuid4()), "data": data}


async def test_a_batch_is_one_transaction_with_the_types_of_its_columns(app: DemoApp) -> None:
    shopping = put("lists", name="Groceries", created_at="2026-01-02 03:04:05Z", owner_id="whoever")
    milk = put("todos", list_id=shopping["id"], description="milk", completed=1)
    done = {"op": "PATCH", "table": "todos", "id": milk["id"], "data": {"completed": 0}}
    assert await app.send(shopping, milk, done) == (200, {"success": True})
    assert app.source.execute("SELECT name, created_at, owner_id FROM lists WHERE id = %s", (shopping["id"],)) == [
        ("Groceries", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), app.user)
    ]
    assert app.source.execute("SELECT description, completed FROM todos WHERE id = %s", (milk["id"],)) == [
        ("milk", False)
    ]
    assert await app.send({"op": "DELETE", "table": "todos", "id": milk["id"], "data": None}) == (
        200,
        {"success": True},
    )
    assert app.source.execute("SELECT FROM todos WHERE id = %s", (milk["id"],)) == []


@pytest.mark.requirement(153)
async def test_a_refused_batch_is_a_dead_letter_of_the_backend_and_a_200(app: DemoApp) -> None:
    """Their connectors throw at anything else, and send the same batch for ever."""
    good, bad = put("lists", name="half"), put("lists", name=None)
    status, told = await app.send(good, bad)
    assert (status, told["success"], told["error_code"]) == (200, False, "NOT_NULL_VIOLATION")
    assert told["rejected"][0]["operation_index"] == 1
    assert app.names() == []
    assert await app.dead_letters() == [("NOT_NULL_VIOLATION", [good["id"], bad["id"]])]


async def test_a_row_of_somebody_else_stays_as_it_is(app: DemoApp) -> None:
    key = str(uuid.uuid4())
    app.source.execute("INSERT INTO lists (id, name, owner_id) VALUES (%s, 'theirs', 'zoe')", (key,))
    for operation in ("PATCH", "DELETE"):
        assert (await app.send({"op": operation, "table": "lists", "id": key, "data": {"name": "mine"}}))[0] == 200
    status, told = await app.send({"op": "PUT", "table": "lists", "id": key, "data": {"name": "mine"}})
    assert (status, told["error_code"]) == (200, "UNAUTHORIZED")
    assert app.source.execute("SELECT name, owner_id FROM lists WHERE id = %s", (key,)) == [("theirs", "zoe")]


@pytest.mark.parametrize("path", ["/api/data", "/api/upload_data/"])
async def test_single_rows_are_written_changed_and_deleted_and_a_missing_one_is_no_error(
    app: DemoApp, path: str
) -> None:
    key = str(uuid.uuid4())

    async def send(method: str, **data: Any) -> tuple[int, Any]:
        return await app.ask(method, path, {"table": "lists", "data": {"id": key, **data}})

    assert await send("PATCH", name="not there yet") == (200, {"success": True})
    assert await send("PUT", name="one") == (200, {"success": True})
    assert await send("PATCH", name="changed") == (200, {"success": True})
    assert app.names() == ["changed"]
    assert (await send("PATCH", name=None))[1]["error_code"] == "NOT_NULL_VIOLATION"
    assert await send("DELETE") == (200, {"success": True})
    assert await send("DELETE") == (200, {"success": True})
    assert app.names() == []


async def test_a_repeated_batch_changes_nothing_and_one_with_ids_is_recognised(app: DemoApp) -> None:
    entry = put("lists", name="once")
    for _ in range(2):
        assert await app.send(entry) == (200, {"success": True})
    assert app.names() == ["once"]
    known = {"client_id": "phone", "batch": [put("lists", name="known") | {"client_op_id": 7}]}
    for _ in range(2):
        assert await app.ask("POST", "/api/data", known) == (200, {"success": True})
    other = {"client_id": "phone", "batch": [put("lists", name="another") | {"client_op_id": 7}]}
    status, told = await app.ask("POST", "/api/data", other)
    assert (status, told["error_code"]) == (503, "CLIENT_FORKED")
    assert app.names() == ["known", "once"]
