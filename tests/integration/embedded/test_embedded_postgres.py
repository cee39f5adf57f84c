from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Generator
from pathlib import Path

import psycopg
import pytest

from syncline.embedded import EmbeddedPostgres
from syncline.embedded import binaries as binaries_module
from syncline.embedded.binaries import find_binaries
from syncline.errors import ConfigError, SourceUnavailable
from syncline.testing.postgres import ScratchDatabase


def test_the_server_is_ready_for_logical_replication_on_loopback(postgres_database: ScratchDatabase) -> None:
    assert postgres_database.execute("SHOW wal_level") == [("logical",)]
    assert postgres_database.execute("SHOW listen_addresses") == [("127.0.0.1",)]
    slot = postgres_database.execute("SELECT slot_name FROM pg_create_logical_replication_slot('probe', 'pgoutput')")
    assert slot == [("probe",)]


@pytest.fixture
def open_folder() -> Generator[Path]:
    """A folder that the server's user can reach: those of pytest are closed to others, and closed again by each of its runs."""
    with tempfile.TemporaryDirectory(prefix="syncline-kept-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_a_kept_data_directory_is_found_again(open_folder: Path) -> None:
    folder = open_folder / "pg"
    with (
        EmbeddedPostgres(data_directory=folder) as server,
        psycopg.connect(server.dsn(), autocommit=True) as connection,
    ):
        connection.execute("CREATE TABLE kept (id int)")
    with (
        EmbeddedPostgres(data_directory=folder) as server,
        psycopg.connect(server.dsn(), autocommit=True) as connection,
    ):
        assert connection.execute("SELECT count(*) FROM kept").fetchall() == [(0,)]
    assert folder.exists()


def test_a_temporary_server_leaves_nothing_behind() -> None:
    server = EmbeddedPostgres(settings={"wal_level": "replica"}).start()
    with psycopg.connect(server.dsn()) as connection:
        assert connection.execute("SHOW wal_level").fetchall() == [("replica",)]
    server.stop()
    server.stop()
    assert not server.data_directory.exists()
    assert server.pid is None


def test_a_server_that_does_not_start_shows_its_log() -> None:
    server = EmbeddedPostgres(settings={"shared_buffers": "nonsense"})
    with pytest.raises(SourceUnavailable, match="shared_buffers"):
        server.start()
    assert not server.data_directory.exists()


def test_a_data_directory_in_use_is_not_taken_from_its_server() -> None:
    with EmbeddedPostgres() as server:
        second = EmbeddedPostgres(data_directory=server.data_directory)
        with pytest.raises(SourceUnavailable, match=r"postmaster\.pid"):
            second.start()
        with psycopg.connect(server.dsn()) as connection:
            assert connection.execute("SELECT 1").fetchall() == [(1,)]


def test_a_server_that_was_killed_starts_again_on_its_data() -> None:
    server = EmbeddedPostgres(durable=True).start()
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (id int)")
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    server.restart()
    with psycopg.connect(server.dsn()) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchall() == [(0,)]
    server.stop()


def test_without_any_postgres_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(binaries_module.VARIABLE, raising=False)
    monkeypatch.setattr(binaries_module, "_wheel_package", lambda: None)
    monkeypatch.setattr(binaries_module, "_DEBIAN", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"syncline\[embedded\]"):
        find_binaries(readable_by_all=False)


def test_a_folder_named_by_the_environment_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(binaries_module.VARIABLE, str(tmp_path))
    with pytest.raises(ConfigError, match="without Postgres programs"):
        find_binaries(readable_by_all=False)
    (tmp_path / "initdb").touch()
    assert find_binaries(readable_by_all=False) == tmp_path
