"""Recorded diagnostics of sources that are set up wrongly, and of one that is set up well: ours name the same, in the same places."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Protocol

import pytest

from syncline.embedded import EmbeddedPostgres
from syncline.embedded.ports import free_port
from syncline.failpoints import EXIT_STATUS, VARIABLE
from syncline.testing.postgres import PostgresServer, ScratchDatabase
from syncline.testing.service_process import ServiceProcess, token
from syncline.testing.waiting import eventually_sync
from tests.conformance.golden_http import GOLDEN, ask, comparable

ADMIN = "golden-admin-token"
ITEM = "CREATE TABLE item (id text PRIMARY KEY, name text)"
ROWS = "INSERT INTO item SELECT 'i' || n, 'name' FROM generate_series(1, 3) n"
PUBLICATION = "CREATE PUBLICATION powersync FOR ALL TABLES"
ONE = "config:\n  edition: 3\nstreams:\n  all:\n    auto_subscribe: true\n    query: SELECT * FROM item\n"
TWO = ONE + "  other:\n    auto_subscribe: true\n    query: SELECT * FROM other\n"

SOURCES: dict[str, tuple[str, str]] = {
    "01-missing-publication": (ITEM, ONE),
    "02-publication-without-delete": (f"{ITEM}; {PUBLICATION} WITH (publish = 'insert, update')", ONE),
    "03-publish-via-partition-root": (f"{ITEM}; {PUBLICATION} WITH (publish_via_partition_root)", ONE),
    "04-tables-missing-and-unpublished": (f"{ITEM}; {ROWS}; CREATE PUBLICATION powersync", TWO),
    "10-ok": (f"{ITEM}; {ROWS}; {PUBLICATION}", ONE),
}


class Start(Protocol):
    """Starts a service for a source with a sync config, and further settings; returns when it listens."""

    def __call__(self, dsn: str, sync_config: str, **settings: object) -> ServiceProcess: ...


def recorded(name: str) -> Any:
    lines = (GOLDEN / "ops" / "diagnostics" / f"{name}.txt").read_text().splitlines()
    return json.loads("\n".join(line for line in lines if not line.startswith("#"))[3:])


def diagnostics(service: ServiceProcess, body: str = "{}") -> Any:
    headers = {"authorization": f"Bearer {ADMIN}"}
    reply = ask(service.base_url, "POST", "/api/admin/v1/diagnostics", body=body, headers=headers)
    assert reply.status == 200
    return reply.json


@pytest.fixture
def start(tmp_path: Path) -> Generator[Start]:
    services: list[ServiceProcess] = []

    def start(dsn: str, sync_config: str, **settings: object) -> ServiceProcess:
        folder = tmp_path / f"service{len(services)}"
        service = ServiceProcess(folder, dsn=dsn, sync_config=sync_config, api={"tokens": [ADMIN]}, **settings)
        services.append(service)
        service.start(wait_ready=False)
        service.wait_log("Listening on")
        return service

    yield start
    for service in services:
        service.stop()


def findings(status: Any) -> Any:
    """Levels of findings, each once: how a text is cut into several is each service's own."""
    return sorted({finding["level"] for finding in status["errors"]})


def check(found: Any, expected: Any) -> None:
    """All keys and values agree but those of findings, of which the same levels stand in the same places.

    Our replicator's sign of life is there before the slot's first.
    """
    found, expected = found["data"], expected["data"]
    assert [(one["id"], one["connected"], findings(one)) for one in found["connections"]] == [
        (one["id"], one["connected"], findings(one)) for one in expected["connections"]
    ]
    assert found.keys() == expected.keys()
    for key in found.keys() - {"connections"}:
        assert findings(found[key]) == findings(expected[key])
        for ours, theirs in zip(found[key]["connections"], expected[key]["connections"], strict=True):
            if not ours["slot_name"]:
                # Ours is named when its version is made, which needs a source that can be replicated.
                assert not ours["initial_replication_done"]
                theirs["slot_name"] = ""
            if not ours["initial_replication_done"] and "last_keepalive_ts" not in theirs:
                ours.pop("last_keepalive_ts", None)
            for one in (ours, theirs):
                for table in one["tables"]:
                    table.pop("snapshot", None)
                    table["errors"] = findings(table)
            assert comparable(ours) == comparable(theirs)


def wait_and_check(
    service: ServiceProcess,
    expected: Any,
    prepare: Callable[[Any], Any] = lambda answer: answer,
    *,
    content: bool = False,
) -> None:
    """The first signs of life and checkpoints take a moment; what is wrong for good is then told by the comparison itself."""
    body = json.dumps({"sync_rules_content": content})

    def agrees() -> bool:
        try:
            check(prepare(diagnostics(service, body)), json.loads(json.dumps(expected)))
        except AssertionError:
            return False
        return True

    try:
        eventually_sync(agrees, timeout_s=20)
    except AssertionError:
        check(prepare(diagnostics(service, body)), expected)
        raise


@pytest.mark.requirement(175, 178)
@pytest.mark.parametrize("name", SOURCES)
def test_a_source_is_told_as_in_the_recording(name: str, postgres_database: ScratchDatabase, start: Start) -> None:
    sql, sync_config = SOURCES[name]
    postgres_database.execute(sql)
    wait_and_check(start(postgres_database.dsn, sync_config), recorded(name))


def test_a_database_that_is_not_there_and_a_server_that_is_not_there(
    postgres_database: ScratchDatabase, start: Start
) -> None:
    missing = start(postgres_database.dsn.replace(postgres_database.name, "no_such_database"), ONE)
    wait_and_check(missing, recorded("08-source-database-missing"))
    assert "no_such_database" in diagnostics(missing)["data"]["connections"][0]["errors"][0]["message"]
    missing.stop()
    unreachable = start(f"postgresql://nobody:topsecret@127.0.0.1:{free_port()}/x", ONE)
    wait_and_check(unreachable, recorded("09-source-unreachable"))
    told = json.dumps(diagnostics(unreachable))
    assert "topsecret" not in told
    assert "nobody" not in diagnostics(unreachable)["data"]["connections"][0]["postgres_uri"]


@pytest.mark.requirement(177, 178)
def test_the_budget_of_the_slot_is_told_where_the_source_has_one(
    start: Start,
) -> None:
    with PostgresServer() as server:  # of its own: the setting is the whole server's
        database = server.create()
        database.execute("ALTER SYSTEM SET max_slot_wal_keep_size = '20MB'")
        database.execute("SELECT pg_reload_conf()")
        database.execute(f"{ITEM}; {ROWS}; {PUBLICATION}")
        service = start(database.dsn, ONE)
        expected = recorded("20-slot-budget-known")
        wait_and_check(service, expected)
        [connection] = diagnostics(service)["data"]["active_sync_rules"]["connections"]
        assert connection["max_slot_wal_keep_size"] == 20 * 1024 * 1024
        assert 0 < connection["safe_wal_size"] <= 40 * 1024 * 1024
        service.stop()


def test_texts_of_sync_configs_are_told_where_they_are_asked_for(
    postgres_database: ScratchDatabase, start: Start
) -> None:
    postgres_database.execute(f"{ITEM}; {PUBLICATION}")
    service = start(postgres_database.dsn, ONE)
    service.wait_ready()
    assert diagnostics(service, '{"sync_rules_content": true}')["data"]["active_sync_rules"]["content"] == ONE
    assert "content" not in diagnostics(service, '{"sync_rules_content": false}')["data"]["active_sync_rules"]


@pytest.mark.requirement(177, 178)
def test_a_slot_that_was_lost_while_the_service_was_down_is_told_and_replaced(
    start: Start,
) -> None:
    with PostgresServer() as server:  # of its own: the setting is the whole server's
        database = server.create()
        database.execute("ALTER SYSTEM SET max_slot_wal_keep_size = '20MB'")
        database.execute("SELECT pg_reload_conf()")
        database.execute(f"{ITEM}; {ROWS}; {PUBLICATION}")
        service = start(database.dsn, ONE)
        service.wait_ready()
        service.stop()
        lose_slot(database)
        with database.connect() as blocker:
            blocker.execute("BEGIN")
            blocker.execute("SELECT pg_current_xact_id()")  # a new slot can be made when this has ended
            service.start()
            wait_and_check(service, without_times(recorded("21-slot-lost-just-after-start")), without_times)
            check_first_line(service, (GOLDEN / "ops/diagnostics/22-slot-lost-stream.ndjson").read_text())
            blocker.execute("ROLLBACK")
        wait_and_check(service, recorded("22-slot-lost-later"))
        wait_and_check(service, recorded("23-slot-lost-after-reconnect"))
        slots = "SELECT count(*) FROM pg_replication_slots"
        eventually_sync(lambda: database.execute(slots) == [(1,)], timeout_s=20, what="the lost slot is dropped")
        service.stop()


def check_first_line(service: ServiceProcess, recorded_lines: str) -> None:
    """The version whose slot was lost still serves what it has."""
    headers = {"authorization": f"Token {token('user1')}"}
    ours = ask(service.base_url, "POST", "/sync/stream", body="{}", headers=headers).json["checkpoint"]
    theirs = json.loads(recorded_lines.splitlines()[0])["checkpoint"]
    assert ours["streams"] == theirs["streams"]
    for checkpoint in (ours, theirs):
        for bucket in checkpoint["buckets"]:
            bucket["bucket"] = bucket["bucket"].partition("#")[2]  # without the number of the version
            del bucket["checksum"]  # of other columns
    assert ours["buckets"] == theirs["buckets"]


def lose_slot(database: ScratchDatabase) -> None:
    """Write so much log that the only slot of the server, which nobody reads from, is given up."""
    for _ in range(8):
        database.execute("SELECT pg_logical_emit_message(false, 'filler', repeat('x', 8000000)), pg_switch_wal()")
    database.execute("CHECKPOINT")
    assert database.execute("SELECT wal_status FROM pg_replication_slots") == [("lost",)]


def without_times(answer: Any) -> Any:
    """A status without what the running process alone knows: it has made no checkpoint since it was started, and may wait."""
    waiting = answer["data"].get("deploying_sync_rules", {})
    waiting["errors"] = [error for error in waiting.get("errors", []) if error["level"] == "fatal"]
    for key in ("active_sync_rules", "deploying_sync_rules"):
        for connection in answer["data"].get(key, {}).get("connections", []):
            connection.pop("last_keepalive_ts", None)
            connection.pop("last_checkpoint_ts", None)
            if key == "deploying_sync_rules":  # whether its slot can be seen while it is being made
                for name in ("wal_status", "replication_lag_bytes", "safe_wal_size", "max_slot_wal_keep_size"):
                    connection.pop(name, None)
    return answer


@pytest.fixture
def role(postgres_database: ScratchDatabase) -> Generator[Callable[[str], str]]:
    """Makes a role with these attributes, and a table with row-level security that nobody may read yet; returns the role's name."""
    name = f"syncline_role_{uuid.uuid4().hex[:12]}"

    def make(attributes: str) -> str:
        postgres_database.execute(f"{ITEM}; {ROWS}; {PUBLICATION}; CREATE ROLE {name} LOGIN {attributes}")
        return name

    yield make
    postgres_database.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


def dsn_of(database: ScratchDatabase, role: str) -> str:
    return database.dsn.replace("postgres@", f"{role}@")


def broken_off(expected: Any) -> Any:
    """The status of a config that serves, as it is where its first copy was refused."""
    status = expected["data"].pop("active_sync_rules")
    for connection in status["connections"]:
        connection["initial_replication_done"] = False
        for name in ("last_lsn", "last_checkpoint_ts"):
            del connection[name]
    status["errors"].append({"level": "fatal", "message": "rows are hidden"})
    expected["data"]["deploying_sync_rules"] = status
    return expected


@pytest.mark.requirement(175, 178)
def test_row_level_security_is_told_as_in_the_recording_and_nothing_is_served_without_the_hidden_rows(
    postgres_database: ScratchDatabase, role: Callable[[str], str], start: Start
) -> None:
    name = role("REPLICATION")
    postgres_database.execute(f"GRANT SELECT ON item TO {name}; ALTER TABLE item ENABLE ROW LEVEL SECURITY")
    service = start(dsn_of(postgres_database, name), ONE)
    wait_and_check(service, broken_off(recorded("05-rls-without-bypass")))
    assert f"ALTER ROLE {name} BYPASSRLS" in json.dumps(diagnostics(service))
    postgres_database.execute(f"ALTER ROLE {name} BYPASSRLS")
    wait_and_check(service, recorded("10-ok"))


@pytest.mark.requirement(175, 178)
def test_a_role_that_may_not_replicate_is_told_as_in_the_recording_and_heals_without_a_restart(
    postgres_database: ScratchDatabase, role: Callable[[str], str], start: Start
) -> None:
    name = role("NOREPLICATION BYPASSRLS")
    postgres_database.execute(f"GRANT SELECT ON item TO {name}; ALTER TABLE item ENABLE ROW LEVEL SECURITY")
    service = start(dsn_of(postgres_database, name), ONE)
    wait_and_check(service, recorded("06-role-without-replication"))
    [waiting] = diagnostics(service)["data"]["deploying_sync_rules"]["connections"]
    postgres_database.execute(f"ALTER ROLE {name} REPLICATION")
    wait_and_check(service, recorded("10-ok"))
    [active] = diagnostics(service)["data"]["active_sync_rules"]["connections"]
    assert active["slot_name"] == waiting["slot_name"]  # every attempt was for the same version
    assert "is dropped" not in service.log


@pytest.mark.requirement(175, 178)
def test_a_table_that_the_role_may_not_read_is_told_as_in_the_recording_and_heals_without_a_restart(
    postgres_database: ScratchDatabase, role: Callable[[str], str], start: Start
) -> None:
    name = role("REPLICATION")
    service = start(dsn_of(postgres_database, name), ONE)
    wait_and_check(service, recorded("07-no-select-right"))
    postgres_database.execute(f"GRANT SELECT ON item TO {name}")
    wait_and_check(service, recorded("10-ok"))


@pytest.mark.requirement(175, 178)
def test_a_server_without_logical_log_is_told_as_in_the_recording(
    start: Start,
) -> None:
    with EmbeddedPostgres(settings={"wal_level": "replica"}) as server:
        database = ScratchDatabase(server.dsn(), "postgres")
        database.execute(f"{ITEM}; {ROWS}; {PUBLICATION}")
        service = start(database.dsn, ONE)
        wait_and_check(service, recorded("15-wal-level-replica"))
        service.stop()


@pytest.mark.requirement(177, 178)
def test_a_slot_that_was_lost_in_the_first_copy_is_told_and_replaced(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    with PostgresServer() as server:  # of its own: the setting is the whole server's
        database = server.create()
        database.execute("ALTER SYSTEM SET max_slot_wal_keep_size = '20MB'")
        database.execute("SELECT pg_reload_conf()")
        database.execute(f"{ITEM}; {ROWS}; {PUBLICATION}")
        monkeypatch.setenv(VARIABLE, "before-table-snapshot-done")
        service = start(database.dsn, ONE)
        assert service.wait() == EXIT_STATUS
        monkeypatch.delenv(VARIABLE)
        [(lost,)] = database.execute("SELECT slot_name FROM pg_replication_slots")
        lose_slot(database)
        with database.connect() as blocker:
            blocker.execute("BEGIN")
            blocker.execute("SELECT pg_current_xact_id()")  # a new slot can be made when this has ended
            service.start(wait_ready=False)
            service.wait_log("PSYNC_S1146")
            expected = without_times(recorded("24-slot-lost-in-first-snapshot"))
            expected["data"]["deploying_sync_rules"]["errors"] = []  # its replacement has none: it only waits
            wait_and_check(service, expected, without_times)
            blocker.execute("ROLLBACK")
        wait_and_check(service, recorded("20-slot-budget-known"))
        [(slot,)] = database.execute("SELECT slot_name FROM pg_replication_slots")
        assert slot != lost
        service.stop()


@pytest.mark.requirement(178)
def test_a_config_that_replaces_another_is_told_as_in_the_recordings(
    postgres_database: ScratchDatabase, start: Start
) -> None:
    other = (
        "CREATE TABLE other (LIKE item INCLUDING ALL); INSERT INTO other SELECT n, n FROM generate_series(1, 150000) n"
    )
    postgres_database.execute(f"{ITEM}; {ROWS}; {other}; {PUBLICATION}")  # seconds to copy
    service = start(postgres_database.dsn, ONE)
    wait_and_check(service, recorded("10-ok"))
    service.stop()
    (service.folder / "sync-config.yaml").write_text(TWO)
    with postgres_database.connect() as blocker:
        blocker.execute("BEGIN")
        blocker.execute("SELECT pg_current_xact_id()")  # no slot can be made until this has ended
        service.start()  # the version before serves
        wait_and_check(service, without_times(recorded("12-deploying-early")), without_times)
        blocker.execute("ROLLBACK")
        wait_and_check(service, of_a_new_process(recorded("13-deploying-snapshot")), of_a_new_process, content=True)
    wait_and_check(service, recorded("14-deployed"))


@pytest.mark.requirement(178)
def test_a_second_process_on_the_same_storage_is_invisible_as_in_the_recording(
    postgres_database: ScratchDatabase, start: Start
) -> None:
    postgres_database.execute(f"{ITEM}; {ROWS}; {PUBLICATION}")
    storage = {"type": "postgresql", "uri": postgres_database.dsn, "sslmode": "disable"}
    first = start(postgres_database.dsn, ONE, storage=storage)
    first.wait_ready()
    start(postgres_database.dsn, ONE, storage=storage).wait_log("stands by")
    wait_and_check(first, recorded("11-second-process-on-the-same-storage"))


def of_a_new_process(answer: Any) -> Any:
    """The reference's process ran on, and knew when it had made its newest checkpoint."""
    for connection in answer["data"].get("active_sync_rules", {}).get("connections", []):
        connection.pop("last_keepalive_ts", None)
        connection.pop("last_checkpoint_ts", None)
    return answer
