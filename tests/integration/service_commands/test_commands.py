"""`migrate`, `compact`, `teardown` and `test-connection`, beside a running service and without one."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from syncline.testing.postgres import ScratchDatabase
from syncline.testing.service_process import ServiceProcess, free_port, token
from tests.support.command_line import run_command_line

MakeService = Callable[..., ServiceProcess]
SLOTS = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"


def test_the_life_of_a_storage(make_service: MakeService, storage: dict[str, object], source: ScratchDatabase) -> None:
    service = make_service(storage=storage)

    def run(*arguments: str) -> tuple[int, str]:
        done = run_command_line(service.folder, *arguments, "-c", "service.yaml")
        return done.code, done.text

    code, text = run("compact")
    assert (code, "nothing to compact" in text) == (1, True)
    code, text = run("migrate", "up")
    assert (code, "was made" in text) == (0, True)
    code, text = run("migrate", "up")
    assert (code, "already" in text) == (0, True)
    code, text = run("compact")
    assert (code, "Nothing is replicated" in text) == (0, True)
    source.execute("INSERT INTO lists SELECT n::text, 'x', 'u1' FROM generate_series(1, 50) AS n")
    service.start()
    try:
        beside_a_service(run)
        for number in range(3):
            source.execute(f"UPDATE lists SET name = 'y{number}'")
        wait_until_replicated(service)
    finally:
        assert service.stop() == 0
    code, text = run("compact", "--no-parameter-indexes")
    assert code == 0
    found = re.search(r"(\d+) buckets, (\d+) operations reduced to their checksums, (\d+) removed", text)
    assert found is not None
    assert int(found[2]) >= 50, text
    assert run("compact", "-b", "nope[]")[0] == 0
    assert run("compact", "--incremental-only", "-p")[0] == 0
    assert source.execute(SLOTS) == [(1,)]
    code, text = run("teardown", "TEARDOWN")
    assert (code, "was dropped" in text, "was removed" in text) == (0, True, True)
    assert source.execute(SLOTS) == [(0,)]
    assert source.execute("SELECT count(*) FROM pg_namespace WHERE nspname = 'syncline'") == [(0,)]
    assert not (service.storage / "storage.db").exists()
    code, text = run("teardown", "TEARDOWN")
    assert (code, "nothing to tear down" in text) == (1, True)


def beside_a_service(run: Callable[..., tuple[int, str]]) -> None:
    """A running service holds the lease: what needs it is refused or left to the service."""
    code, text = run("compact")
    assert (code, "compacts by itself" in text, "Expired checkpoint requests deleted: 0" in text) == (0, True, True)
    code, text = run("compact", "-b", "x[]")
    assert (code, "stop it first" in text) == (1, True)
    for command in (("migrate", "down"), ("teardown", "TEARDOWN")):
        code, text = run(*command)
        assert (code, "PSYNC_S1003" in text) == (1, True), text
    assert run("migrate", "up")[0] == 0
    code, text = run("test-connection")
    assert code == 0, text


def wait_until_replicated(service: ServiceProcess) -> None:
    """Return when a write checkpoint of now is reached: everything before it is stored then."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)
    headers = {"Authorization": f"Token {token('u1')}", "Content-Type": "application/json"}
    connection.request("GET", "/write-checkpoint2.json", headers=headers)
    wanted = int(json.loads(connection.getresponse().read())["data"]["write_checkpoint"])
    connection.request("POST", "/sync/stream", body="{}", headers=headers)
    response = connection.getresponse()
    reached = 0
    while reached < wanted:
        line = response.readline()
        assert line, "the stream ended before the write checkpoint"
        for kind in ("checkpoint", "checkpoint_diff"):
            reached = max(reached, int(json.loads(line).get(kind, {}).get("write_checkpoint") or 0))
    connection.close()


def test_migrating_down_and_up_again(make_service: MakeService, storage: dict[str, object]) -> None:
    service = make_service(storage=storage)

    def run(*arguments: str) -> tuple[int, str]:
        done = run_command_line(service.folder, "migrate", *arguments, "-c", "service.yaml")
        return done.code, done.text

    assert run("down")[0] == 1  # nothing is there
    assert run("up")[0] == 0
    code, text = run("down", "--to", "99")
    assert (code, "--to takes 0 to" in text) == (1, True)
    code, text = run("down", "--to", "1")
    assert (code, "back to 1" in text) == (0, True)
    serving = run_command_line(service.folder, "start", "-r", "api", "--workers", "0", "-c", "service.yaml")
    assert (serving.code, "syncline migrate up" in serving.err) == (150, True), (
        "a process that only serves migrates nothing"
    )
    code, text = run("up")
    assert (code, "from layout 1 to" in text) == (0, True)
    code, text = run("down")
    assert (code, "was removed" in text) == (0, True)
    assert run("up")[0] == 0


def test_without_auto_migration_the_service_waits_for_the_command(
    make_service: MakeService, storage: dict[str, object]
) -> None:
    service = make_service(storage=storage, migrations={"disable_auto_migration": True})
    service.start(wait_ready=False)
    assert service.wait() == 150
    assert "syncline migrate up" in service.log
    assert run_command_line(service.folder, "migrate", "up", "-c", "service.yaml").code == 0
    with service:
        pass


def test_teardown_keeps_storage_where_the_source_cannot_be_reached(make_service: MakeService, tmp_path: Path) -> None:
    service = make_service()
    with service:
        pass
    away = ServiceProcess(
        tmp_path / "away",
        dsn=f"postgresql://u:topsecret@127.0.0.1:{free_port()}/x",
        sync_config="",
        storage={"type": "sqlite", "path": str(service.storage)},
    )
    done = run_command_line(away.folder, "teardown", "TEARDOWN", "-c", "service.yaml")
    assert done.code == 1
    assert "SELECT pg_drop_replication_slot('syncline_" in done.err
    assert "topsecret" not in done.text
    assert (service.storage / "storage.db").exists()


def test_a_good_connection_is_shown_with_its_settings(make_service: MakeService, storage: dict[str, object]) -> None:
    service = make_service(storage=storage)
    done = run_command_line(service.folder, "test-connection", "-c", "service.yaml")
    assert done.code == 0, done.text
    for text in (
        "wal_level logical",
        "publication powersync with 1 tables",
        "replication connection is let in",
        "nothing is stored yet",
    ):
        assert text in done.out
    assert not service.storage.exists()


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("DROP PUBLICATION powersync", "CREATE PUBLICATION powersync"),
        ("ALTER PUBLICATION powersync SET (publish = 'insert')", "SET (publish = 'insert, update, delete, truncate')"),
    ],
)
def test_what_a_source_lacks_is_shown_with_the_sql(
    make_service: MakeService, source: ScratchDatabase, statement: str, says: str
) -> None:
    source.execute(statement)
    done = run_command_line(make_service().folder, "test-connection", "-c", "service.yaml")
    assert done.code == 1
    assert says in done.out


def test_a_source_and_a_storage_that_are_not_there_are_both_told(source: ScratchDatabase, tmp_path: Path) -> None:
    dsn = f"postgresql://u:topsecret@127.0.0.1:{free_port()}/x"
    nowhere = source.dsn.rpartition("/")[0] + "/nowhere"
    storage = {"type": "postgresql", "uri": nowhere, "sslmode": "disable"}
    service = ServiceProcess(tmp_path / "service", dsn=dsn, sync_config="", storage=storage)
    done = run_command_line(service.folder, "test-connection", "-c", "service.yaml")
    assert done.code == 1
    assert "PSYNC_S1120" in done.out
    assert 'database "nowhere" does not exist' in done.out
    assert "2 of these are in the way" in done.out
    assert "topsecret" not in done.text


def test_a_folder_that_cannot_hold_storage_is_told(make_service: MakeService, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    service = make_service(storage={"type": "sqlite", "path": str(tmp_path / "file" / "storage")})
    done = run_command_line(service.folder, "test-connection", "-c", "service.yaml")
    assert done.code == 1
    assert "Set storage.path" in done.out
