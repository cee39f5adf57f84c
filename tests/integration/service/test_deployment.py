"""What `deploy/` ships, run without a container: the configuration of the compose file on a real source, the image's health check."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
import yaml
from psycopg.conninfo import conninfo_to_dict

from syncline.embedded.ports import free_port
from syncline.testing.postgres import PostgresServer, ScratchDatabase
from syncline.testing.waiting import eventually, eventually_sync

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
KEY = b"a key of this test, 32 bytes long"
START_TIMEOUT_S = 60.0


@pytest.fixture
def source(postgres_server: PostgresServer) -> Generator[ScratchDatabase]:
    """A database that was made as the compose file's Postgres makes it, but for the name of the one for buckets."""
    database, buckets = postgres_server.create(), postgres_server.create()
    for statement in (DEPLOY / "postgres/01-syncline.sql").read_text("utf-8").split(";"):
        if statement.strip() and "CREATE DATABASE" not in statement:
            database.execute(statement)
    os.environ["TEST_BUCKETS_DSN"] = buckets.dsn
    yield database
    del os.environ["TEST_BUCKETS_DSN"]
    postgres_server.drop(buckets)
    postgres_server.drop(database)


class Running:
    """`syncline start` in a folder of its own, with what the environment says and nothing else."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.log_path = folder, folder / "service.log"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PS_", "POWERSYNC_"))}
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "syncline.cli.main", "start"],
                cwd=folder,
                env=inherited | environment,
                stdout=log,
                stderr=log,
            )

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def until_logged(self, text: str) -> str:
        """The line that has it."""

        def line() -> str | None:
            assert self.process.poll() is None, self.log
            return next((line for line in self.log.splitlines() if text in line), None)

        return eventually_sync(line, timeout_s=START_TIMEOUT_S, what=text) or ""


@contextmanager
def running(folder: Path, environment: dict[str, str]) -> Generator[Running]:
    made = Running(folder, environment)
    try:
        yield made
        made.process.send_signal(signal.SIGTERM)
        assert made.process.wait(30) == 0, made.log
    finally:
        if made.process.poll() is None:
            made.process.kill()
            made.process.wait()


def health_command() -> str:
    """The health check of the image."""
    found = re.search(r"^HEALTHCHECK (?:.*\\\n)*.*CMD (.*)$", (DEPLOY / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    assert found
    return found[1]


def is_healthy(folder: Path) -> bool:
    return subprocess.run(["sh", "-c", health_command()], cwd=folder, capture_output=True).returncode == 0


async def first_rows(base_url: str, bearer: str) -> list[dict[str, Any]]:
    """The rows of a first sync."""
    rows: list[dict[str, Any]] = []
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{base_url}/sync/stream", json={"raw_data": True}, headers={"authorization": f"Token {bearer}"}
        ) as response,
    ):
        assert response.status == 200, await response.text()
        async for raw in response.content:
            line = json.loads(raw)
            rows += [json.loads(entry["data"]) for entry in line.get("data", {}).get("data", [])]
            if "checkpoint_complete" in line:
                return rows
    raise AssertionError("the stream ended")


async def is_ready(base_url: str) -> bool:
    try:
        async with aiohttp.ClientSession() as session, session.get(f"{base_url}/probes/readiness") as response:
            return response.status == 200
    except aiohttp.ClientConnectionError:
        return False


@pytest.mark.requirement(188)
async def test_the_configuration_of_the_compose_file_serves_its_source(source: ScratchDatabase, tmp_path: Path) -> None:
    source.execute("INSERT INTO lists (name, owner_id) VALUES ('groceries', 'u1')")
    port = free_port()
    service = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))["services"]["syncline"]
    environment = {name: str(value) for name, value in service["environment"].items()} | {
        "POWERSYNC_CONFIG_PATH": str(DEPLOY / "config/service.yaml"),
        "PS_SOURCE_URI": source.dsn,
        "PS_STORAGE_URI": os.environ["TEST_BUCKETS_DSN"],
        "PS_PORT": str(port),
        "PS_JWT_KEY": base64.urlsafe_b64encode(KEY).rstrip(b"=").decode(),
        "PS_JWT_AUDIENCE": "syncline",
        "PS_API_TOKEN": "an administrator's",
        "PS_LOG_LEVEL": "info",
    }
    now_s = int(time.time())
    claims = {"sub": "u1", "aud": "syncline", "iat": now_s, "exp": now_s + 3600}
    bearer = jwt.encode(claims, KEY, algorithm="HS256", headers={"kid": "shared"})
    with running(tmp_path, environment) as made:
        base_url = f"http://127.0.0.1:{port}"
        await eventually(lambda: is_ready(base_url), timeout_s=START_TIMEOUT_S)
        assert [row["name"] for row in await first_rows(base_url, bearer)] == ["groceries"]
        await asyncio.to_thread(eventually_sync, lambda: is_healthy(tmp_path), timeout_s=20, what=made.log)
    stale_s = time.time() - 120
    os.utime(tmp_path / ".probes/poll", (stale_s, stale_s))
    assert not is_healthy(tmp_path), "nothing has shown a sign of life for two minutes"


@pytest.mark.requirement(229)
def test_a_configuration_in_a_variable_is_enough_and_the_log_tells_the_port(
    source: ScratchDatabase, tmp_path: Path
) -> None:
    parts = conninfo_to_dict(source.dsn)
    port = free_port()
    uri = f"postgresql://{parts['user']}@{parts['host']}:{parts['port']}/{parts['dbname']}"
    config = {
        "replication": {"connections": [{"type": "postgresql", "uri": uri, "sslmode": "disable"}]},
        "port": port,
        "client_auth": {"audience": ["syncline"]},
        "sync_config": {"path": str(DEPLOY / "config/sync-config.yaml")},
    }
    environment = {
        "POWERSYNC_CONFIG_B64": base64.b64encode(yaml.safe_dump(config).encode()).decode(),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "SYNCLINE_HOST": "127.0.0.1",
    }
    with running(tmp_path, environment) as made:
        assert str(port) in made.until_logged("Listening on")
        assert (tmp_path / "data/syncline/storage/storage.db").exists(), "where the image has its volume"
