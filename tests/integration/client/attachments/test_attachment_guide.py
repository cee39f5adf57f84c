"""The programs of docs/howto/attachments.md, with a backend over a real socket."""

from __future__ import annotations

import asyncio
import importlib.util
import re
import socket
from collections.abc import AsyncGenerator
from pathlib import Path
from types import ModuleType

import aiohttp
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from syncline.client import HttpConnector, SyncDatabase
from syncline.client.attachments import AttachmentState
from syncline.testing.waiting import eventually

PAGE = Path(__file__).parents[4] / "docs/howto/attachments.md"
PROGRAMS = dict(re.findall(r"^```python\n# (\S+)\.py\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE))
PHOTO = b"\xff\xd8 a photo"
DEADLINE_S = 20.0


def program(name: str, folder: Path) -> ModuleType:
    """A program of the page, imported."""
    path = folder / f"{name}.py"
    path.write_text(PROGRAMS[name])
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
async def backend_url(tmp_path: Path) -> AsyncGenerator[str]:
    """The page's routes, in an app that gives everybody a token and wants to see it again."""

    async def token(_: Request) -> Response:
        return JSONResponse({"token": "the-token", "powersync_url": "http://127.0.0.1:9"})

    (tmp_path / "server").mkdir()

    def is_signed_in(request: Request) -> bool:
        return request.headers.get("authorization") == "Bearer the-token"

    routes = program("files_backend", tmp_path).file_routes(tmp_path / "server", is_signed_in)
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    app = Starlette(routes=[Route("/api/auth/token", token), *routes])
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, ws="none"))
    serving = asyncio.create_task(server._serve([listening]))  # signals belong to the test run
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    await serving
    listening.close()


@pytest.mark.requirement(208)
async def test_a_photo_goes_from_one_device_to_another(backend_url: str, tmp_path: Path) -> None:
    photos = program("photos", tmp_path)
    connector = HttpConnector(backend_url)
    async with (
        SyncDatabase(tmp_path / "a.db", schema=photos.SCHEMA) as first,
        SyncDatabase(tmp_path / "b.db", schema=photos.SCHEMA) as second,
        photos.photo_queue(first, connector, tmp_path / "a") as of_first,
        photos.photo_queue(second, connector, tmp_path / "b") as of_second,
    ):
        await first.execute("INSERT INTO todos(id, description) VALUES ('t', 'x')")
        photo_id = await photos.add_photo(of_first, "t", PHOTO)
        await eventually(lambda: list((tmp_path / "server").iterdir()), timeout_s=DEADLINE_S)
        await second.execute("INSERT INTO todos(id, photo_id) VALUES ('t', ?)", [photo_id])  # as sync brings it

        async def is_there() -> bool:
            record = await of_second.get(photo_id)
            return record is not None and record.state is AttachmentState.SYNCED

        await eventually(is_there, timeout_s=DEADLINE_S)
        assert await of_second.read(photo_id) == PHOTO
        await photos.remove_photo(of_first, photo_id)
        await eventually(lambda: not list((tmp_path / "server").iterdir()), timeout_s=DEADLINE_S)
        assert (await first.get("SELECT photo_id FROM todos"))["photo_id"] is None


async def test_strangers_get_neither_a_signature_nor_a_file(backend_url: str, tmp_path: Path) -> None:
    (tmp_path / "server" / "secret.jpg").write_bytes(PHOTO)
    wanted = {"name": "secret.jpg", "operation": "download"}
    async with aiohttp.ClientSession(backend_url) as session:
        async with session.post("/api/files/sign", json=wanted) as answer:
            assert answer.status == 401
        async with session.post(
            "/api/files/sign", json=wanted, headers={"authorization": "Bearer the-token"}
        ) as answer:
            url: str = (await answer.json())["url"]
        async with session.get(url) as answer:
            assert (answer.status, await answer.read()) == (200, PHOTO)
        for method, other in (
            ("DELETE", url),
            ("PUT", url),
            ("GET", url.replace("secret", "other")),
            ("GET", url + "0"),
        ):
            async with session.request(method, other) as answer:
                assert answer.status == 403
    assert (tmp_path / "server" / "secret.jpg").read_bytes() == PHOTO
