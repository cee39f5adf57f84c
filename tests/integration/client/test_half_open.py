"""Connections whose bytes are dropped in silence: the status says so in time, and after the heal everything catches up by itself.

`make test` plays the cases with all times divided; under SYNCLINE_SOAK=1 they last 12 and 60 s, with the times that apps get.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from syncline.client import BackendConnector, Credentials, HttpConnector, SyncDatabase, SyncStatus
from syncline.client.connectors.backend_client import RequestTimeouts
from syncline.client.transport.base import Transport, TransportLimits
from syncline.client.transport.http import HttpTransport
from syncline.client.transport.websocket import WebSocketTransport
from syncline.testing.proxy import Direction, FaultyProxy
from tests.integration.client.conftest import SCHEMA
from tests.support.scripted_service import ScriptedService, bucket, checkpoint, complete, data, put
from tests.support.scripted_websocket import ScriptedWebSocket

SOAK = bool(os.environ.get("SYNCLINE_SOAK"))
SCALE = 1.0 if SOAK else 0.1  # of all times
TOLD_WITHIN_S = 30.0
CAUGHT_UP_WITHIN_S = 5.0
SLACK_S = 1.0 if SOAK else 2.0  # for a machine that does other things too
DEADLINE_S = 20.0

pytestmark = pytest.mark.timeout(400)


def transport_limits() -> TransportLimits:
    usual = TransportLimits()
    assert usual.overdue_s is not None
    return TransportLimits(
        connect_timeout_s=usual.connect_timeout_s * SCALE,
        response_timeout_s=usual.response_timeout_s * SCALE,
        read_idle_timeout_s=usual.read_idle_timeout_s * SCALE,
        request_timeout_s=usual.request_timeout_s * SCALE,
        overdue_s=usual.overdue_s * SCALE,
        request_overdue_s=usual.request_overdue_s * SCALE,
        probe_timeout_s=usual.probe_timeout_s * SCALE,
        probe_pause_s=usual.probe_pause_s * SCALE,
    )


def request_timeouts() -> RequestTimeouts:
    usual = RequestTimeouts()
    return RequestTimeouts(
        connect_s=usual.connect_s * SCALE,
        answer_s=usual.answer_s * SCALE,
        overdue_s=usual.overdue_s * SCALE,
        probe_s=usual.probe_s * SCALE,
        probe_pause_s=usual.probe_pause_s * SCALE,
    )


class LiveService(ScriptedService):
    """One bucket that grows: by what is uploaded, and by `change`. Every stream gets it from where its device stands."""

    KEEPALIVE_S = 20.0 * SCALE

    def __init__(self) -> None:
        super().__init__()
        self.websocket = ScriptedWebSocket()
        self.ops: list[dict[str, Any]] = []
        self.changed = asyncio.Condition()
        self.streams = 0

    @property
    def state(self) -> tuple[int, int]:
        """What streams tell: the last operation and the last write checkpoint."""
        return len(self.ops), self.write_checkpoints

    async def change(self, row_id: str, name: str) -> None:
        async with self.changed:
            self.ops.append(put(len(self.ops) + 1, "lists", row_id, name=name))
            self.changed.notify_all()

    async def upload(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        for transaction in body["transactions"]:
            for entry in transaction["crud"]:
                if not any(op["object_id"] == entry["id"] for op in self.ops):
                    await self.change(entry["id"], entry["op_data"]["name"])
        return await super().upload(request)

    async def write_checkpoint(self, request: web.Request) -> web.StreamResponse:
        response = await super().write_checkpoint(request)
        async with self.changed:
            self.changed.notify_all()
        return response

    async def stream(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        response = web.StreamResponse(headers={"content-type": "application/x-ndjson"})
        await response.prepare(request)
        async for line in self.conversation(body):
            await response.write(_json(line))
        return response

    async def conversation(self, request: dict[str, Any]) -> AsyncGenerator[dict[str, Any]]:
        """What a stream sends: a checkpoint after every change, and keepalives."""
        self.streams += 1
        position = max([0, *(int(known["after"]) for known in request.get("buckets", []))])
        told = (-1, -1)
        while True:
            if self.state != told:
                told = self.state
                ops = self.ops[:]
                yield checkpoint(len(ops), bucket("1#a[]", ops), write_checkpoint=str(self.write_checkpoints))
                if ops[position:]:
                    yield data("1#a[]", ops[position:])
                position = len(ops)
                yield complete(len(ops))
                continue
            try:
                async with asyncio.timeout(self.KEEPALIVE_S), self.changed:
                    await self.changed.wait_for(lambda before=told: self.state != before)
            except TimeoutError:
                yield {"token_expires_in": 3600}


def _json(line: dict[str, Any]) -> bytes:
    return json.dumps(line).encode() + b"\n"


@dataclass
class World:
    """A device, a service and a backend (one process), and a proxy before each of the two."""

    service: LiveService
    to_service: FaultyProxy
    to_backend: FaultyProxy
    db: SyncDatabase

    async def caught_up(self) -> bool:
        """Whether both sides have the same rows, and nothing waits."""
        rows = {row["id"]: row["name"] for row in await self.db.get_all("SELECT id, name FROM lists")}
        theirs = {op["object_id"]: _name(op) for op in self.service.ops}
        status = self.db.current_status
        waiting = (await self.db.get_upload_queue_stats()).count
        return (
            rows == theirs and not waiting and status.connected and not status.uploading and status.blocked_by is None
        )


def _name(op: dict[str, Any]) -> str:
    return json.loads(op["data"])["name"]


@contextlib.asynccontextmanager
async def world(
    folder: Path, transport: Transport, *, websocket: bool = False, patient: bool = False
) -> AsyncGenerator[World]:
    service = LiveService()
    app = web.Application()
    if websocket:
        app.router.add_get("/sync/stream", _websocket_route(service))
    app.router.add_post("/sync/stream", service.stream)
    app.router.add_get("/write-checkpoint2.json", service.write_checkpoint)
    app.router.add_get("/api/auth/token", service.token)
    app.router.add_post("/api/data", service.upload)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port: int = runner.addresses[0][1]
    try:
        async with (
            FaultyProxy("127.0.0.1", port) as to_service,
            FaultyProxy("127.0.0.1", port) as to_backend,
            SyncDatabase(folder / "app.db", schema=SCHEMA) as db,
        ):
            service.url = to_service.url
            connector = (
                PatientConnector(to_service.url, to_backend.url)
                if patient
                else HttpConnector(to_backend.url, timeouts=request_timeouts())
            )
            await db.connect(connector, transport=transport, retry_delay_s=1.0 * SCALE)
            made = World(service, to_service, to_backend, db)
            await service.change("first", "first")
            await until(made.caught_up, DEADLINE_S)
            yield made
    finally:
        await runner.cleanup()


def _websocket_route(service: LiveService) -> Any:
    """The same conversation over RSocket."""

    async def upgrade(request: web.Request) -> web.StreamResponse:
        scripted = ScriptedWebSocket()
        scripted.conversation = service.conversation
        return await scripted.upgrade(request)

    return upgrade


async def until(condition: Any, within_s: float) -> float:
    """Seconds until an asynchronous condition holds. Raises AssertionError."""
    started = time.monotonic()
    while not await condition():
        assert time.monotonic() - started < within_s, f"not within {within_s:.1f} s"
        await asyncio.sleep(0.02)
    return time.monotonic() - started


def says_so(status: SyncStatus) -> bool:
    """Whether the status of a client tells that something does not come through."""
    return bool(status.download_error or status.upload_error or status.stalled)


class PatientConnector(BackendConnector):
    """An app's own, whose requests know no time limit."""

    def __init__(self, service_url: str, backend_url: str) -> None:
        self._service_url = service_url
        self._backend_url = backend_url

    async def fetch_credentials(self) -> Credentials:
        return Credentials(self._service_url, "jwt")

    async def upload_data(self, db: SyncDatabase) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session:
            async for transaction in db.crud_transactions():
                crud = [{"id": entry.id, "op_data": entry.op_data} for entry in transaction.crud]
                async with session.post(
                    f"{self._backend_url}/api/data", json={"transactions": [{"crud": crud}]}
                ) as answer:
                    answer.raise_for_status()
                await transaction.complete()


BOTH_WAYS = [
    pytest.param(None, id="both ways"),
    pytest.param(Direction.TO_SERVER, id="to the server"),
    pytest.param(Direction.TO_CLIENT, id="to the client"),
]
LASTING = [12.0, 60.0] if SOAK else [12.0]  # seconds


async def play(
    made: World, *, outage_s: float, direction: Direction | None, proxies: list[FaultyProxy], bridged: bool
) -> None:
    """An outage with changes on both sides, and what has to follow."""
    told: list[float] = []
    started = time.monotonic()

    def note(status: SyncStatus) -> None:
        if says_so(status) and not told:
            told.append(time.monotonic() - started)

    for proxy in proxies:
        proxy.drop(direction, gaps_are_bridged=bridged)
    forget = made.db.register_listener(note)
    await made.db.execute("INSERT INTO lists(id, name) VALUES ('mine', 'written in the dark')")
    await asyncio.sleep(outage_s * SCALE / 2)
    await made.service.change("theirs", "changed in the dark")
    await asyncio.sleep(max(0.0, started + outage_s * SCALE - time.monotonic()))
    for proxy in proxies:
        proxy.heal()
    took_s = await until(made.caught_up, CAUGHT_UP_WITHIN_S * SCALE + SLACK_S)
    forget()
    print(f"outage {outage_s:g} s x {SCALE:g}: told after {told} s, caught up {took_s:.2f} s after the heal")
    if outage_s > TOLD_WITHIN_S:
        assert told, "the status never said so"
        assert told[0] <= TOLD_WITHIN_S * SCALE + SLACK_S
    rows = {row["id"] for row in await made.db.get_all("SELECT id FROM lists")}
    assert rows == {"first", "mine", "theirs"}
    assert [op["object_id"] for op in made.service.ops].count("mine") == 1


@pytest.mark.parametrize("outage_s", LASTING)
@pytest.mark.parametrize("direction", BOTH_WAYS)
async def test_everything_dark(tmp_path: Path, direction: Direction | None, outage_s: float) -> None:
    async with world(tmp_path, HttpTransport(transport_limits())) as made:
        proxies = [made.to_service, made.to_backend]
        await play(made, outage_s=outage_s, direction=direction, proxies=proxies, bridged=False)


@pytest.mark.parametrize("outage_s", LASTING)
@pytest.mark.parametrize("direction", BOTH_WAYS)
async def test_the_way_to_the_service_dark(tmp_path: Path, direction: Direction | None, outage_s: float) -> None:
    """Uploads go through; the stream, and the checkpoint request behind each upload, do not."""
    async with world(tmp_path, HttpTransport(transport_limits())) as made:
        await play(made, outage_s=outage_s, direction=direction, proxies=[made.to_service], bridged=False)


@pytest.mark.parametrize("outage_s", LASTING)
@pytest.mark.parametrize("direction", BOTH_WAYS)
async def test_the_way_to_the_backend_dark(tmp_path: Path, direction: Direction | None, outage_s: float) -> None:
    async with world(tmp_path, HttpTransport(transport_limits())) as made:
        await play(made, outage_s=outage_s, direction=direction, proxies=[made.to_backend], bridged=False)


@pytest.mark.parametrize("outage_s", LASTING)
async def test_a_gap_that_nobody_notices(tmp_path: Path, outage_s: float) -> None:
    """Connections carry on behind the lost bytes, as with a broken middlebox: whole lines are missing."""
    async with world(tmp_path, HttpTransport(transport_limits())) as made:
        proxies = [made.to_service, made.to_backend]
        await play(made, outage_s=outage_s, direction=None, proxies=proxies, bridged=True)


@pytest.mark.parametrize("outage_s", LASTING)
@pytest.mark.parametrize("direction", BOTH_WAYS)
async def test_everything_dark_over_a_websocket(tmp_path: Path, direction: Direction | None, outage_s: float) -> None:
    transport = WebSocketTransport(transport_limits(), keepalive_s=5.0 * SCALE)
    async with world(tmp_path, transport, websocket=True) as made:
        proxies = [made.to_service, made.to_backend]
        await play(made, outage_s=outage_s, direction=direction, proxies=proxies, bridged=False)


@pytest.mark.parametrize("outage_s", LASTING)
async def test_a_connector_without_time_limits(tmp_path: Path, outage_s: float) -> None:
    async with world(tmp_path, HttpTransport(transport_limits()), patient=True) as made:
        proxies = [made.to_service, made.to_backend]
        await play(made, outage_s=outage_s, direction=None, proxies=proxies, bridged=False)


@pytest.mark.skipif(SOAK, reason="a soak plays the long outages of every test above")
async def test_a_long_outage_of_everything(tmp_path: Path) -> None:
    async with world(tmp_path, HttpTransport(transport_limits())) as made:
        await play(made, outage_s=60.0, direction=None, proxies=[made.to_service, made.to_backend], bridged=False)
