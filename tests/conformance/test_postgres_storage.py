"""Postgres storage passes the conformance suite."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from syncline.storage.base import BucketStorage
from syncline.storage.postgres import PostgresStorage
from syncline.testing.postgres import PostgresServer, ScratchDatabase
from tests.conformance.storage_suite import StorageSuite


class TestPostgresStorage(StorageSuite):
    @pytest.fixture
    def storage(self, postgres_database: ScratchDatabase) -> PostgresStorage:
        self.database = postgres_database
        return PostgresStorage(postgres_database.dsn)

    @pytest.fixture
    def rebuilt(self, postgres_server: PostgresServer) -> Generator[PostgresStorage]:
        database = postgres_server.create()
        yield PostgresStorage(database.dsn)
        postgres_server.drop(database)

    def take_lease_by_force(self, storage: BucketStorage) -> None:
        self.database.execute("UPDATE syncline.lease SET epoch = epoch + 1")
