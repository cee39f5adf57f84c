"""What several acceptance tests share: a source with one table, and a connector that only reads."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from syncline.client import BackendConnector, Credentials, SyncDatabase
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.service_process import ServiceProcess
from tests.support.sync_config import LISTS_OF_OWNER

SYNC_CONFIG = LISTS_OF_OWNER
SOURCE_SQL = "CREATE TABLE lists (id text PRIMARY KEY, name text, owner_id text)"
PUBLICATION = "CREATE PUBLICATION powersync FOR ALL TABLES"


class TokenOnly(BackendConnector):
    """Credentials for one endpoint; uploads nothing."""

    def __init__(self, endpoint: str, text: str) -> None:
        self._credentials = Credentials(endpoint, text)

    async def fetch_credentials(self) -> Credentials | None:
        return self._credentials

    async def upload_data(self, db: SyncDatabase) -> None:
        return


@pytest.fixture
def source(postgres_database: ScratchDatabase) -> ScratchDatabase:
    """A source that is set up, with an empty table `lists`."""
    postgres_database.execute(f"{SOURCE_SQL}; {PUBLICATION}")
    return postgres_database


@pytest.fixture
def service(source: ScratchDatabase, tmp_path: Path) -> Generator[ServiceProcess]:
    """`syncline start`, ready."""
    with ServiceProcess(tmp_path / "service", dsn=source.dsn, sync_config=SYNC_CONFIG) as process:
        yield process
