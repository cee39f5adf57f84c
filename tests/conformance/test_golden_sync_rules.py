"""The recorded life of deployed sync configs (deploy, validate, current, reprocess), played step by step against ours."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from syncline.testing.postgres import ScratchDatabase
from syncline.testing.service_process import ServiceProcess, token
from syncline.testing.waiting import eventually_sync
from tests.conformance.golden_http import Exchange, Reply, ask, comparable, read_pretty_exchanges

ADMIN = "golden-admin-token"
ONE = "config:\n  edition: 3\nstreams:\n  all:\n    auto_subscribe: true\n    query: SELECT * FROM item\n"
TWO = ONE + "  other:\n    auto_subscribe: true\n    query: SELECT * FROM other\n"
UNKNOWN = ONE.replace("item", "nope")
BROKEN_SQL = ONE.replace("SELECT", "SELEC")
DEPLOY, VALIDATE, REPROCESS, CURRENT = (
    f"/api/sync-rules/v1/{name}" for name in ("deploy", "validate", "reprocess", "current")
)
DIAGNOSTICS, ADMIN_REPROCESS = "/api/admin/v1/diagnostics", "/api/admin/v1/reprocess"


@pytest.fixture
def source(postgres_database: ScratchDatabase) -> ScratchDatabase:
    postgres_database.execute(
        "CREATE TABLE item (id text PRIMARY KEY, name text); CREATE TABLE other (id text PRIMARY KEY, name text);"
        "INSERT INTO item SELECT 'i' || n, 'name' FROM generate_series(1, 3) n;"
        "CREATE PUBLICATION powersync FOR ALL TABLES"
    )
    return postgres_database


@pytest.fixture
def recorded() -> dict[str, Exchange]:
    exchanges = {exchange.label: exchange for exchange in read_pretty_exchanges("ops/sync-rules-api.http.txt")}
    assert len(exchanges) == 39
    return exchanges


class Play:
    """A service, and the recording that it is compared with."""

    def __init__(self, service: ServiceProcess, recorded: dict[str, Exchange]) -> None:
        self.service, self.recorded = service, recorded
        self.compared: set[str] = set()

    def ask(self, path: str, body: str | None = None, *, bearer: str = ADMIN, **headers: str) -> Reply:
        method = "GET" if path == CURRENT else "POST"
        sent = {"authorization": f"Bearer {bearer}"} | {name.replace("_", "-"): text for name, text in headers.items()}
        return ask(self.service.base_url, method, path, body=body, headers=sent)

    def check(self, label: str, path: str, body: str | None = None, **options: str) -> Reply:
        """The answer has the recorded status, keys and values."""
        exchange = self.recorded[label]
        assert exchange.path == path, label
        reply = self.ask(path, body, **options)
        assert reply.status == exchange.status, (label, reply.text)
        if reply.status == 415:
            # The reference answers with its framework's code; the protocol names this one.
            assert (reply.error["code"], reply.error["status"]) == ("PSYNC_S2004", 415)
        else:
            assert settled(comparable(reply.json)) == settled(comparable(exchange.answer)), label
        self.compared.add(label)
        return reply

    def wait_active(self, slot_name: str) -> None:
        def is_active() -> bool:
            standing = self.ask(DIAGNOSTICS, "{}").json["data"]
            connections = standing.get("active_sync_rules", {}).get("connections", [{}])
            return connections[0].get("slot_name") == slot_name and "deploying_sync_rules" not in standing

        eventually_sync(is_active, timeout_s=20, what=f"{slot_name} is active")

    def slot(self, reply: Reply) -> str:
        data = reply.json["data"]
        return data["slot_name"] if "slot_name" in data else data["connections"][0]["slot_name"]


def settled(answer: Any) -> Any:
    """Without what depends on the moment: whether a slot that is being made can be looked at already, how far a copy is."""
    deploying: dict[str, Any] = answer.get("data", {}).get("deploying_sync_rules", {})
    for connection in deploying.get("connections", []):
        for key in ("last_keepalive_ts", "replication_lag_bytes", "wal_status"):
            connection.pop(key, None)
        for table in connection["tables"]:
            table.pop("snapshot", None)
    return answer


@contextmanager
def slots_wait(source: ScratchDatabase) -> Generator[Callable[[], None]]:
    """No replication slot can be made until the yielded function is called: a write transaction is open."""
    with source.connect() as blocker:
        blocker.execute("BEGIN")
        blocker.execute("SELECT pg_current_xact_id()")

        def let_go() -> None:
            blocker.execute("ROLLBACK")

        yield let_go


@pytest.fixture
def play(source: ScratchDatabase, recorded: dict[str, Exchange], tmp_path: Path) -> Generator[Play]:
    """A service to which a sync config is deployed through the API."""
    service = ServiceProcess(tmp_path / "service", dsn=source.dsn, sync_config="", api={"tokens": [ADMIN]})
    path = service.folder / "service.yaml"
    path.write_text(path.read_text().replace("sync_config:\n  path: sync-config.yaml\n", ""))
    service.start(wait_ready=False)
    try:
        service.wait_log("Listening on")
        yield Play(service, recorded)
    finally:
        service.stop()


def check_nothing_deployed(play: Play) -> None:
    play.check("current, nothing deployed", CURRENT)
    play.check("diagnostics, nothing deployed", DIAGNOSTICS, "{}")
    play.check("reprocess, nothing deployed", REPROCESS)
    play.check("admin reprocess, nothing deployed", ADMIN_REPROCESS, "{}")
    headers = {"authorization": f"Token {token('user1')}"}
    stream = ask(play.service.base_url, "POST", "/sync/stream", body="{}", headers=headers)
    assert (stream.status, stream.error["code"], stream.error["name"]) == (500, "PSYNC_S2302", "ServiceError")


def check_validation(play: Play) -> None:
    texts = {"content_type": "text/plain"}
    play.check("validate ok", VALIDATE, ONE, **YAML_OPTION)
    play.check("validate ok as text/plain", VALIDATE, ONE, **texts)
    play.check("validate ok as application/json", VALIDATE, json.dumps({"content": ONE}))
    play.check("validate JSON text of the config itself", VALIDATE, json.dumps(ONE))
    play.check("validate warning: unknown table", VALIDATE, UNKNOWN, **YAML_OPTION)
    play.check("validate error", VALIDATE, "streams: 1", **YAML_OPTION)
    play.check("validate SQL error", VALIDATE, BROKEN_SQL, **YAML_OPTION)
    play.check("validate empty", VALIDATE, "", **YAML_OPTION)
    play.check("validate wrong media type", VALIDATE, ONE, content_type="application/xml")
    play.check("validate without token", VALIDATE, ONE, bearer="wrong", **YAML_OPTION)
    play.check("deploy error", DEPLOY, "streams: 1", **YAML_OPTION)
    play.check("deploy SQL error", DEPLOY, BROKEN_SQL, **YAML_OPTION)
    play.check("deploy wrong media type", DEPLOY, ONE, content_type="application/xml")
    play.check("deploy empty", DEPLOY, "", **YAML_OPTION)


YAML_OPTION = {"content_type": "application/yaml"}


def check_deploys(play: Play, source: ScratchDatabase) -> None:
    with slots_wait(source) as let_go:
        first = play.slot(play.check("deploy ok", DEPLOY, ONE, **YAML_OPTION))
        play.check("current just after", CURRENT)
        let_go()
    play.wait_active(first)
    play.check("current when active", CURRENT)
    with slots_wait(source) as let_go:
        second = play.slot(play.check("deploy the same again", DEPLOY, ONE, **YAML_OPTION))
        assert second != first
        play.check("deploy another", DEPLOY, json.dumps({"content": TWO}))
        play.check("current while deploying", CURRENT)
        fourth = play.slot(play.check("deploy while another is deploying", DEPLOY, ONE, **YAML_OPTION))
        play.check("reprocess while deploying", REPROCESS)
        play.check("admin reprocess while deploying", ADMIN_REPROCESS, "{}")
        let_go()
    play.wait_active(fourth)
    play.check("current after", CURRENT)
    with slots_wait(source) as let_go:
        fifth = play.slot(play.check("reprocess", REPROCESS))
        play.check("diagnostics just after reprocess", DIAGNOSTICS, "{}")
        let_go()
    play.wait_active(fifth)
    sixth = play.slot(play.check("admin reprocess", ADMIN_REPROCESS, "{}"))
    play.wait_active(sixth)
    with slots_wait(source) as let_go:
        play.check("deploy unknown table", DEPLOY, UNKNOWN, **YAML_OPTION)
        play.check("diagnostics after that", DIAGNOSTICS, "{}")
        let_go()


@pytest.mark.requirement(173, 190, 243)
def test_sync_configs_are_deployed_as_in_the_recording(play: Play, source: ScratchDatabase) -> None:
    check_nothing_deployed(play)
    check_validation(play)
    check_deploys(play, source)
    of_files = {label for label in play.recorded if label.startswith("config from a file")}
    assert play.compared == play.recorded.keys() - of_files
    # Old slots are dropped, or they would keep the source's log.
    serving = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"
    eventually_sync(lambda: source.execute(serving) == [(1,)], timeout_s=20, what="one slot is left")


@pytest.mark.requirement(171, 243)
def test_a_sync_config_of_a_file_can_be_copied_again_but_not_replaced(
    source: ScratchDatabase, recorded: dict[str, Exchange], tmp_path: Path
) -> None:
    with ServiceProcess(tmp_path / "service", dsn=source.dsn, sync_config=ONE, api={"tokens": [ADMIN]}) as service:
        play = Play(service, recorded)
        play.check("config from a file: current", CURRENT)
        play.check("config from a file: deploy", DEPLOY, TWO, **YAML_OPTION)
        play.check("config from a file: validate", VALIDATE, ONE, **YAML_OPTION)
        second = play.slot(play.check("config from a file: reprocess", REPROCESS))
        play.wait_active(second)
        play.check("config from a file: diagnostics after it", DIAGNOSTICS, "{}")
        third = play.slot(play.check("config from a file: admin reprocess", ADMIN_REPROCESS, "{}"))
        play.wait_active(third)
        service.stop()
        service.start()  # it goes on with the newest version
        play.wait_active(third)


def test_a_deployed_config_outlives_a_restart(play: Play) -> None:
    slot_name = play.slot(play.ask(DEPLOY, ONE, **YAML_OPTION))
    play.wait_active(slot_name)
    play.service.stop()
    play.service.start()
    play.wait_active(slot_name)
    assert play.ask(CURRENT).json["data"]["current"]["content"] == ONE


def test_an_invalid_file_leaves_what_was_deployed_in_place(source: ScratchDatabase, tmp_path: Path) -> None:
    options: dict[str, Any] = {"api": {"tokens": [ADMIN]}}
    kept = {"path": "sync-config.yaml", "exit_on_error": False}
    service = ServiceProcess(tmp_path / "service", dsn=source.dsn, sync_config=ONE, **options)
    path = service.folder / "service.yaml"
    path.write_text(path.read_text().replace("path: sync-config.yaml", f"path: {kept['path']}\n  exit_on_error: false"))
    with service:
        play = Play(service, {})
        (service.folder / "sync-config.yaml").write_text(BROKEN_SQL)
        service.stop()
        service.start()
        standing = play.ask(DIAGNOSTICS, '{"sync_rules_content": true}').json["data"]
        assert standing["active_sync_rules"]["content"] == ONE
        assert standing["deploying_sync_rules"]["content"] == BROKEN_SQL
        [error] = standing["deploying_sync_rules"]["errors"]
        assert error["level"] == "fatal"
        assert "line" in error["message"]
        source.execute("INSERT INTO item VALUES ('later', 'x')")
        headers = {"authorization": f"Token {token('user1')}"}
        stream = ask(service.base_url, "POST", "/sync/stream", body="{}", headers=headers)
        assert stream.status == 200
