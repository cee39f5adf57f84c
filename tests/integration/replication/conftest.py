"""A published source database, and a source on it."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from syncline.replication.postgres.source import PostgresSource
from syncline.testing.postgres import ScratchDatabase


@pytest.fixture
def database(postgres_database: ScratchDatabase) -> ScratchDatabase:
    """A database whose publication holds all tables."""
    postgres_database.execute("CREATE PUBLICATION powersync FOR ALL TABLES")
    return postgres_database


@pytest.fixture
async def source(database: ScratchDatabase) -> AsyncGenerator[PostgresSource]:
    """A source on it."""
    source = PostgresSource(database.dsn, application_name="syncline/test")
    yield source
    await source.close()
