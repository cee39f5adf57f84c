"""Probes over HTTP and as files; the first contact with the source, which the startup probe waits for."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest

from syncline.api.answers import RouteNotFound
from syncline.api.counting import CountedApp
from syncline.api.probe_app import ProbeApp
from syncline.api.probes import LIVE_WITHIN_S, ProbeFiles, Probes
from syncline.errors import SourceUnavailable
from syncline.metrics import ServiceMetrics
from syncline.service import contact
from syncline.service.addresses import DatabaseAddress
from syncline.service.contact import SourceContact
from syncline.testing.waiting import eventually

SCOPE: dict[str, Any] = {"type": "http", "method": "GET", "path": "/probes/startup"}


class State:
    """What the probes are asked about."""

    def __init__(self) -> None:
        self.started = self.ready = False
        self.touched_s = time.time()

    def probes(self, *, over_http: bool = True) -> Probes:
        return Probes(
            is_ready=lambda: self.ready,
            touched_s=lambda: self.touched_s,
            is_started=lambda: self.started,
            over_http=over_http,
        )


@pytest.mark.requirement(223)
async def test_startup_is_red_until_the_source_was_reached_and_never_turns_back() -> None:
    state = State()
    probes = state.probes()
    status, body = await probes.startup(SCOPE)
    assert (status, json.loads(body)["started"]) == (400, False)
    state.started = True
    assert (await probes.startup(SCOPE))[0] == 200
    state.started = False
    status, body = await probes.startup(SCOPE)
    assert status == 200
    assert list(json.loads(body)) == ["ready", "started", "touched_at"]
    assert (await probes.readiness(SCOPE))[0] == 400
    state.ready = True
    assert (await probes.readiness(SCOPE))[0] == 200


async def test_liveness_follows_the_replicator_s_signs_of_life() -> None:
    state = State()
    assert (await state.probes().liveness(SCOPE))[0] == 200
    state.touched_s -= LIVE_WITHIN_S + 1
    assert (await state.probes().liveness(SCOPE))[0] == 400


async def test_probes_that_are_switched_off_are_no_routes() -> None:
    probes = State().probes(over_http=False)
    for probe in (probes.startup, probes.liveness, probes.readiness):
        with pytest.raises(RouteNotFound):
            await probe(SCOPE)


class Client:
    """Calls an ASGI app and keeps what it sends."""

    def __init__(self) -> None:
        self.sent: list[MutableMapping[str, Any]] = []

    async def send(self, message: MutableMapping[str, Any]) -> None:
        self.sent.append(message)

    async def receive(self) -> MutableMapping[str, Any]:
        return {"type": "http.disconnect"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/probes/startup", 400),
        ("GET", "/probes/liveness", 200),
        ("POST", "/probes/startup", 404),
        ("GET", "/sync/stream", 404),
    ],
)
async def test_a_process_that_only_replicates_answers_probes_alone(method: str, path: str, status: int) -> None:
    client = Client()
    await ProbeApp(State().probes())(SCOPE | {"method": method, "path": path}, client.receive, client.send)
    assert client.sent[0]["status"] == status
    if status == 404:
        assert json.loads(client.sent[1]["body"])["error"]["code"] == "PSYNC_S2002"


async def test_open_streams_and_their_bytes_are_counted_where_they_go_out() -> None:
    metrics = ServiceMetrics()
    opened: list[int] = []

    async def stream(scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": scope["status"], "headers": []})
        opened.append(metrics.snapshot().concurrent_connections)
        await send({"type": "http.response.body", "body": b"12345", "more_body": True})
        raise ConnectionError

    async def socket(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        opened.append(metrics.snapshot().concurrent_connections)
        await send({"type": "websocket.send", "bytes": b"123"})

    client = Client()
    for status in (200, 401):
        scope = SCOPE | {"path": "/sync/stream", "status": status}
        with pytest.raises(ConnectionError):
            await CountedApp(stream, metrics)(scope, client.receive, client.send)
    await CountedApp(socket, metrics)({"type": "websocket"}, client.receive, client.send)
    await CountedApp(socket, metrics)(SCOPE, client.receive, client.send)  # another path: not counted
    assert opened == [1, 0, 1, 0]
    assert (metrics.snapshot().concurrent_connections, metrics.snapshot().data_sent_bytes) == (0, 8)


async def test_files_follow_the_state_and_those_of_an_earlier_process_go(tmp_path: Path) -> None:
    folder = tmp_path / ".probes"
    folder.mkdir()
    (folder / "ready").write_text("1")
    state = State()
    running = asyncio.create_task(ProbeFiles(state.probes(), folder).run())
    try:
        await eventually(lambda: (folder / "poll").exists())
        assert sorted(path.name for path in folder.iterdir()) == ["poll"]
        first = (folder / "poll").read_text()
        assert abs(int(first) / 1000 - time.time()) < 10
        state.started = state.ready = True
        state.touched_s += 1
        await eventually(lambda: len(list(folder.iterdir())) == 3 and (folder / "poll").read_text() != first)
    finally:
        running.cancel()
    assert sorted(path.name for path in folder.iterdir()) == ["poll", "ready", "startup"]


def test_a_file_is_written_once_for_one_state(tmp_path: Path) -> None:
    state = State()
    state.ready = True
    files = ProbeFiles(state.probes(), tmp_path)
    files.write()
    for path in tmp_path.iterdir():
        path.unlink()
    files.write()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    files = ProbeFiles(State().probes(), tmp_path / "file" / ".probes")
    files.write()
    files.write()
    assert len(caplog.records) == 1
    assert "use_http" in caplog.text


class Head:
    """A source that answers after some failures."""

    def __init__(self, failures: int) -> None:
        self.failures = failures

    async def head(self) -> str:
        self.failures -= 1
        if self.failures >= 0:
            raise SourceUnavailable("not yet")
        return "0/1"

    async def emit_marker(self) -> None:
        raise AssertionError

    async def close(self) -> None:
        raise AssertionError


@pytest.mark.requirement(224, missing="JWKS")
async def test_the_first_contact_with_the_source_is_one_line_with_the_masked_address(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(contact, "RETRY_DELAY_S", 0.001)
    caplog.set_level(logging.INFO)
    first = SourceContact(Head(3), DatabaseAddress("db", 5432, "app", "s3cret", "orders", "disable", None, 10))
    assert not first.reached
    await asyncio.wait_for(first.run(), 5)
    assert first.reached
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    assert "postgresql://app@db:5432/orders" in record.getMessage()
    assert "s3cret" not in caplog.text
