"""Recorded diagnostics of sources that are set up wrongly, and of one that is set up well: ours name the same, in the same places."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from syncline.embedded.ports import free_port
from syncline.testing.postgres import PostgresServer, ScratchDatabase
from syncline.testing.service_process import ServiceProcess
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


def recorded(name: str) -> Any:
    lines = (GOLDEN / "ops" / "diagnostics" / f"{name}.txt").read_text().splitlines()
    return json.loads("\n".join(line for line in lines if not line.startswith("#"))[3:])


def diagnostics(service: ServiceProcess, body: str = "{}") -> Any:
    headers = {"authorization": f"Bearer {ADMIN}"}
    reply = ask(service.base_url, "POST", "/api/admin/v1/diagnostics", body=body, headers=headers)
    assert reply.status == 200
    return reply.json


@pytest.fixture
def start(tmp_path: Path) -> Generator[Callable[[str, str], ServiceProcess]]:
    services: list[ServiceProcess] = []

    def start(dsn: str, sync_config: str) -> ServiceProcess:
        service = ServiceProcess(
            tmp_path / f"service{len(services)}", dsn=dsn, sync_config=sync_config, api={"tokens": [ADMIN]}
        )
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
    """All keys and values agree but those of findings, of which the same levels stand in the same places."""
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
            for one in (ours, theirs):
                for table in one["tables"]:
                    table.pop("snapshot", None)
                    table["errors"] = findings(table)
            assert comparable(ours) == comparable(theirs)


def agrees(service: ServiceProcess, expected: Any, prepare: Callable[[Any], Any]) -> Callable[[], bool]:
    def look() -> bool:
        try:
            check(prepare(diagnostics(service)), json.loads(json.dumps(expected)))
        except AssertionError:
            return False
        return True

    return look


def wait_and_check(
    service: ServiceProcess, expected: Any, prepare: Callable[[Any], Any] = lambda answer: answer
) -> None:
    """The first signs of life and checkpoints take a moment; what is wrong for good is then told by the comparison itself."""
    try:
        eventually_sync(agrees(service, expected, prepare), timeout_s=20)
    except AssertionError:
        check(prepare(diagnostics(service)), expected)
        raise


@pytest.mark.requirement(175, 178)
@pytest.mark.parametrize("name", SOURCES)
def test_a_source_is_told_as_in_the_recording(
    name: str, postgres_database: ScratchDatabase, start: Callable[[str, str], ServiceProcess]
) -> None:
    sql, sync_config = SOURCES[name]
    postgres_database.execute(sql)
    wait_and_check(start(postgres_database.dsn, sync_config), recorded(name))


def test_a_database_that_is_not_there_and_a_server_that_is_not_there(
    postgres_database: ScratchDatabase, start: Callable[[str, str], ServiceProcess]
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
    start: Callable[[str, str], ServiceProcess],
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
    postgres_database: ScratchDatabase, start: Callable[[str, str], ServiceProcess]
) -> None:
    postgres_database.execute(f"{ITEM}; {PUBLICATION}")
    service = start(postgres_database.dsn, ONE)
    service.wait_ready()
    assert diagnostics(service, '{"sync_rules_content": true}')["data"]["active_sync_rules"]["content"] == ONE
    assert "content" not in diagnostics(service, '{"sync_rules_content": false}')["data"]["active_sync_rules"]


@pytest.mark.requirement(177, 178)
def test_a_slot_that_was_lost_while_the_service_was_down_is_told_and_replaced(
    start: Callable[[str, str], ServiceProcess],
) -> None:
    with PostgresServer() as server:  # of its own: the setting is the whole server's
        database = server.create()
        database.execute("ALTER SYSTEM SET max_slot_wal_keep_size = '20MB'")
        database.execute("SELECT pg_reload_conf()")
        database.execute(f"{ITEM}; {ROWS}; {PUBLICATION}")
        service = start(database.dsn, ONE)
        service.wait_ready()
        service.stop()
        for _ in range(8):
            database.execute("SELECT pg_logical_emit_message(false, 'filler', repeat('x', 8000000)), pg_switch_wal()")
        database.execute("CHECKPOINT")
        assert database.execute("SELECT wal_status FROM pg_replication_slots") == [("lost",)]
        with database.connect() as blocker:
            blocker.execute("BEGIN")
            blocker.execute("SELECT pg_current_xact_id()")  # a new slot can be made when this has ended
            service.start()
            wait_and_check(service, without_times(recorded("21-slot-lost-just-after-start")), without_times)
            blocker.execute("ROLLBACK")
        wait_and_check(service, recorded("22-slot-lost-later"))
        slots = "SELECT count(*) FROM pg_replication_slots"
        eventually_sync(lambda: database.execute(slots) == [(1,)], timeout_s=20, what="the lost slot is dropped")
        service.stop()


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
