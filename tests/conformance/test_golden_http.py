"""Recorded answers of the reference that are no streams: statuses, codes, names and keys have to be ours too.

What differs on purpose is named where it is compared; docs/compatibility.md has the list.
"""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import jwt
import pytest

from syncline.testing.postgres import ScratchDatabase
from syncline.testing.service_process import AUDIENCE, KEY_ID, SECRET, ServiceProcess, token
from tests.conformance.golden_http import GOLDEN, Exchange, Reply, ask, comparable, read_exchanges

ADMIN = "golden-admin-token"
CORS = ("access-control-allow-origin", "access-control-expose-headers")


@pytest.fixture
def source(postgres_database: ScratchDatabase) -> ScratchDatabase:
    sql = (GOLDEN / "golden-data.sql").read_text()
    # A server may be built without XML; what is sent of it is its text either way.
    postgres_database.execute(sql.replace("c_xml xml", "c_xml text"))
    return postgres_database


@pytest.fixture
def service(source: ScratchDatabase, tmp_path: Path) -> Generator[ServiceProcess]:
    config = (GOLDEN / "golden-streams.yaml").read_text()
    with ServiceProcess(
        tmp_path / "service", dsn=source.dsn, sync_config=config, api={"tokens": ["other", ADMIN]}
    ) as process:
        yield process


def signed(*, key: bytes = SECRET, kid: str | None = KEY_ID, without: str = "", **claims: Any) -> str:
    now_s = int(time.time())
    payload = {"sub": "user1", "aud": AUDIENCE, "iat": now_s, "exp": now_s + 3600, **claims}
    payload.pop(without, None)
    return jwt.encode(payload, key, algorithm="HS256", headers={"kid": kid} if kid else {})


def authorizations() -> dict[str, str | None]:
    """What each exchange of the recording was sent with, by its label; others have a good token."""
    now_s = int(time.time())
    unsigned = jwt.encode({"sub": "user1"}, "", algorithm="none", headers={"kid": KEY_ID})
    return {
        "no token": None,
        "bad scheme": f"Basic {token('user1')}",
        "not a jwt": "Token abc",
        "bad signature": f"Token {signed(key=b'another secret of another service')}",
        "unknown kid": f"Token {signed(kid='unknown')}",
        "no kid": f"Token {signed(kid=None)}",
        "expired": f"Token {signed(iat=now_s - 4000, exp=now_s - 400)}",
        "wrong aud": f"Token {signed(aud='nope')}",
        "no sub": f"Token {signed(without='sub')}",
        "no exp": f"Token {signed(without='exp')}",
        "no iat": f"Token {signed(without='iat')}",
        "exp too far (>24h)": f"Token {signed(exp=now_s + 90_000)}",
        "alg none": f"Token {unsigned}",
        "Bearer ok? malformed path": f"Bearer {token('user1')}",
        "OPTIONS cors": None,
        "write-checkpoint2 no token": None,
    }


def play(service: ServiceProcess, exchange: Exchange, authorization: str | None) -> Reply:
    headers = {"authorization": authorization} if authorization else {}
    return ask(service.base_url, exchange.method, exchange.path, body=exchange.body, headers=headers)


def check_head(exchange: Exchange, reply: Reply) -> None:
    assert reply.status == exchange.status, (exchange.label, reply.text)
    names = [*CORS, "content-type", "x-accel-buffering", "access-control-allow-methods", "access-control-max-age"]
    for name in [*names, "access-control-allow-headers"]:
        if name in exchange.headers:
            assert reply.headers.get(name, "").lower() == exchange.headers[name], (exchange.label, name)


@pytest.mark.requirement(108, 109, 111)
def test_errors_have_the_statuses_codes_names_and_keys_of_the_reference(service: ServiceProcess) -> None:
    sent_with = authorizations()
    stored_first = {"client_id": "golden", "checkpoint_request_id": "12"}
    good = f"Token {token('user1')}"
    assert play(service, Exchange("", "POST", "/sync/checkpoint-request", json.dumps(stored_first), 200, {}), good).json
    compared = 0
    for exchange in read_exchanges("20-errors.http.txt"):
        reply = play(service, exchange, sent_with.get(exchange.label, good))
        check_head(exchange, reply)
        if exchange.error:
            assert comparable(reply.json) == comparable(exchange.answer), exchange.label
        elif "checkpoint" in exchange.label and exchange.status == 200:
            # A number of ours begins at the time, not at 1; a request's is the client's own.
            assert comparable(reply.json).keys() == exchange.answer.keys()
            if "stale" in exchange.label:
                assert reply.json == exchange.answer
        compared += 1
    assert compared == 25


@pytest.mark.requirement(107)
def test_an_answer_about_a_wrong_audience_names_the_one_that_was_received(service: ServiceProcess) -> None:
    headers = {"authorization": f"Token {signed(aud='nope')}"}
    reply = ask(service.base_url, "POST", "/sync/stream", body="{}", headers=headers)
    assert (reply.status, reply.error["code"]) == (401, "PSYNC_S2105")
    assert "nope" in reply.error["description"]
    assert AUDIENCE not in reply.text


def test_probes_answer_as_the_reference_s(service: ServiceProcess) -> None:
    for exchange in read_exchanges("21-probes.http.txt"):
        reply = play(service, exchange, None)
        check_head(exchange, reply)
        assert comparable(reply.json) == comparable(exchange.answer), exchange.path
    head = ask(service.base_url, "HEAD", "/probes/liveness")
    assert (head.status, head.text) == (200, "")


@pytest.mark.requirement(239)
def test_write_checkpoints_are_counted_per_user_and_client(service: ServiceProcess) -> None:
    seen: dict[str, int] = {}
    good, other = f"Token {token('user1')}", f"Token {token('user2')}"
    exchanges = list(read_exchanges("22-write-checkpoints.http.txt"))
    assert [exchange.path for exchange in exchanges][:2] == ["/write-checkpoint2.json?client_id=a"] * 2
    for number, exchange in enumerate(exchanges):
        reply = play(service, exchange, other if number == 3 else good)
        if exchange.path == "/write-checkpoint.json":
            # The reference answers 500 for want of a BigInt in JSON; ours waits and answers.
            assert reply.status == 200
            assert reply.json["data"]["checkpoint"].isdecimal()
            continue
        check_head(exchange, reply)
        value = int(reply.json["data"]["write_checkpoint"])
        user = f"{number == 3} {exchange.path}"
        assert value > seen.get(user, 0)
        seen[user] = value
    assert len(seen) == 3


@pytest.mark.requirement(190)
def test_the_admin_api_answers_with_the_structure_of_the_reference(service: ServiceProcess) -> None:
    exchanges = list(read_exchanges("23-admin.http.txt"))
    assert len(exchanges) == 7
    for exchange in exchanges[:-1]:
        reply = play(service, exchange, f"Bearer {ADMIN}")
        check_head(exchange, reply)
        if exchange.path.endswith("/schema"):
            assert columns_of(reply.json) == columns_of(exchange.answer)
        elif exchange.path.endswith("/current"):
            compare_current(reply, exchange)
        elif exchange.body and "streams: 1" in exchange.body:
            # Ours lists each problem with its place, the reference all of them as one text.
            assert {error["level"] for error in reply.json["data"]["errors"]} == {"fatal"}
            assert reply.json["data"]["connections"] == []
        else:
            assert unplaced(reply.json) == unplaced(exchange.answer), exchange.path
    refused = play(service, exchanges[-1], "Bearer wrong")
    check_head(exchanges[-1], refused)
    assert comparable(refused.json) == comparable(exchanges[-1].answer)


def unplaced(answer: Any) -> Any:
    """A comparable answer; offsets of a finding have to be there, not the same: the reference counts from the query."""
    found = comparable(answer)
    for error in found["data"].get("errors", []):
        if "location" in error:
            assert error["location"]["start_offset"] < error["location"]["end_offset"]
            error["location"] = sorted(error["location"])
    return found


def columns_of(answer: Any) -> dict[str, list[tuple[Any, ...]]]:
    data = answer["data"]
    assert (data["defaultConnectionTag"], data["defaultSchema"]) == ("default", "public")
    [connection] = data["connections"]
    [schema] = connection["schemas"]
    return {
        table["name"]: [
            tuple(column[key] for key in ("name", "sqlite_type", "internal_type", "type", "pg_type"))
            for column in table["columns"]
            if column["name"] != "c_xml"
        ]
        for table in schema["tables"]
    }


def compare_current(reply: Reply, exchange: Exchange) -> None:
    ours, theirs = comparable(reply.json)["data"], comparable(exchange.answer)["data"]
    assert ours["next"] is theirs["next"] is None
    assert ours["current"].pop("data_tables").keys() == theirs["current"].pop("data_tables").keys()
    assert ours["current"] == theirs["current"]
    assert reply.text.startswith("{\n")  # for people


def test_before_the_first_copy_is_consistent_streams_are_refused_with_the_recorded_error(
    source: ScratchDatabase, tmp_path: Path
) -> None:
    [recorded] = {
        line
        for line in (GOLDEN / "60-startup-not-ready.http.txt").read_text().splitlines()
        if line.startswith('{"error')
    }
    with source.connect() as blocker:
        blocker.execute("BEGIN")
        blocker.execute(
            "SELECT pg_current_xact_id()"
        )  # the slot, and with it the first copy, waits for this transaction
        config = (GOLDEN / "golden-rules.yaml").read_text()
        service = ServiceProcess(tmp_path / "service", dsn=source.dsn, sync_config=config)
        service.start(wait_ready=False)
        try:
            service.wait_log("Listening on")
            headers = {"authorization": f"Token {token('user1')}"}
            reply = ask(service.base_url, "POST", "/sync/stream", body="{}", headers=headers)
            assert reply.status == 500
            assert comparable(reply.json) == comparable(json.loads(recorded))
            # The reference calls itself ready here; ours is ready when streams are served.
            assert ask(service.base_url, "GET", "/probes/readiness").status == 400
            blocker.execute("ROLLBACK")
            service.wait_ready()
            assert ask(service.base_url, "POST", "/sync/stream", body="{}", headers=headers).status == 200
        finally:
            service.stop()
