"""Our client and `syncline start`, over every transport: the same rows, first all of them, then a change."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from syncline.client import BackendConnector, Credentials, SyncDatabase
from syncline.client.transport.base import Transport
from syncline.client.transport.http import HttpTransport
from syncline.client.transport.websocket import WebSocketTransport
from syncline.testing.postgres import PostgresServer, ScratchDatabase
from syncline.testing.service_process import ServiceProcess, token
from syncline.testing.waiting import eventually
from tests.integration.client.conftest import SCHEMA
from tests.support.sync_config import LISTS_OF_OWNER

DEADLINE_S = 60.0
ROWS = 2300  # more than one line, and more than a stream may have under way
SOURCE_SQL = f"""
CREATE TABLE lists (id text PRIMARY KEY, name text NOT NULL, owner_id text NOT NULL);
CREATE PUBLICATION powersync FOR ALL TABLES;
INSERT INTO lists SELECT 'l' || i, repeat('name ' || i, 50), 'user' FROM generate_series(1, {ROWS}) i;
"""


class Connector(BackendConnector):
    def __init__(self, service: ServiceProcess) -> None:
        self._service = service

    async def fetch_credentials(self) -> Credentials:
        return Credentials(self._service.base_url, token("user"))

    async def upload_data(self, db: SyncDatabase) -> None:
        raise AssertionError("nothing was written here")


@pytest.fixture(scope="module")
def source(postgres_server: PostgresServer) -> Generator[ScratchDatabase]:
    database = postgres_server.create()
    database.execute(SOURCE_SQL)
    yield database
    postgres_server.drop(database)


@pytest.fixture(scope="module")
def service(source: ScratchDatabase, tmp_path_factory: pytest.TempPathFactory) -> Generator[ServiceProcess]:
    with ServiceProcess(tmp_path_factory.mktemp("service"), dsn=source.dsn, sync_config=LISTS_OF_OWNER) as process:
        yield process


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(HttpTransport, id="http"),
        pytest.param(lambda: HttpTransport(compression=True), id="http, compressed"),
        pytest.param(WebSocketTransport, id="websocket"),
        pytest.param(lambda: WebSocketTransport(compression=True), id="websocket, compressed"),
    ],
)
async def test_all_rows_and_a_change_arrive(
    tmp_path: Path, service: ServiceProcess, source: ScratchDatabase, make: Callable[[], Transport]
) -> None:
    async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
        await db.connect(Connector(service), transport=make())
        await db.wait_for_first_sync(timeout=DEADLINE_S)
        assert (await db.get("SELECT count(*) AS n FROM lists"))["n"] == ROWS
        assert db.current_status.download_error is None
        name = f"changed for {tmp_path.name}"
        source.execute(f"UPDATE lists SET name = '{name}' WHERE id = 'l7'")

        async def arrived() -> bool:
            return (await db.get("SELECT name FROM lists WHERE id = 'l7'"))["name"] == name

        await eventually(arrived, timeout_s=DEADLINE_S)
