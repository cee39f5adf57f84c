"""The sync service inside other ASGI applications: the programs of docs/howto/embed.md, run by the server that the page names."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from syncline.embedded.ports import free_port
from syncline.service.embedding import SyncService
from syncline.testing.postgres import PostgresServer, ScratchDatabase
from syncline.testing.service_process import ServiceProcess, token
from syncline.testing.waiting import eventually
from tests.support.rsocket_clients import raw_peer
from tests.support.sync_config import LISTS_OF_OWNER

PAGE = Path(__file__).parents[3] / "docs/howto/embed.md"
PROGRAMS = dict(re.findall(r"^```python\n# (\S+\.py)\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE))
SOURCE_SQL = """
CREATE TABLE lists (id text PRIMARY KEY, name text NOT NULL, owner_id text NOT NULL);
CREATE PUBLICATION powersync FOR ALL TABLES;
INSERT INTO lists VALUES ('l1', 'first', 'u1');
"""
SYNC_CONFIG = LISTS_OF_OWNER
DJANGO_SETTINGS = """
SECRET_KEY = "only for this test"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "mysite.urls"
"""
DJANGO_URLS = """
from django.http import HttpResponse
from django.urls import path

urlpatterns = [path("hello", lambda request: HttpResponse("world"))]
"""
START_TIMEOUT_S = 60.0


@pytest.fixture(scope="module")
def source(postgres_server: PostgresServer) -> Generator[ScratchDatabase]:
    database = postgres_server.create()
    database.execute(SOURCE_SQL)
    yield database
    postgres_server.drop(database)


@pytest.fixture
def folder(source: ScratchDatabase, tmp_path: Path) -> Path:
    """The page's programs, and a configuration beside them."""
    ServiceProcess(tmp_path, dsn=source.dsn, sync_config=SYNC_CONFIG)  # writes the files
    for name, text in PROGRAMS.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "mysite/__init__.py").touch()
    (tmp_path / "mysite/settings.py").write_text(DJANGO_SETTINGS)
    (tmp_path / "mysite/urls.py").write_text(DJANGO_URLS)
    return tmp_path


@dataclass
class Host:
    """A running application; `sync_url` is what a device gets as its endpoint."""

    base_url: str
    sync_url: str
    process: subprocess.Popen[bytes]
    log_path: Path

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    async def get(self, url: str, **options: Any) -> tuple[int, str]:
        async with aiohttp.ClientSession() as session, session.get(url, **options) as response:
            return response.status, await response.text()

    async def is_ready(self) -> bool:
        assert self.process.poll() is None, self.log
        try:
            return (await self.get(f"{self.sync_url}/probes/readiness"))[0] == 200
        except aiohttp.ClientConnectionError:
            return False

    async def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.process.wait, 30)


@asynccontextmanager
async def host(
    folder: Path, program: str, *arguments: str, proxy_prefix: str = "", prefix: str = "/sync-service"
) -> AsyncGenerator[Host]:
    """Run `uvicorn PROGRAM` as the page says, until streams are served."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", program, "--host", "127.0.0.1", "--port", str(port), *arguments]
    log_path = folder / "host.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [*command, "--timeout-graceful-shutdown", "1"], cwd=folder, stdout=log, stderr=log, env=dict(os.environ)
        )
    base_url = f"http://127.0.0.1:{port}{proxy_prefix}"
    made = Host(base_url, f"{base_url}{prefix}", process, log_path)
    try:
        await eventually(made.is_ready, timeout_s=START_TIMEOUT_S)
        yield made
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


class OpenStream:
    """A stream over HTTP, read line by line."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def until_row(self, name: str) -> None:
        """Read until a row of this name has come and its checkpoint is complete."""
        seen = False
        async with asyncio.timeout(30):
            async for raw in self.response.content:
                line = json.loads(raw)
                seen = seen or f'\\"name\\":\\"{name}\\"' in raw.decode()
                if seen and "checkpoint_complete" in line:
                    return
        raise AssertionError("the stream ended")


@asynccontextmanager
async def http_stream(sync_url: str) -> AsyncGenerator[OpenStream]:
    headers = {"authorization": f"Token {token('u1')}"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{sync_url}/sync/stream", json={"raw_data": True}, headers=headers) as response,
    ):
        assert response.status == 200, await response.text()
        yield OpenStream(response)


async def assert_serves(made: Host, source: ScratchDatabase, name: str) -> None:
    """Everything that a device and an administrator need, below the prefix; and that the host's stop ends an open stream."""
    bearer = {"authorization": f"Token {token('u1')}"}
    status, body = await made.get(f"{made.sync_url}/write-checkpoint2.json?client_id=c1", headers=bearer)
    assert (status, list(json.loads(body)["data"])) == (200, ["write_checkpoint"])
    assert (await made.get(f"{made.sync_url}/openapi.json"))[0] == 200
    status, body = await made.get(f"{made.sync_url}/nothing-here")
    assert (status, json.loads(body)["error"]["code"]) == (404, "PSYNC_S2002")
    async with http_stream(made.sync_url) as stream, raw_peer(made.sync_url) as peer:
        await stream.until_row("first")
        await peer.set_up(token("u1"))
        await peer.request(1, 2**31 - 1)
        await peer.until(1, "checkpoint_complete")
        source.execute("INSERT INTO lists VALUES (gen_random_uuid()::text, %s, 'u1')", (name,))
        await stream.until_row(name)
        await peer.until(1, "checkpoint_complete", 2)
        assert await made.stop() in (0, -signal.SIGTERM), made.log  # uvicorn sends itself the signal again
    # uvicorn reports what it cuts at the end of its time; there is nothing else to report.
    assert made.log.count("Traceback") == made.log.count("asyncio.exceptions.CancelledError"), made.log


@pytest.mark.parametrize(
    ("program", "hello"),
    [("fastapi_app:app", '{"hello":"world"}'), ("starlette_app:app", "world"), ("mysite.asgi:application", "world")],
)
async def test_a_host_of_the_page_serves_its_own_routes_and_the_service_below_the_prefix(
    folder: Path, source: ScratchDatabase, program: str, hello: str
) -> None:
    async with host(folder, program) as made:
        assert await made.get(f"{made.base_url}/hello") == (200, hello)
        assert (await made.get(f"{made.base_url}/probes/readiness"))[0] == 404, "the host's, not the service's"
        assert (await made.get(f"{made.base_url}/sync-servicex"))[0] == 404
        await assert_serves(made, source, program)


async def test_the_app_is_a_server_by_itself(folder: Path, source: ScratchDatabase) -> None:
    async with host(folder, "alone_app:app", prefix="") as made:
        await assert_serves(made, source, "alone")


@pytest.mark.parametrize("program", ["fastapi_app:app", "mysite.asgi:application"])
async def test_a_root_path_of_the_server_comes_on_top(folder: Path, source: ScratchDatabase, program: str) -> None:
    # The server puts its root path before each path that arrives, so that the proxy has cut it off.
    async with host(folder, program, "--root-path", "/api") as made:
        await assert_serves(made, source, f"root path {program}")


async def test_a_root_path_of_the_application_comes_on_top(folder: Path, source: ScratchDatabase) -> None:
    text = PROGRAMS["fastapi_app.py"].replace("FastAPI(", 'FastAPI(root_path="/api", ')
    (folder / "fastapi_app.py").write_text(text)
    async with host(folder, "fastapi_app:app") as made:
        await assert_serves(made, source, "root path of the app")


async def test_the_page_s_program_runs_with_the_options_that_it_names(folder: Path, source: ScratchDatabase) -> None:
    port = free_port()
    (folder / "fastapi_app.py").write_text(PROGRAMS["fastapi_app.py"].replace("port=8000", f"port={port}"))
    log_path = folder / "host.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen([sys.executable, "fastapi_app.py"], cwd=folder, stdout=log, stderr=log)
    base_url = f"http://127.0.0.1:{port}"
    made = Host(base_url, f"{base_url}/sync-service", process, log_path)
    try:
        await eventually(made.is_ready, timeout_s=START_TIMEOUT_S)
        await assert_serves(made, source, "options")
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


async def test_a_second_replicating_host_of_a_storage_is_refused_and_a_reading_one_is_not(
    folder: Path, source: ScratchDatabase
) -> None:
    (folder / "second.py").write_text(
        "from syncline.service.embedding import Replication, SyncService\n"
        "app = SyncService('service.yaml', replication=Replication.ELSEWHERE).app\n"
    )
    async with host(folder, "alone_app:app", prefix=""):
        command = [sys.executable, "-m", "uvicorn", "alone_app:app", "--port", str(free_port())]
        ended = await asyncio.to_thread(subprocess.run, command, cwd=folder, capture_output=True, timeout=60)
        assert ended.returncode == 3, "uvicorn's exit code for a start that failed"
        assert b"PSYNC_S1003" in ended.stderr
        async with host(folder, "second:app", prefix="") as second:
            await assert_serves(second, source, "elsewhere")


def replicators_of(pid: int) -> list[int]:
    """The children of a process."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (task / "children").read_text().split())
    return found


def is_running(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


async def test_replication_in_a_child_ends_with_its_parent_and_comes_again_after_a_crash(
    folder: Path, source: ScratchDatabase
) -> None:
    (folder / "apart.py").write_text(
        "from syncline.service.embedding import Replication, SyncService\n"
        "app = SyncService('service.yaml', replication=Replication.PROCESS).app\n"
    )
    async with host(folder, "apart:app", prefix="") as made:
        [child] = replicators_of(made.process.pid)
        os.kill(child, signal.SIGKILL)
        await eventually(lambda: [pid for pid in replicators_of(made.process.pid) if pid != child], timeout_s=30)
        await assert_serves(made, source, "child")
        assert replicators_of_nobody(child, folder) == []
    async with host(folder, "apart:app", prefix="") as made:
        [child] = replicators_of(made.process.pid)
        made.process.kill()
        await eventually(lambda: not is_running(child), timeout_s=30, what="the end of the child")


def replicators_of_nobody(child: int, folder: Path) -> list[int]:
    """Processes that work in `folder`, or the child that was killed."""
    found = [child] if is_running(child) else []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() == folder and is_running(int(process.name)):
                found.append(int(process.name))
        except OSError:
            continue
    return found


async def test_requests_before_the_start_and_after_the_stop_are_told_to_come_again(folder: Path) -> None:
    sync = SyncService(folder / "service.yaml")

    async def ask() -> int:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {"type": "http.request"}

        scope: dict[str, Any] = {
            "type": "http",
            "method": "GET",
            "path": "/openapi.json",
            "headers": [],
            "query_string": b"",
        }
        await sync.app(scope, receive, send)
        return sent[0]["status"]

    assert await ask() == 503
    for _ in range(2):  # it may be started again
        async with sync.lifespan():
            await sync.wait_until_serving()
            assert await ask() == 200
        assert await ask() == 503


async def test_a_stream_leaves_its_host_the_headers_of_the_request(folder: Path) -> None:
    """It drops them for as long as it is open; middleware of the host may still ask for them."""
    headers = [(b"authorization", f"Token {token('u1')}".encode())]
    path = "/sync/stream"
    scope: dict[str, Any] = {"type": "http", "method": "POST", "path": path, "headers": headers, "query_string": b""}
    body = b""
    is_complete = asyncio.Event()

    async def send(message: Any) -> None:
        nonlocal body
        body += message.get("body", b"")
        if b"checkpoint_complete" in body:
            is_complete.set()

    requests = [{"type": "http.request", "body": b"{}"}]

    async def receive() -> Any:
        if requests:
            return requests.pop()
        await is_complete.wait()
        return {"type": "http.disconnect"}

    sync = SyncService(folder / "service.yaml")
    async with sync.lifespan(), asyncio.timeout(30):
        await sync.wait_until_serving()
        await sync.app(scope, receive, send)
    assert is_complete.is_set(), body
    assert [name for name, _ in scope["headers"]] == [b"authorization"]
