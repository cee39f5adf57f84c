"""The admin API of a running service: SQL, revocation, tokens, limits, deploys over both storages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from syncline.replication.inspection import SQL_RESULT_ROWS_MAX
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.service_process import ServiceProcess, token
from syncline.testing.waiting import eventually_sync
from tests.conformance.golden_http import Reply, ask
from tests.integration.admin.conftest import ADMIN, SYNC_CONFIG, Start, admin


def run_sql(service: ServiceProcess, query: str, *args: Any, **more: Any) -> dict[str, Any]:
    reply = admin(service, "execute-sql", json.dumps({"sql": {"query": query, "args": args}, **more}))
    assert reply.status == 200
    return reply.json["data"]


def test_sql_runs_read_only_within_bounds_where_it_is_allowed(start: Start, source: ScratchDatabase) -> None:
    service = start(debug_api=True)
    assert run_sql(service, "SELECT id, $1::int AS n, NULL AS x, 1.5::float8 AS f FROM lists", 7) == {
        "success": True,
        "results": {"columns": ["id", "n", "x", "f"], "rows": [["l1", 7, None, 1.5]]},
    }
    assert run_sql(service, "SELECT 'a'::bytea, '{\"a\":1}'::jsonb, 'NaN'::float8, now() > '2020-01-01'")["results"][
        "rows"
    ] == [["61", '{"a": 1}', "nan", True]]
    for query in ("DELETE FROM lists", "SELECT 1; COMMIT; DELETE FROM lists", "SELEC", "SELECT pg_sleep(60)"):
        answer = run_sql(service, query)
        assert not answer["success"], query
        assert answer["error"]
    assert source.execute("SELECT count(*) FROM lists") == [(1,)]
    assert run_sql(service, f"SELECT generate_series(1, {SQL_RESULT_ROWS_MAX})")["success"]
    assert "rows" in run_sql(service, "SELECT generate_series(1, 100000000)")["error"]
    assert "bytes" in run_sql(service, "SELECT repeat('x', 100000) FROM generate_series(1, 100)")["error"]
    assert "no connection" in run_sql(service, "SELECT 1", connection_id="other")["error"]


def test_wrong_fields_are_told_before_a_wrong_token(start: Start) -> None:
    service = start()
    for path, body in (
        ("diagnostics", '{"sync_rules_content": "perhaps"}'),
        ("validate", "{}"),
        ("validate", '{"sync_rules": 7}'),
        ("execute-sql", '{"sql": "SELECT 1"}'),
        ("execute-sql", '{"sql": {"query": "SELECT 1", "args": [[1]]}}'),
        ("execute-sql", json.dumps({"sql": {"query": "x" * 100_001}})),
        ("revoke", "{}"),
        ("connections", '{"user_id": 7}'),
    ):
        reply = admin(service, path, body, bearer="wrong")
        assert (reply.status, reply.error["code"], reply.error["name"]) == (400, "PSYNC_S2001", "ValidationError"), path
        assert isinstance(json.loads(reply.error["details"]), list)
    assert admin(service, "diagnostics", "{}", bearer="wrong").status == 401
    assert admin(service, "diagnostics", " " * 5_000_000).status == 413


@pytest.mark.requirement(190)
def test_without_tokens_in_the_configuration_nobody_administers(start: Start) -> None:
    service = start()
    path = service.folder / "service.yaml"
    path.write_text(path.read_text().replace(f"- {ADMIN}", "").replace("tokens:", "tokens: []"))
    service.stop()
    service.start()
    for bearer in ("", ADMIN, "null"):
        reply = admin(service, "diagnostics", bearer=bearer)
        assert (reply.status, reply.error["code"]) == (401, "PSYNC_S2101")
    assert ask(service.base_url, "GET", "/dashboard").status == 404
    assert "The dashboard was asked for and is off" in service.log
    for method, route in (("GET", "/api/sync-rules/v1/current"), ("POST", "/api/sync-rules/v1/deploy")):
        reply = ask(service.base_url, method, route, body="{}" if method == "POST" else None)
        assert reply.status == (401 if method == "GET" else 400)


def open_stream(service: ServiceProcess, user_id: str) -> Reply:
    headers = {"authorization": f"Token {token(user_id)}"}
    return ask(service.base_url, "POST", "/sync/stream", body="{}", headers=headers)


def test_a_revoked_user_is_refused_also_after_a_restart_until_it_is_taken_back(start: Start) -> None:
    service = start()
    assert open_stream(service, "u1").status == 200
    answer = admin(service, "revoke", '{"user_id": "u1"}').json["data"]
    assert answer["user_id"] == "u1"
    refused = open_stream(service, "u1")
    assert (refused.status, refused.error["code"]) == (401, "PSYNC_S2101")
    assert open_stream(service, "u2").status == 200
    service.stop()
    service.start()
    assert open_stream(service, "u1").status == 401
    assert admin(service, "revoke", '{"user_id": "u1", "until": 0}').status == 200
    assert open_stream(service, "u1").status == 200


@pytest.mark.requirement(173, 178)
def test_deploys_work_over_postgres_storage_too(start: Start, source: ScratchDatabase) -> None:
    storage = {"type": "postgresql", "uri": source.dsn, "sslmode": "disable"}
    service = start(deployed=False, storage=storage)
    assert open_stream(service, "u1").error["code"] == "PSYNC_S2302"
    headers = {"authorization": f"Bearer {ADMIN}", "content-type": "application/yaml"}
    slots: list[str] = []
    for _ in range(2):
        reply = ask(service.base_url, "POST", "/api/sync-rules/v1/deploy", body=SYNC_CONFIG, headers=headers)
        assert reply.status == 200, reply.text
        slots.append(reply.json["data"]["slot_name"])
        eventually_sync(lambda: active_slot(service) == slots[-1], timeout_s=20, what=f"{slots[-1]} is active")
    assert open_stream(service, "u1").status == 200
    assert slots[0] != slots[1]
    query = "SELECT slot_name FROM pg_replication_slots WHERE database = current_database()"
    eventually_sync(lambda: source.execute(query) == [(slots[1],)], timeout_s=20, what="the old slot is dropped")
    found = admin(service, "schema").json["data"]["connections"][0]["schemas"]
    assert [schema["name"] for schema in found] == ["public"]  # bucket storage is no source


def active_slot(service: ServiceProcess) -> str:
    standing = admin(service, "diagnostics").json["data"]
    if "deploying_sync_rules" in standing or "active_sync_rules" not in standing:
        return ""
    return standing["active_sync_rules"]["connections"][0]["slot_name"]


def test_what_cannot_be_asked_of_a_source_that_is_away_is_an_error_without_secrets(start: Start) -> None:
    service = start()
    path = service.folder / "service.yaml"
    text = path.read_text()
    service.stop()
    path.write_text(
        text.replace("postgresql://postgres@", "postgresql://postgres:topsecret@").replace("127.0.0.1", "127.0.0.2")
    )
    service.start()  # what was copied is served without its source
    reply = admin(service, "schema")
    assert (reply.status, reply.error["name"]) == (500, "ServiceError")
    standing = admin(service, "diagnostics").json["data"]
    assert standing["connections"][0]["connected"] is False
    assert standing["active_sync_rules"]["connections"][0]["initial_replication_done"] is True
    assert "topsecret" not in reply.text + json.dumps(standing) + service.log
    assert open_stream(service, "u1").status == 200


def test_a_process_that_replicates_follows_what_another_one_was_asked_to_deploy(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    storage = {"type": "sqlite", "path": str(tmp_path / "shared")}
    monkeypatch.setenv("PS_RUNNER_TYPE", "sync")
    replicating = start(deployed=False, storage=storage, wait_log="waiting for one to be deployed")
    monkeypatch.setenv("PS_RUNNER_TYPE", "api")
    serving = start(deployed=False, storage=storage)
    headers = {"authorization": f"Bearer {ADMIN}", "content-type": "application/yaml"}
    reply = ask(serving.base_url, "POST", "/api/sync-rules/v1/deploy", body=SYNC_CONFIG, headers=headers)
    slot_name = reply.json["data"]["slot_name"]
    eventually_sync(lambda: active_slot(serving) == slot_name, timeout_s=20, what=f"{slot_name} is active")
    serving.wait_ready()  # it looks at storage once a second
    assert open_stream(serving, "u1").status == 200
    assert slot_name in replicating.log
    assert slot_name not in serving.log
