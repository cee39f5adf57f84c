"""What the dashboard asks of a running service: who may ask, what is answered, and within which bounds."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from syncline.api.dashboard.explaining import NAME_CHARACTERS_MAX
from syncline.api.dashboard.limits import PREVIEW_USERS_MAX, TAILS_MAX
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.service_process import ServiceProcess, token
from syncline.testing.waiting import eventually_sync
from tests.conformance.golden_http import ask
from tests.integration.dashboard.conftest import ACTIVE, ADMIN, SMALLER, answer, connected, question, shown_client

QUESTIONS = ("overview", "clients", "errors", "config", "buckets", "preview", "explain", "tail")


@pytest.mark.requirement(191)
def test_the_page_and_its_files_ask_nobody_but_the_service(service: ServiceProcess) -> None:
    page = ask(service.base_url, "GET", "/dashboard")
    assert page.status == 200
    policy = page.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    files = {"/dashboard": page}
    for name in (*re.findall(r'"(dashboard/[\w.]+)"', page.text), "dashboard/overview.js"):
        files[f"/{name}"] = ask(service.base_url, "GET", f"/{name}")
    for path in [*files]:
        for name in re.findall(r'from "\./([\w.]+)"', files[path].text):
            files.setdefault(f"/dashboard/{name}", ask(service.base_url, "GET", f"/dashboard/{name}"))
    assert len(files) >= 8
    for path, reply in files.items():
        assert reply.status == 200, path
        assert reply.headers["x-content-type-options"] == "nosniff"
        addresses = re.findall(r"https?://[^\"'\s]+", reply.text)
        assert set(addresses) <= {"http://www.w3.org/2000/svg"}, path  # a name, which nobody asks
        assert not re.search(r"<script(?![^>]*src=)|\sstyle=|\son\w+=\"", reply.text), path
        assert not re.search(r"""(?:href|src)="/|["'`]/(?:api|dashboard)""", reply.text), (
            path
        )  # it may be mounted below a prefix
        assert ADMIN not in reply.text
    moved = ask(service.base_url, "GET", "/dashboard/")
    assert (moved.status, moved.headers["location"]) == (308, "../dashboard")
    assert ask(service.base_url, "GET", "/dashboard/app.py").status == 404
    assert ask(service.base_url, "GET", "/dashboard/../app.py").status == 404
    assert ask(service.base_url, "HEAD", "/dashboard").status == 200


@pytest.mark.requirement(190)
def test_every_question_needs_a_token(service: ServiceProcess) -> None:
    for name in QUESTIONS:
        fields: dict[str, Any] | None = {} if name in ("preview", "explain", "tail") else None
        for bearer in ("", "wrong", token("u1")):
            reply = question(service, name, fields, bearer=bearer)
            assert (reply.status, reply.error["code"]) == (401, "PSYNC_S2101"), name
    assert ask(service.base_url, "GET", f"/api/dashboard/v1/overview?token={ADMIN}").status == 401
    assert question(service, "nothing").status == 404


@pytest.mark.requirement(191)
def test_health_tells_the_process_the_source_and_the_slot(service: ServiceProcess) -> None:
    found = answer(service, "overview")
    assert found["process"]["is_ready"]
    assert found["source"]["connected"]
    [connection] = found["active"]["connections"]
    assert connection["initial_replication_done"]
    assert connection["replication_lag_bytes"] >= 0
    assert [table["name"] for table in connection["tables"]] == ["lists"]
    assert "content" not in found["active"]


def test_clients_are_told_with_their_buckets_and_bytes(service: ServiceProcess) -> None:
    with connected(service, "u1", client_id="device-1"):
        client = shown_client(service, "device-1")
        assert client["user_id"] == "u1"
        assert client["transport"] == "http"
        assert client["buckets"] == 1
        assert client["operations_sent"] >= 2  # what other tests changed is in the bucket too
        assert client["bytes_sent"] > 100
        reported = answer(service, "clients")["reported"]
        assert [one["client_id"] for one in reported if one["user_id"] == "u1"] == ["device-1"]

    def is_gone() -> bool:
        found = answer(service, "clients")
        return not found["here"] and not found["reported"]

    eventually_sync(is_gone, what="the client is gone")


def test_recent_errors_name_no_token(service: ServiceProcess) -> None:
    refused = token("u1", audience="another")
    headers = {"authorization": f"Token {refused}"}
    assert ask(service.base_url, "POST", "/sync/stream", body="{}", headers=headers).status == 401
    newest = next(one for one in answer(service, "errors")["errors"] if one["code"].startswith("PSYNC_S21"))
    assert newest["level"] == "warning"
    assert refused not in json.dumps(answer(service, "errors"))


@pytest.mark.requirement(191)
def test_buckets_are_told_by_stream_and_by_size(service: ServiceProcess) -> None:
    found = answer(service, "buckets")
    assert found["streams"] == [{"name": "lists", "buckets": 2, "operations": found["operations"]}]
    first, second = found["largest"]
    names = {f'{found["version"]}#lists|0["{user}"]' for user in ("u1", "u2")}
    assert {first["name"], second["name"]} == names
    assert first["operations"] >= second["operations"] >= 1
    assert first["operations"] + second["operations"] == found["operations"] >= 3
    assert first["bytes"] > 20
    assert not found["is_cut"]


@pytest.mark.requirement(243)
def test_the_active_config_and_what_was_deployed_are_told(service: ServiceProcess) -> None:
    found = answer(service, "config")
    assert found["active"]["text"] == ACTIVE
    assert found["problems"] == []
    assert found["may_deploy"]
    newest = found["deployments"][0]
    assert (newest["text"], newest["is_active"]) == (ACTIVE, True)


def test_a_preview_names_the_rows_that_would_leave(service: ServiceProcess) -> None:
    found = answer(service, "preview", {"content": SMALLER, "users": ["u1", {"sub": "u2"}, "nobody"]})
    assert found["can_be_used"]
    assert found["cut_tables"] == []
    first, second, nobody = found["users"]
    assert first["active"]["rows"] == 2
    assert first["next"] == {"buckets": 1, "rows": 1, "tables": {"lists": 1}, "refused": ""}
    assert first["leaving"] == {"count": 1, "tables": {"lists": 1}, "rows": [{"table": "lists", "id": "l2"}]}
    assert first["arriving"]["count"] == first["changed"]["count"] == 0
    assert (second["user_id"], second["leaving"]["count"], second["next"]["rows"]) == ("u2", 0, 1)
    assert nobody["active"]["rows"] == nobody["next"]["rows"] == 0
    more = answer(service, "preview", {"content": SMALLER.replace("SELECT *", "SELECT id, owner_id"), "users": ["u1"]})
    assert more["users"][0]["changed"]["rows"] == [{"table": "lists", "id": "l1"}]


def test_a_preview_says_where_a_config_is_wrong(service: ServiceProcess) -> None:
    found = answer(service, "preview", {"content": ACTIVE.replace("auth.user_id()", "auth.nothing()"), "users": []})
    assert not found["can_be_used"]
    [problem] = [one for one in found["problems"] if one["level"] == "error"]
    assert problem["line"] == 6
    assert problem["source_line"][problem["column"] - 1 :].startswith("auth")
    assert question(service, "preview", {"content": ACTIVE, "users": ["u"] * PREVIEW_USERS_MAX}).status == 200
    for users in (["u"] * (PREVIEW_USERS_MAX + 1), "u1", [7], [{"user": "u1"}]):
        reply = question(service, "preview", {"content": ACTIVE, "users": users})
        assert (reply.status, reply.error["name"]) == (400, "ValidationError"), users
    assert question(service, "preview", {}).status == 400


def test_a_row_is_explained(service: ServiceProcess) -> None:
    seen = answer(service, "explain", {"table": "lists", "id": "l1", "user": "u1"})
    assert (seen["found"], seen["visible"]) == (True, True)
    assert "User u1 sees this row of public.lists" in seen["answer"]
    hidden = answer(service, "explain", {"table": "public.lists", "id": "l3", "user": {"sub": "u1"}})
    assert (hidden["found"], hidden["visible"]) == (True, False)
    assert "the row has 'u2', the user has 'u1'" in hidden["answer"]
    assert not answer(service, "explain", {"table": "lists", "id": "l9", "user": "u1"})["found"]
    assert not answer(service, "explain", {"table": "lists", "id": "'; --", "user": "u1"})["found"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"table": "secrets", "id": "1", "user": "u1"}, "not in the publication"),
        ({"table": "lists", "id": "1", "user": "u1", "column": "nothing"}, "no column 'nothing'"),
        ({"table": "lists", "id": "perhaps", "user": "u1", "column": "archived"}, "boolean"),
        ({"table": "lists", "id": "", "user": "u1"}, "id must be"),
        ({"table": "lists", "id": "1\0", "user": "u1"}, "id must be"),
        ({"table": "lists", "id": "x" * (NAME_CHARACTERS_MAX + 1), "user": "u1"}, "id must be"),
        ({"table": "lists", "id": "1"}, "user must name"),
        ({"id": "1", "user": "u1"}, "table is missing"),
    ],
)
def test_what_cannot_be_explained_is_refused_with_a_reason(
    service: ServiceProcess, fields: dict[str, Any], said: str
) -> None:
    reply = question(service, "explain", fields)
    assert reply.status == 400
    assert said in reply.text


@contextmanager
def tail(service: ServiceProcess, user: str) -> Generator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    headers = {"authorization": f"Bearer {ADMIN}", "content-type": "application/json"}
    connection.request("POST", "/api/dashboard/v1/tail", body=json.dumps({"user": user}), headers=headers)
    try:
        yield connection.getresponse()
    finally:
        connection.close()


def test_a_tail_tells_what_happens_from_now_on_and_no_values(
    service: ServiceProcess, dashboard_source: ScratchDatabase
) -> None:
    with tail(service, "u2") as lines:
        assert lines.status == 200
        assert json.loads(lines.readline()) == {"began": True, "user_id": "u2", "buckets": 1}
        dashboard_source.execute("INSERT INTO lists VALUES ('l4', 'a value to be kept', 'u2'), ('l5', 'x', 'u1')")
        told: list[dict[str, Any]] = []
        while not told or "op" not in told[-1]:
            text = lines.readline().decode()
            assert "a value" not in text
            told.append(json.loads(text))
        assert (told[-1]["op"], told[-1]["table"], told[-1]["id"]) == ("PUT", "lists", "l4")
        assert told[-1]["bytes"] > 10
    dashboard_source.execute("DELETE FROM lists WHERE id IN ('l4', 'l5')")


def test_there_are_only_so_many_tails(service: ServiceProcess) -> None:
    def is_opened(kept: ExitStack) -> bool:
        lines = kept.enter_context(tail(service, "u1"))
        return lines.status == 200 and b"began" in lines.readline()

    for _ in range(2):  # each gives its place back, a moment after its page has gone
        with ExitStack() as kept:
            for number in range(TAILS_MAX):
                eventually_sync(lambda: is_opened(kept), what=f"tail {number} is opened")
            with tail(service, "u1") as refused:
                assert refused.status == 429
