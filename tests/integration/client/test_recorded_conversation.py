"""Our client on the other side of recorded conversations of the reference service: after each checkpoint it has the right rows.

What is right is derived twice: from the operations by a model of a few lines, and for the last state from what was done to the source.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import zlib
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from backports import zstd

from syncline.client import BackendConnector, Column, Credentials, Schema, SyncDatabase, Table
from syncline.client.transport.base import Transport
from syncline.client.transport.decompress import body_decoder
from syncline.client.transport.http import HttpTransport
from syncline.client.transport.websocket import WebSocketTransport
from syncline.protocol.rsocket.frames import Payload, decode_frame, encode_frame
from syncline.testing.waiting import eventually
from tests.conformance.golden import bson_as_lines
from tests.conformance.websocket_recording import read_recording
from tests.support.scripted_websocket import ScriptedWebSocket, serve_websocket
from tests.support.web_server import serving

GOLDEN = Path(__file__).parents[2] / "fixtures" / "golden"
DEADLINE_S = 20.0
TABLES = {
    "lists": ["created_at", "name", "owner_id"],
    "todos": ["created_at", "completed_at", "description", "completed", "created_by", "completed_by", "list_id"],
    "categories": ["name_upper", "kind"],
    "all_types": ["c_text", "c_float8"],
}
SCHEMA = Schema([Table(name, [Column.text(column) for column in columns]) for name, columns in TABLES.items()])

Rows = dict[str, dict[str, str]]
"""Row data by table and id, as the service sent them."""


class Connector(BackendConnector):
    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint

    async def fetch_credentials(self) -> Credentials:
        return Credentials(self._endpoint, "jwt")

    async def upload_data(self, db: SyncDatabase) -> None:
        raise AssertionError("nothing was written here")


def recorded(name: str) -> list[list[str]]:
    """A conversation, cut behind each complete line."""
    return cut_in_steps((GOLDEN / f"{name}.ndjson").read_text().splitlines())


def cut_in_steps(lines: list[str]) -> list[list[str]]:
    steps: list[list[str]] = [[]]
    for line in lines:
        if line.startswith("{"):
            steps[-1].append(line)
            if line.startswith('{"checkpoint_complete"') or '"checkpoint_complete": {' in line:
                steps.append([])
    return [step for step in steps if step]


class Model:
    """What a device has after some lines: the newest operation of each row over all buckets of the checkpoint."""

    def __init__(self) -> None:
        self._buckets: dict[str, dict[tuple[str, str, str], tuple[int, str]]] = {}

    def receive(self, line: dict[str, Any]) -> None:
        for name in line.get("checkpoint_diff", {}).get("removed_buckets", []):
            self._buckets.pop(name, None)
        if "checkpoint" in line:
            names = {bucket["bucket"] for bucket in line["checkpoint"]["buckets"]}
            self._buckets = {name: rows for name, rows in self._buckets.items() if name in names}
        if "data" in line:
            rows = self._buckets.setdefault(line["data"]["bucket"], {})
            for op in line["data"]["data"]:
                key = (op["object_type"], op["object_id"], op["subkey"])
                rows.pop(key, None)
                if op["op"] == "PUT":
                    rows[key] = (int(op["op_id"]), op["data"])

    def rows(self) -> Rows:
        newest: dict[tuple[str, str], tuple[int, str]] = {}
        for rows in self._buckets.values():
            for (table, row_id, _), value in rows.items():
                newest[table, row_id] = max(newest.get((table, row_id), (0, "")), value)
        found: Rows = {table: {} for table in TABLES}
        for (table, row_id), (_, data) in newest.items():
            found[table][row_id] = data
        return found


async def rows_of(db: SyncDatabase) -> Rows:
    """What is in the tables, as it was sent."""
    return {
        table: {row["id"]: row["data"] for row in await db.get_all(f'SELECT id, data FROM "ps_data__{table}"')}
        for table in TABLES
    }


async def check(db: SyncDatabase, model: Model, step: list[str]) -> None:
    """Wait until the device is where the conversation is."""
    for text in step:
        model.receive(json.loads(text))

    async def there() -> bool:
        return await rows_of(db) == model.rows()

    await eventually(there, timeout_s=DEADLINE_S, what="the rows of the recording")
    await db.wait_for_status(lambda s: s.connected and not s.downloading, DEADLINE_S)
    assert db.current_status.download_error is None


class Replay:
    """A server for one recorded conversation over HTTP. Bytes go out as they were recorded, compressed where that is asked for."""

    def __init__(self, encoding: str) -> None:
        self.url = ""
        self.encoding = encoding
        self.requests: list[dict[str, Any]] = []
        self.accepted: list[str] = []
        self._response: web.StreamResponse | None = None
        self._zlib = zlib.compressobj(wbits=31)
        self._zstd: Any = zstd.ZstdCompressor()

    async def stream(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(await request.json())
        self.accepted.append(request.headers["accept-encoding"])
        headers = {"content-type": "application/x-ndjson"}
        if self.encoding:
            headers["content-encoding"] = self.encoding
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        self._response = response
        with contextlib.suppress(ConnectionError):
            await request.content.wait_eof()
            await _forever()
        return response

    async def send(self, step: list[str]) -> None:
        await eventually(lambda: self._response is not None, timeout_s=DEADLINE_S)
        assert self._response is not None
        await self._response.write(self._encoded("".join(f"{line}\n" for line in step).encode()))

    def _encoded(self, text: bytes) -> bytes:
        if self.encoding == "gzip":
            return self._zlib.compress(text) + self._zlib.flush(zlib.Z_SYNC_FLUSH)
        if self.encoding == "zstd":
            return self._zstd.compress(text, mode=zstd.ZstdCompressor.FLUSH_BLOCK)
        return text


async def _forever() -> None:
    await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def replaying(encoding: str = "") -> AsyncGenerator[Replay]:
    replay = Replay(encoding)
    app = web.Application()
    app.router.add_post("/sync/stream", replay.stream)
    async with serving(app) as replay.url:
        yield replay


@contextlib.asynccontextmanager
async def device(folder: Path, url: str, transport: Transport) -> AsyncGenerator[SyncDatabase]:
    async with SyncDatabase(folder / "app.db", schema=SCHEMA) as db:
        await db.connect(Connector(url), transport=transport, retry_delay_s=60)
        yield db


async def column(db: SyncDatabase, sql: str) -> list[Any]:
    return [next(iter(row)) for row in await db.get_all(sql)]


async def check_end_of_07(db: SyncDatabase) -> None:
    """What was done to the source, after all steps of the recording."""
    assert await column(db, "SELECT name FROM lists ORDER BY id") == ["Groceries2", "Work", "New"]
    todos = await db.get_all("SELECT id, description, list_id FROM todos ORDER BY id")
    assert [(row["id"][-2:], row["description"][:7], row["list_id"][-1:]) for row in todos] == [
        ("01", "milk2", "1"),
        ("02", "unicode", "2"),
        ("b1", "report", "2"),
    ]
    assert await column(db, "SELECT name_upper FROM categories ORDER BY id") == ["ALPHA", "BETA", None]


@pytest.mark.parametrize("encoding", ["", "gzip", "zstd"])
async def test_rows_are_right_after_each_step_over_http(tmp_path: Path, encoding: str) -> None:
    steps = recorded("07-incremental")
    assert len(steps) == 11
    async with (
        replaying(encoding) as replay,
        device(tmp_path, replay.url, HttpTransport(compression=bool(encoding))) as db,
    ):
        model = Model()
        for step in steps:
            await replay.send(step)
            await check(db, model, step)
        await check_end_of_07(db)
        assert len(replay.requests) == 1, "no step made the client connect again"
        assert replay.accepted == ["zstd, gzip" if encoding else "identity"]
        assert (await db.get_upload_queue_stats()).count == 0


async def test_a_known_device_gets_what_it_lacks(tmp_path: Path) -> None:
    """Recordings 07 and 08 are of one source: a device that has the first step of 07 gets the rest by 08."""
    [first, *_], [rest] = recorded("07-incremental"), recorded("08-resume-with-buckets")
    async with replaying() as replay, device(tmp_path, replay.url, HttpTransport()) as db:
        await replay.send(first)
        await check(db, Model(), first)
    async with replaying() as replay, device(tmp_path, replay.url, HttpTransport()) as db:
        await replay.send(rest)
        await eventually(lambda: db.current_status.connected, timeout_s=DEADLINE_S)

        async def there() -> bool:
            return await column(db, "SELECT name FROM lists ORDER BY id") == ["Groceries2", "Work", "New"]

        await eventually(there, timeout_s=DEADLINE_S)
        await check_end_of_07(db)
        positions = {position["name"]: position["after"] for position in replay.requests[0]["buckets"]}
        assert positions['1#my_lists|0["user1"]'] == "17"


@pytest.mark.parametrize(
    "name", ["01-initial-sync-defaults", "03-initial-sync-no-include_checksum", "54-before-compact"]
)
async def test_other_first_syncs_end_with_the_right_rows(tmp_path: Path, name: str) -> None:
    steps = recorded(name)
    async with replaying() as replay, device(tmp_path, replay.url, HttpTransport()) as db:
        model = Model()
        for step in steps:
            await replay.send(step)
            await check(db, model, step)
        assert await column(db, "SELECT count(*) FROM lists") != [0]


async def test_every_type_of_the_source_can_be_read(tmp_path: Path) -> None:
    """The reference writes NaN bare, which is no JSON: the row is kept as it came, and reads as NULL."""
    [step] = recorded("04-all-types-raw")
    async with replaying() as replay, device(tmp_path, replay.url, HttpTransport()) as db:
        await replay.send(step)
        await check(db, Model(), step)
        rows = await db.get_all("SELECT id, c_text, c_float8 FROM all_types ORDER BY id")
    assert [row["c_text"] for row in rows] == ["text", "", None, "tab\tnl\nnul?"]


def recorded_payloads() -> list[tuple[bytes, str]]:
    """What the reference sent to the official client over its WebSocket: each line as a message, and as JSON."""
    frames = [
        decode_frame(message) for message in read_recording(GOLDEN / "40-websocket-rsocket.tcp.ndjson").from_server
    ]
    payloads = [frame for frame in frames if isinstance(frame, Payload) and frame.next]
    return [(encode_frame(payload), bson_as_lines(payload.data)[0]) for payload in payloads]


async def test_rows_are_right_after_a_recorded_websocket_conversation(tmp_path: Path) -> None:
    payloads = recorded_payloads()
    service = ScriptedWebSocket()
    service.raw = [message for message, _ in payloads]
    async with (
        serve_websocket(service),
        device(tmp_path, service.url, WebSocketTransport(compression=True)) as db,
    ):
        model = Model()
        for step in cut_in_steps([text for _, text in payloads]):
            for text in step:
                model.receive(json.loads(text))
        await check(db, model, [])
        assert len(service.requests) == 1
        assert await column(db, "SELECT name FROM lists ORDER BY id") != []


async def test_recorded_documents_of_bson_are_read_over_a_websocket(tmp_path: Path) -> None:
    body = (GOLDEN / "12-initial-sync.bson.bin").read_bytes()
    service = ScriptedWebSocket()
    start = 0
    while start < len(body):
        size = int.from_bytes(body[start : start + 4], "little")
        service.raw.append(encode_frame(Payload(1, data=body[start : start + size], next=True)))
        start += size
    async with serve_websocket(service), device(tmp_path, service.url, WebSocketTransport()) as db:
        model = Model()
        await check(db, model, bson_as_lines(body))


@pytest.mark.parametrize(("name", "compressed"), [("gzip", True), ("zstd", True), ("gzip+zstd", True), ("br", False)])
def test_recorded_compressed_bodies_are_decoded(name: str, compressed: bool) -> None:
    """Bodies that were cut with the stream still open: all whole lines of them can be read."""
    head = (GOLDEN / f"13-encoding-{name}.head.txt").read_text().lower()
    body = (GOLDEN / f"13-encoding-{name}.bin").read_bytes()
    encoding = next((line.split(": ")[1].strip() for line in head.splitlines() if "content-encoding" in line), "")
    assert bool(encoding) is compressed
    text = b"".join(body_decoder(encoding).decode(body)).decode()
    kinds = [next(iter(json.loads(line))) for line in text.splitlines()]
    assert kinds[0] == "checkpoint"
    assert kinds[-1] == "checkpoint_complete"
