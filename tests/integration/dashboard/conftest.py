"""One service whose sync config was deployed through the API, for all questions of the dashboard."""

from __future__ import annotations

import http.client
import json
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest

from syncline.testing.postgres import PostgresServer, ScratchDatabase
from syncline.testing.service_process import ServiceProcess, token
from syncline.testing.waiting import eventually_sync
from tests.conformance.golden_http import Reply, ask

ADMIN = "an-admin-token-of-the-dashboard"
ACTIVE = """
config: {edition: 3}
streams:
  lists:
    auto_subscribe: true
    query: SELECT * FROM lists WHERE owner_id = auth.user_id()
"""
SMALLER = ACTIVE.rstrip() + " AND NOT archived\n"
TABLES = """
CREATE TABLE lists (id text PRIMARY KEY, name text, owner_id text, archived boolean NOT NULL DEFAULT false);
CREATE TABLE secrets (id text PRIMARY KEY);
CREATE PUBLICATION powersync FOR TABLE lists;
INSERT INTO lists VALUES ('l1', 'first', 'u1', false), ('l2', 'second', 'u1', true), ('l3', 'third', 'u2', false);
"""
ACTIVE_TIMEOUT_S = 60.0


@pytest.fixture(scope="package")
def dashboard_source(postgres_server: PostgresServer) -> Generator[ScratchDatabase]:
    database = postgres_server.create()
    database.execute(TABLES)
    yield database
    postgres_server.drop(database)


@pytest.fixture(scope="package")
def service(dashboard_source: ScratchDatabase, tmp_path_factory: pytest.TempPathFactory) -> Generator[ServiceProcess]:
    folder = tmp_path_factory.mktemp("dashboard")
    running = ServiceProcess(folder, dsn=dashboard_source.dsn, sync_config=ACTIVE, api={"tokens": [ADMIN]})
    path = folder / "service.yaml"
    path.write_text(path.read_text().replace("sync_config:\n  path: sync-config.yaml\n", ""))
    running.start(wait_ready=False)
    try:
        running.wait_log("Listening on", timeout_s=ACTIVE_TIMEOUT_S)
        reply = ask(
            running.base_url,
            "POST",
            "/api/sync-rules/v1/deploy",
            body=json.dumps({"content": ACTIVE}),
            headers={"authorization": f"Bearer {ADMIN}"},
        )
        assert reply.status == 200, reply.text
        running.wait_ready(ACTIVE_TIMEOUT_S)
        yield running
    finally:
        running.stop()


def question(service: ServiceProcess, name: str, fields: dict[str, Any] | None = None, *, bearer: str = ADMIN) -> Reply:
    """Ask what the page asks."""
    headers = {"authorization": f"Bearer {bearer}"}
    body = None if fields is None else json.dumps(fields)
    return ask(
        service.base_url, "GET" if fields is None else "POST", f"/api/dashboard/v1/{name}", body=body, headers=headers
    )


def answer(service: ServiceProcess, name: str, fields: dict[str, Any] | None = None) -> dict[str, Any]:
    """`data` of a question that is answered."""
    reply = question(service, name, fields)
    assert reply.status == 200, reply.text
    return reply.json["data"]


@contextmanager
def connected(service: ServiceProcess, user_id: str, *, client_id: str) -> Generator[None]:
    """A client whose stream is open and known to the service."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    headers = {
        "authorization": f"Token {token(user_id)}",
        "content-type": "application/json",
        "user-agent": "a test",
        "accept-encoding": "identity",
    }
    connection.request("POST", "/sync/stream", body=json.dumps({"client_id": client_id}), headers=headers)
    try:
        reply = connection.getresponse()
        assert reply.status == 200
        while b"checkpoint_complete" not in reply.readline():
            pass
        yield
    finally:
        connection.close()


def shown_client(service: ServiceProcess, client_id: str) -> dict[str, Any]:
    """An open stream as the dashboard tells it, once it does."""

    def shown() -> dict[str, Any] | None:
        here: list[dict[str, Any]] = answer(service, "clients")["here"]
        return next((one for one in here if one["client_id"] == client_id), None)

    found = eventually_sync(shown, what=f"{client_id} is told")
    assert found is not None
    return found
