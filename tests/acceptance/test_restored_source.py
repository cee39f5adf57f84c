"""The source is set back to an older state: the service notices, begins a new version, and no device stays with what is gone.

The copy is one of the server's files, as a snapshot of a disk is: same system, same timeline, slot included. (A restore by recovery has
a timeline of its own, which is noticed by that alone.)
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest

from syncline.embedded import EmbeddedPostgres
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.service_process import ServiceProcess
from tests.acceptance.conftest import PUBLICATION, SOURCE_SQL, SYNC_CONFIG
from tests.acceptance.devices import connected_device, shows


class RestorableSource(EmbeddedPostgres):
    """A server whose files can be copied and put back while it is stopped."""

    @property
    def database(self) -> ScratchDatabase:
        """The source."""
        return ScratchDatabase(self.dsn(), "postgres")

    def back_up(self) -> None:
        """Copy the files, with the server stopped, and start it again."""
        self.stop(keep_folder=True)
        subprocess.run(["cp", "-a", self._cluster, self._copy], check=True)
        self.restart()

    def restore(self) -> None:
        """Put the copy in place of the files, and start on it."""
        self.stop(keep_folder=True)
        shutil.rmtree(self._cluster)
        subprocess.run(["cp", "-a", self._copy, self._cluster], check=True)
        self.restart()

    @property
    def _copy(self) -> Path:
        return self.data_directory / "copy"


@pytest.fixture
def server() -> Generator[RestorableSource]:
    """A source with fifty rows of u1."""
    with RestorableSource() as server:
        server.database.execute(f"{SOURCE_SQL}; {PUBLICATION}")
        server.database.execute("INSERT INTO lists SELECT 'l' || n, 'name', 'u1' FROM generate_series(1, 50) n")
        yield server


def kinds(*of_a_slice: str) -> tuple[str, ...]:
    """Where the buckets are: everywhere in a soak, else only there."""
    return ("sqlite", "postgres", "source") if os.environ.get("SYNCLINE_SOAK") else of_a_slice


@pytest.fixture
def restored(
    request: pytest.FixtureRequest, server: RestorableSource, postgres_database: ScratchDatabase, tmp_path: Path
) -> Generator[ServiceProcess]:
    """A service with its buckets in SQLite, in another Postgres, or in the source itself: those are restored with it."""
    kinds = {"postgres": postgres_database.dsn, "source": server.dsn()}
    storage: dict[str, object] = {"type": "sqlite", "path": "storage"}
    if request.param in kinds:
        storage = {"type": "postgresql", "uri": kinds[request.param], "sslmode": "disable"}
    with ServiceProcess(tmp_path / "service", dsn=server.dsn(), sync_config=SYNC_CONFIG, storage=storage) as process:
        yield process


def lose(database: ScratchDatabase) -> None:
    """Changes that the restore takes back: rows that came, went and changed."""
    database.execute("INSERT INTO lists SELECT 'lost' || n, 'name', 'u1' FROM generate_series(1, 20) n")
    database.execute("DELETE FROM lists WHERE id LIKE 'l1%'; UPDATE lists SET name = 'lost' WHERE id LIKE 'l2%'")


def go_on(database: ScratchDatabase) -> None:
    """Changes after the restore, in rows of which some were touched before it."""
    database.execute("DELETE FROM lists WHERE id = 'l3'; UPDATE lists SET name = 'after' WHERE id IN ('l4', 'l11')")
    database.execute("INSERT INTO lists VALUES ('lost1', 'again', 'u1'), ('new', 'new', 'u1')")


@pytest.mark.requirement(241)
@pytest.mark.parametrize("restored", kinds("source"), indirect=True)
async def test_a_source_set_back_while_the_service_runs(
    restored: ServiceProcess, server: RestorableSource, tmp_path: Path
) -> None:
    async with connected_device(restored, tmp_path / "client.db") as db:
        await shows(db, server.database)
        await asyncio.to_thread(server.back_up)
        lose(server.database)
        await shows(db, server.database)
        await asyncio.to_thread(server.restore)
        go_on(server.database)
        await shows(db, server.database)


@pytest.mark.requirement(241)
@pytest.mark.parametrize("restored", kinds("postgres"), indirect=True)
async def test_a_source_set_back_while_the_service_is_down(
    restored: ServiceProcess, server: RestorableSource, tmp_path: Path
) -> None:
    async with connected_device(restored, tmp_path / "client.db") as db:
        await shows(db, server.database)
        await asyncio.to_thread(server.back_up)
        lose(server.database)
        await shows(db, server.database)
        restored.kill()
        await asyncio.to_thread(server.restore)
        go_on(server.database)
        await asyncio.to_thread(restored.start)
        await shows(db, server.database)


def pass_the_old_end(database: ScratchDatabase, position: str) -> None:
    """Write until the log is longer than it ever was: its length does not tell any more that it was set back."""
    while database.execute("SELECT pg_current_wal_insert_lsn() <= %s::pg_lsn", (position,)) == [(True,)]:
        database.execute("INSERT INTO lists SELECT 'x' || n, 'of another user', 'u2' FROM generate_series(1, 500) n")
        database.execute("DELETE FROM lists WHERE owner_id = 'u2'")


@pytest.mark.requirement(241)
@pytest.mark.parametrize("restored", kinds("sqlite", "source"), indirect=True)
async def test_a_source_set_back_whose_log_is_longer_again_when_the_service_comes(
    restored: ServiceProcess, server: RestorableSource, tmp_path: Path
) -> None:
    async with connected_device(restored, tmp_path / "client.db") as db:
        await shows(db, server.database)
        await asyncio.to_thread(server.back_up)
        lose(server.database)
        await shows(db, server.database)
        [(end,)] = server.database.execute("SELECT pg_current_wal_insert_lsn()::text")
        restored.kill()
        await asyncio.to_thread(server.restore)
        go_on(server.database)
        pass_the_old_end(server.database, end)
        await asyncio.to_thread(restored.start)
        await shows(db, server.database)
