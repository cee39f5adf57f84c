"""The API on real SQLite storage, called through ASGI without a socket."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable, MutableMapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt

from syncline.api.app import ServiceApp
from syncline.api.checkpoints import WriteCheckpointBatcher
from syncline.api.probes import Probes
from syncline.api.stream import SyncStreamApp
from syncline.api.websocket import WebSocketApp
from syncline.auth.keys import StaticKeys
from syncline.auth.verifier import TokenVerifier
from syncline.protocol.ops import OpType, put_checksum
from syncline.storage.model import FlushBatch, NewOp
from syncline.storage.sqlite import SqliteStorage
from syncline.storage.sqlite.reader import SqliteReader
from syncline.storage.sqlite.writer import SqliteWriter
from syncline.sync.checkpoint_watcher import CheckpointWatcher
from syncline.sync.limits import StreamLimits
from syncline.sync.stream import StreamContext
from syncline.sync_config import compile_sync_config

SECRET = b"0123456789abcdef0123456789abcdef"
SYNC_CONFIG = """
config: {edition: 3}
streams:
  mine:
    auto_subscribe: true
    query: SELECT * FROM lists WHERE owner_id = auth.user_id()
"""
VERSION = 10


def token(user_id: str = "u1", *, lifetime_s: float = 3600) -> str:
    now_s = time.time()
    claims = {"sub": user_id, "aud": "test", "iat": int(now_s), "exp": now_s + lifetime_s}
    return jwt.encode(claims, SECRET, algorithm="HS256", headers={"kid": "k"})


class ScriptedHead:
    """A source's head whose position the test sets."""

    def __init__(self) -> None:
        self.position = "00000009"
        self.markers = 0
        self.looks = 0
        self.hold: asyncio.Event | None = None  # what a look waits for

    async def head(self) -> str:
        self.looks += 1
        if self.hold is not None:
            await self.hold.wait()
        return self.position

    async def emit_marker(self) -> None:
        self.markers += 1

    async def close(self) -> None:
        return


@dataclass
class Exchange:
    """One request under way: what the app has sent, and how to take the client away."""

    messages: list[MutableMapping[str, Any]] = field(default_factory=list[MutableMapping[str, Any]])
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    blocked: asyncio.Event | None = None
    # The server's list.
    request_headers: list[tuple[bytes, bytes]] = field(default_factory=list[tuple[bytes, bytes]])

    @property
    def status(self) -> int:
        return self.messages[0]["status"]

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.messages[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages[1:])

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.body.splitlines() if line]

    async def until(self, kind: str, times: int = 1) -> None:
        """Wait until so many lines of a kind have been sent."""
        async with asyncio.timeout(5), self.arrived:
            await self.arrived.wait_for(lambda: sum(kind in line for line in self.lines) >= times)


class World:
    def __init__(
        self,
        app: ServiceApp,
        streams: SyncStreamApp,
        websockets: WebSocketApp,
        writer: SqliteWriter,
        watcher: CheckpointWatcher,
    ) -> None:
        self.app, self.streams, self.websockets, self.writer, self.watcher = app, streams, websockets, writer, watcher
        self.head = ScriptedHead()
        self.reader: SqliteReader
        self.position = 0

    def commit(self, *ids: str, user_id: str = "u1", data: str = "{}") -> None:
        bucket = f'{VERSION}#mine|0["{user_id}"]'
        checksum = put_checksum("lists", "x", data)
        ops = [NewOp(bucket, OpType.PUT, "lists", row_id, checksum, f"key-{row_id}", data) for row_id in ids]
        if ops:
            self.writer.flush(VERSION, FlushBatch(ops=ops))
        self.position += 1
        self.writer.commit(VERSION, f"{self.position:08}")
        self.watcher.wake()

    def begin(
        self,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        bearer: str | None = None,
        query: str = "",
        blocked: asyncio.Event | None = None,
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> tuple[Exchange, asyncio.Task[None]]:
        """Start a request; the client stays until `exchange.gone` is set."""
        exchange = Exchange(blocked=blocked)
        parts = [body[start : start + 65536] for start in range(0, len(body), 65536)] or [b""]

        async def receive() -> MutableMapping[str, Any]:
            if parts:
                part = parts.pop(0)
                return {"type": "http.request", "body": part, "more_body": bool(parts)}
            await exchange.gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: MutableMapping[str, Any]) -> None:
            if exchange.blocked is not None and exchange.messages:
                await exchange.blocked.wait()
            async with exchange.arrived:
                exchange.messages.append(message)
                exchange.arrived.notify_all()

        sent = [*headers, *([(b"authorization", f"Token {bearer}".encode())] if bearer else [])]
        exchange.request_headers = sent
        scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": sent}
        return exchange, asyncio.create_task(self.app(scope, receive, send))

    async def ask(self, method: str, path: str, **options: Any) -> Exchange:
        """A request that is answered at once."""
        exchange, task = self.begin(method, path, **options)
        async with asyncio.timeout(5):
            await task
        return exchange

    def open_stream(self, *, bearer: str | None = None, **body: Any) -> tuple[Exchange, asyncio.Task[None]]:
        return self.begin("POST", "/sync/stream", body=json.dumps(body).encode(), bearer=bearer or token())


@asynccontextmanager
async def running_world(
    folder: Path,
    *,
    limits: StreamLimits | None = None,
    active: bool = True,
    now_s: Callable[[], float] = time.time,
) -> AsyncGenerator[World]:
    storage = SqliteStorage(folder)
    writer, reader, checkpoints = storage.open_writer(), storage.open_reader(), storage.open_write_checkpoints()
    watcher = CheckpointWatcher(reader=reader, write_checkpoints=checkpoints, compile_plan=compile_sync_config)
    used = limits or StreamLimits()
    context = StreamContext.of(reader=reader, write_checkpoints=checkpoints, watcher=watcher, limits=used, now_s=now_s)
    key = {"kty": "oct", "alg": "HS256", "kid": "k", "k": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"}
    verifier = TokenVerifier([StaticKeys.from_jwks([key])], ["test"])
    streams = SyncStreamApp(context, verifier)
    head = ScriptedHead()
    batcher = WriteCheckpointBatcher(head=head, write_checkpoints=checkpoints)
    probes = Probes(is_ready=lambda: watcher.is_serving, touched_s=time.time)
    websockets = WebSocketApp(context, verifier)
    app = ServiceApp(stream=streams, verifier=verifier, write_checkpoints=batcher, probes=probes, websocket=websockets)
    world = World(app, streams, websockets, writer, watcher)
    world.head = head
    world.reader = reader
    tasks = [asyncio.create_task(watcher.run()), asyncio.create_task(batcher.run())]
    if active:
        writer.start_version(VERSION, sync_config=SYNC_CONFIG, slot_name="s", source_identity="i")
        writer.finish_snapshot(VERSION)
        world.commit()
        await watcher.wait_until_serving()
    try:
        yield world
    finally:
        await streams.close()
        await websockets.close()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        writer.close()
        await reader.close()
        await checkpoints.close()
