"""Bucket storage in Postgres is derived as that in SQLite is: dropped or set back, it is made anew, and no device keeps a dead row."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Generator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from syncline.testing.postgres import PostgresServer, ScratchDatabase
from syncline.testing.service_process import ServiceProcess
from syncline.testing.waiting import eventually
from tests.acceptance.conftest import SYNC_CONFIG
from tests.acceptance.devices import connected_device, shows

FIFTY_ROWS = "INSERT INTO lists SELECT 'l' || n, 'name', 'u1' FROM generate_series(1, 50) n"
FORGOTTEN = (
    "SELECT bool_and(confirmed_flush_lsn >= %s::pg_lsn) FROM pg_replication_slots WHERE database = current_database()"
)


class StorageDatabase:
    """The database of a service's buckets, with a copy of it. Nobody is connected to it while it is copied or put back."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._copy: ScratchDatabase | None = None
        self.database = server.create()

    def back_up(self) -> None:
        """Keep a copy of it as it is."""
        self._copy = self._server.create(template=self.database)

    def restore(self) -> None:
        """Put the copy in its place."""
        assert self._copy is not None
        self.drop()
        with psycopg.connect(self._copy.dsn.rpartition("/")[0] + "/postgres", autocommit=True) as connection:
            names = sql.Identifier(self._copy.name), sql.Identifier(self.database.name)
            connection.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(*names))

    def drop(self) -> None:
        """Drop it, whoever is connected to it."""
        self._server.drop(self.database)

    def make_again(self) -> None:
        """An empty database of its name."""
        with psycopg.connect(self.database.dsn.rpartition("/")[0] + "/postgres", autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(self.database.name)))


@pytest.fixture
def buckets(postgres_server: PostgresServer) -> Generator[StorageDatabase]:
    """A database beside the source."""
    storage = StorageDatabase(postgres_server)
    yield storage
    storage.drop()


@pytest.fixture
def on_postgres(source: ScratchDatabase, buckets: StorageDatabase, tmp_path: Path) -> Generator[ServiceProcess]:
    """A service that keeps its buckets there."""
    storage = {"type": "postgresql", "uri": buckets.database.dsn, "sslmode": "disable"}
    with ServiceProcess(tmp_path / "service", dsn=source.dsn, sync_config=SYNC_CONFIG, storage=storage) as process:
        yield process


@pytest.mark.requirement(181)
async def test_a_database_dropped_under_connected_clients_is_rebuilt(
    on_postgres: ServiceProcess, buckets: StorageDatabase, source: ScratchDatabase, tmp_path: Path
) -> None:
    source.execute(FIFTY_ROWS)
    async with connected_device(on_postgres, tmp_path / "client.db") as db:
        await shows(db, source)
        buckets.drop()  # the service runs, and the device is connected
        source.execute("DELETE FROM lists WHERE id LIKE 'l1%'; UPDATE lists SET name = 'new' WHERE id LIKE 'l2%'")
        on_postgres.kill()
        buckets.make_again()
        await asyncio.to_thread(on_postgres.start)
        await shows(db, source)


@pytest.mark.requirement(181)
async def test_a_schema_dropped_under_connected_clients_is_rebuilt(
    on_postgres: ServiceProcess, buckets: StorageDatabase, source: ScratchDatabase, tmp_path: Path
) -> None:
    source.execute(FIFTY_ROWS)
    async with connected_device(on_postgres, tmp_path / "client.db") as db:
        await shows(db, source)
        await asyncio.to_thread(buckets.database.execute, "DROP SCHEMA syncline CASCADE")
        source.execute("DELETE FROM lists WHERE id LIKE 'l1%'; UPDATE lists SET name = 'new' WHERE id LIKE 'l2%'")
        on_postgres.kill()
        await asyncio.to_thread(on_postgres.start)
        await shows(db, source)


@pytest.mark.requirement(181)
async def test_files_deleted_under_a_running_service_are_rebuilt(
    service: ServiceProcess, source: ScratchDatabase, tmp_path: Path
) -> None:
    source.execute(FIFTY_ROWS)
    async with connected_device(service, tmp_path / "client.db") as db:
        await shows(db, source)
        shutil.rmtree(service.storage)
        source.execute("DELETE FROM lists WHERE id LIKE 'l1%'; UPDATE lists SET name = 'new' WHERE id LIKE 'l2%'")
        service.kill()
        await asyncio.to_thread(service.start)
        await shows(db, source)


@pytest.mark.requirement(240)
async def test_a_database_restored_from_an_older_copy_is_never_silently_stale(
    on_postgres: ServiceProcess, buckets: StorageDatabase, source: ScratchDatabase, tmp_path: Path
) -> None:
    source.execute(FIFTY_ROWS)
    async with connected_device(on_postgres, tmp_path / "client.db") as db:
        await shows(db, source)
        on_postgres.kill()
        await asyncio.to_thread(buckets.back_up)
        await asyncio.to_thread(on_postgres.start)
        source.execute("DELETE FROM lists WHERE id LIKE 'l1%'; INSERT INTO lists VALUES ('later', 'x', 'u1')")
        [(head,)] = source.execute("SELECT pg_current_wal_insert_lsn()::text")
        await shows(db, source)
        source.execute("UPDATE lists SET name = 'seen' WHERE id = 'l50'")  # a commit behind which the source forgets
        await eventually(lambda: source.execute(FORGOTTEN, (head,)) == [(True,)], timeout_s=20, what="it is forgotten")
        on_postgres.kill()
        await asyncio.to_thread(buckets.restore)
        source.execute("DELETE FROM lists WHERE id LIKE 'l2%'; UPDATE lists SET name = 'newest' WHERE id = 'l3'")
        await asyncio.to_thread(on_postgres.start)
        await shows(db, source)
