"""The FastAPI dependency: routes get the database itself, open for as long as the app runs. A real server and a real client."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvicorn
from fastapi import FastAPI

from syncline.client import Column, Schema, SyncDatabase, Table
from syncline.client.errors import DatabaseNotInitialized
from syncline.client.fastapi import Database, lifespan
from syncline.testing.waiting import eventually

SCHEMA = Schema([Table("lists", [Column.text("name")])])


def routes(app: FastAPI) -> FastAPI:
    async def add(name: str, db: Database) -> str:
        assert type(db) is SyncDatabase
        await db.execute("INSERT INTO lists(id, name) VALUES (uuid(), ?)", [name])
        return "ok"

    async def lists(db: Database) -> list[dict[str, Any]]:
        return [row.as_dict() for row in await db.get_all("SELECT name FROM lists")]

    async def explained(db: Database) -> str:
        return str(db)

    app.add_api_route("/lists/{name}", add, methods=["POST"])
    app.add_api_route("/lists", lists, methods=["GET"])
    app.add_api_route("/explained", explained, methods=["GET"])
    app.add_exception_handler(DatabaseNotInitialized, _explain)
    return app


async def _explain(_request: Any, error: Exception) -> Any:
    from starlette.responses import PlainTextResponse

    assert isinstance(error, DatabaseNotInitialized)
    return PlainTextResponse(str(error.hint), status_code=500)


@contextlib.asynccontextmanager
async def served(app: FastAPI) -> AsyncGenerator[aiohttp.ClientSession]:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="none"))
    serving = asyncio.create_task(server._serve([listening]))  # signals belong to the test run
    await eventually(lambda: server.started or serving.done())
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            yield session
    finally:
        server.should_exit = True
        await serving


@pytest.mark.requirement(79, 207)
async def test_routes_write_and_read_the_database_of_the_app(tmp_path: Path) -> None:
    opened: list[SyncDatabase] = []

    def make() -> SyncDatabase:
        opened.append(SyncDatabase(tmp_path / "app.db", schema=SCHEMA))
        return opened[-1]

    app = routes(FastAPI(lifespan=lifespan(make)))
    for run in (1, 2):
        async with served(app) as client:
            async with client.post("/lists/n") as answer:
                assert await answer.json() == "ok"
            async with client.get("/lists") as answer:
                assert await answer.json() == [{"name": "n"}] * run
    assert len(opened) == 2, "one for each run of the app"
    assert all(database.parts_if_open is None for database in opened), "closed with it"


@pytest.mark.requirement(80)
async def test_an_app_without_the_lifespan_says_what_to_write() -> None:
    async with served(routes(FastAPI())) as client, client.get("/explained") as answer:
        assert answer.status == 500
        assert "lifespan" in await answer.text()
