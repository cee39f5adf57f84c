"""A source with one table, and folders with configurations for it, on both kinds of storage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from syncline.testing.postgres import ScratchDatabase
from syncline.testing.service_process import ServiceProcess
from tests.support.sync_config import LISTS_OF_OWNER

SYNC_CONFIG = LISTS_OF_OWNER
SOURCE_SQL = (
    "CREATE TABLE lists (id text PRIMARY KEY, name text, owner_id text); CREATE PUBLICATION powersync FOR TABLE lists"
)


@pytest.fixture
def source(postgres_database: ScratchDatabase) -> ScratchDatabase:
    """A source that is set up, with an empty table `lists`."""
    postgres_database.execute(SOURCE_SQL)
    return postgres_database


@pytest.fixture(params=["sqlite", "postgresql"])
def storage(request: pytest.FixtureRequest, postgres_database: ScratchDatabase) -> dict[str, object]:
    """The section `storage`: a folder, or a schema of the source's own database."""
    if request.param == "sqlite":
        return {"type": "sqlite", "path": "storage"}
    return {"type": "postgresql", "uri": postgres_database.dsn, "sslmode": "disable"}


@pytest.fixture
def make_service(source: ScratchDatabase, tmp_path: Path) -> Callable[..., ServiceProcess]:
    """A folder with a configuration, and the process that can be started in it."""

    def make(name: str = "service", **overrides: object) -> ServiceProcess:
        return ServiceProcess(tmp_path / name, dsn=source.dsn, sync_config=SYNC_CONFIG, **overrides)

    return make
