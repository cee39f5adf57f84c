"""Services of several processes on real sockets, and what tests do to them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from syncline.testing.postgres import ScratchDatabase
from syncline.testing.service_process import ServiceProcess
from tests.support.service_tree import SYNC_CONFIG, children_of

SOURCE_SQL = (
    "CREATE TABLE lists (id text PRIMARY KEY, name text, owner_id text); CREATE PUBLICATION powersync FOR TABLE lists"
)
MakeService = Callable[..., ServiceProcess]


@pytest.fixture
def source(postgres_database: ScratchDatabase) -> ScratchDatabase:
    """A source that is set up, with an empty table `lists`."""
    postgres_database.execute(SOURCE_SQL)
    return postgres_database


@pytest.fixture
def make_service(source: ScratchDatabase, tmp_path: Path) -> Generator[MakeService]:
    """Makes services, not started; none of their processes is left at the end."""
    made: list[ServiceProcess] = []

    def make(name: str = "service", *, workers: int | None = 1, **overrides: object) -> ServiceProcess:
        service = ServiceProcess(tmp_path / name, dsn=source.dsn, sync_config=SYNC_CONFIG, **overrides)
        service.workers = workers
        made.append(service)
        return service

    yield make
    for service in made:
        if service.running:
            for pid in [service.pid, *children_of(service.pid)]:
                os.kill(pid, signal.SIGCONT)
            service.stop()
