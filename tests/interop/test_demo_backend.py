"""`@powersync/node` against examples/demo_backend, started as its README says, with the requests of the field's todo demos."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import psycopg
import pytest
import pytest_asyncio
from fastapi import FastAPI

from syncline.embedded.ports import free_port
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.waiting import eventually, eventually_sync
from tests.interop.node_sdk import NodeSdk
from tests.interop.sdk_device import WAIT_S
from tests.unit.backend.asgi import ask

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(240)]

EXAMPLE = Path(__file__).parents[2] / "examples/demo_backend"
START_S = 90.0  # seconds until the server must be ready, on a machine with much else to do
OWNER = "a11ce000-0000-4000-8000-000000000001"  # of the list that is there at first
TABLES = {
    "lists": {"created_at": "text", "name": "text", "owner_id": "text"},
    "todos": {
        "list_id": "text",
        "created_at": "text",
        "completed_at": "text",
        "description": "text",
        "created_by": "text",
        "completed_by": "text",
        "completed": "integer",
    },
}


@dataclass(frozen=True)
class Demo:
    """The running example."""

    url: str
    dsn: str

    def rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(query.encode(), parameters).fetchall()

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, Any]]:
        request = urllib.request.Request(f"{self.url}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as exc:
            return exc.code, json.load(exc)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Generator[Demo]:
    told = tmp_path_factory.mktemp("demo") / "server.out"
    port = free_port()
    with told.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, str(EXAMPLE), str(port)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        )
    try:

        def dsn() -> str:
            assert process.poll() is None, told.read_text()
            found = re.search(r"# Postgres: (\S+)\n# Backend: .*\n# Sync service", told.read_text())
            return found[1] if found else ""

        running = Demo(f"http://127.0.0.1:{port}", eventually_sync(dsn, timeout_s=START_S, what="the demo's server"))

        def is_answering() -> bool:
            try:
                return running.get("/api/auth/keys")[0] == 200
            except OSError:
                return False

        eventually_sync(is_answering, timeout_s=START_S)
        yield running
    finally:
        process.terminate()
        assert process.wait(30) == 0, told.read_text()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def nodes() -> AsyncGenerator[list[NodeSdk]]:
    """Two devices."""
    async with AsyncExitStack() as closing:
        yield [await closing.enter_async_context(NodeSdk()) for _ in range(2)]


@pytest_asyncio.fixture(loop_scope="session", params=["http", "websocket"])
async def devices(
    request: pytest.FixtureRequest, nodes: list[NodeSdk], demo: Demo, tmp_path: Path
) -> AsyncGenerator[list[NodeSdk]]:
    """Both of one user, synced; the connector of the demos sends its uploads with the token."""
    demo.rows("UPDATE lists SET name = 'Getting Started' RETURNING id")
    for number, node in enumerate(nodes):
        options = node.database_options(tmp_path, f"device-{number}", large=False)
        await node.ask("open", **options, tables=TABLES, counted=["lists", "todos"])
        await node.ask(
            "connectWith", connector="demo", backend=demo.url, userId=OWNER, transport=request.param, sendToken=True
        )
        await node.ask("firstSync")
    yield nodes
    for node in nodes:
        await node.ask("close")


@pytest.mark.requirement(211)
async def test_what_one_device_writes_is_in_postgres_and_on_the_other(devices: list[NodeSdk], demo: Demo) -> None:
    phone, laptop = devices
    assert await phone.rows("SELECT name, owner_id FROM lists") == [{"name": "Getting Started", "owner_id": OWNER}]
    [row] = await phone.rows("SELECT id FROM lists")
    todo, bad, last = (str(uuid.uuid4()) for _ in range(3))
    insert = "INSERT INTO todos (id, list_id, description, completed, created_at) VALUES (?, ?, ?, ?, datetime('now'))"
    await phone.ask("execute", sql=insert, parameters=[todo, row["id"], "Water the plants", 0])
    await laptop.until(
        f"SELECT description, completed FROM todos WHERE id = '{todo}'",
        [{"description": "Water the plants", "completed": 0}],
    )
    assert demo.rows("SELECT description, completed FROM todos WHERE id = %s", todo) == [("Water the plants", False)]

    await laptop.ask(
        "execute", sql="UPDATE todos SET completed = 1, completed_by = ? WHERE id = ?", parameters=[OWNER, todo]
    )
    await phone.until(
        f"SELECT completed, completed_by FROM todos WHERE id = '{todo}'", [{"completed": 1, "completed_by": OWNER}]
    )

    # A row that Postgres refuses does not block what is behind it, and goes from the device that wrote it.
    await phone.ask("execute", sql=insert, parameters=[bad, row["id"], None, 0])
    await phone.ask("execute", sql=insert, parameters=[last, row["id"], "Behind a bad row", 0])
    await phone.ask("execute", sql="DELETE FROM todos WHERE id = ?", parameters=[todo])
    written = f"SELECT id FROM todos WHERE id IN ('{todo}', '{bad}', '{last}')"
    await laptop.until(written, [{"id": last}])
    await phone.until(written, [{"id": last}])
    for device in devices:

        async def has_uploaded(device: NodeSdk = device) -> bool:
            return await device.ask("queue") == 0

        await eventually(has_uploaded, timeout_s=WAIT_S)
    assert demo.rows("SELECT id::text FROM todos WHERE id = ANY(%s::uuid[])", [todo, bad, last]) == [(last,)]


@pytest.mark.requirement(152)
async def test_the_tokens_and_the_keys_are_those_of_the_demos(demo: Demo) -> None:
    status, answer = demo.get(f"/api/auth/token?user_id={OWNER}")
    assert (status, answer["powersync_url"]) == (200, f"{demo.url}/sync-service")
    [key] = demo.get("/api/auth/keys")[1]["keys"]
    claims = jwt.decode(
        answer["token"], jwt.PyJWK(key).key, algorithms=["RS256"], audience="powersync-dev", issuer="powersync-dev"
    )
    assert (claims["sub"], claims["exp"] - claims["iat"]) == (OWNER, 300)
    assert demo.get("/api/auth/token")[0] == 401
    assert demo.get(f"/api/auth/token?user_id={OWNER}", Host="demo.example.org")[0] == 401
    assert demo.get(f"/api/auth/token?user_id={OWNER}", **{"X-Forwarded-For": "192.0.2.1"})[0] == 401

    def count() -> str:
        body = json.dumps({"user_id": "ignored", "client_id": "phone"}).encode()
        headers = {"authorization": f"Bearer {answer['token']}"}
        request = urllib.request.Request(f"{demo.url}/api/data/checkpoint", data=body, headers=headers, method="PUT")
        with urllib.request.urlopen(request, timeout=30) as counted:
            return json.load(counted)["checkpoint"]

    assert [count(), count()] == ["1", "2"]


@pytest_asyncio.fixture(loop_scope="session", params=[False, True], ids=["closed", "open"])
async def app(
    request: pytest.FixtureRequest, postgres_database: ScratchDatabase, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[FastAPI]:
    """The example's application without its server and service; with `--open`, and without."""
    monkeypatch.setattr(sys, "path", [str(EXAMPLE), *sys.path])
    example = importlib.import_module("todo_backend")
    postgres_database.execute((EXAMPLE / "tables.sql").read_text())
    backend = example.make_backend(postgres_database.dsn, service_url="http://127.0.0.1:1", is_open=request.param)
    await backend.open()
    app = FastAPI()
    example.add_routes(app, backend, is_open=request.param)
    app.state.is_open = request.param
    yield app
    await backend.close()


async def test_uploads_without_a_token_are_taken_only_where_it_is_said_and_from_pages_of_this_machine(
    app: FastAPI, postgres_database: ScratchDatabase
) -> None:
    key = str(uuid.uuid4())
    entry = {"op": "PUT", "table": "lists", "id": key, "data": {"name": "mine", "owner_id": OWNER}}
    body = json.dumps({"batch": [entry]}).encode()
    is_open = app.state.is_open
    foreign = await ask(app, "POST", "/api/data", body=body, headers={"origin": "https://example.org"})
    assert foreign.status == 401
    assert postgres_database.execute("SELECT id FROM lists WHERE name = 'mine'") == []

    ours = await ask(app, "POST", "/api/data", body=body, headers={"origin": "http://localhost:5173"})
    assert ours.status == (200 if is_open else 401)
    assert len(postgres_database.execute("SELECT id FROM lists WHERE name = 'mine'")) == int(is_open)
    assert (await ask(app, "GET", "/api/auth/token")).status == (200 if is_open else 401)
    for origin, allowed in (("http://localhost:5173", True), ("https://example.org", False)):
        answer = await ask(app, "GET", "/api/auth/keys", headers={"origin": origin})
        assert ("access-control-allow-origin" in answer.headers) == allowed
