"""A source with one table, and services that administrators reach."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from syncline.testing.postgres import ScratchDatabase
from syncline.testing.service_process import ServiceProcess
from tests.conformance.golden_http import Reply, ask
from tests.support.sync_config import LISTS_OF_OWNER

ADMIN = "an-admin-token"
SYNC_CONFIG = LISTS_OF_OWNER
Start = Callable[..., ServiceProcess]


@pytest.fixture
def source(postgres_database: ScratchDatabase) -> ScratchDatabase:
    postgres_database.execute(
        "CREATE TABLE lists (id text PRIMARY KEY, name text, owner_id text); CREATE PUBLICATION powersync FOR ALL TABLES;"
        "INSERT INTO lists VALUES ('l1', 'first', 'u1')"
    )
    return postgres_database


@pytest.fixture
def start(source: ScratchDatabase, tmp_path: Path) -> Generator[Start]:
    """Start a service; `deployed` False leaves the sync config out of its configuration."""
    services: list[ServiceProcess] = []

    def start(
        *, deployed: bool = True, debug_api: bool = False, wait_log: str = "Listening on", **overrides: Any
    ) -> ServiceProcess:
        service = ServiceProcess(
            tmp_path / f"service{len(services)}",
            dsn=source.dsn,
            sync_config=SYNC_CONFIG,
            **({"api": {"tokens": [ADMIN]}} | overrides),
        )
        path = service.folder / "service.yaml"
        text = path.read_text()
        if not deployed:
            text = text.replace("sync_config:\n  path: sync-config.yaml\n", "")
        if debug_api:
            text = text.replace("sslmode: disable", "sslmode: disable\n    debug_api: true", 1)
        path.write_text(text)
        services.append(service)
        service.start(wait_ready=deployed)
        service.wait_log(wait_log)
        return service

    yield start
    for service in services:
        service.stop()


def admin(service: ServiceProcess, path: str, body: str = "{}", *, bearer: str = ADMIN) -> Reply:
    """One request of an administrator."""
    headers = {"authorization": f"Bearer {bearer}"}
    return ask(service.base_url, "POST", f"/api/admin/v1/{path}", body=body, headers=headers)
