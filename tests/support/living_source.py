"""A backend, a source and a sync service in one, in memory and over real sockets: what is uploaded comes back down.

The backend keeps verdicts under the identity of an operation (design decision 12), so every effect can be counted. It loses answers,
refuses nothing, and cuts connections, by a seeded generator.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections import Counter
from collections.abc import AsyncGenerator
from typing import Any

from aiohttp import web

from syncline.protocol.ops import remove_checksum
from tests.support.scripted_service import bucket, checkpoint, complete, data, put
from tests.support.web_server import serving

__all__ = ["BUCKET", "LivingSource", "serve_living_source"]

BUCKET = "1#all[]"
_PORTION = 7  # operations of one data line, so that lines, and kills between them, are many


class LivingSource:
    """`rows` are those of the table `lists`. `effects` counts how often each uploaded transaction took effect, by its identity.

    `faults` is the part of requests whose answer is lost, before or after their effect.
    """

    def __init__(self, seed: int, *, faults: float = 0.15) -> None:
        self.url = ""
        self.rows: dict[str, dict[str, Any]] = {}
        self.effects: Counter[tuple[str, int, int]] = Counter()
        self.arrived: list[str] = []  # ids of rows in the order of their PUTs
        self.events: Counter[str] = Counter()
        self.forks: list[tuple[str, int, int]] = []
        self.faults = faults
        self._random = random.Random(seed)
        self._ops: list[dict[str, Any]] = []
        self._contents: dict[tuple[str, int, int], str] = {}
        self._changed = asyncio.Event()
        self._write_checkpoints: dict[str, int] = {}

    def write(self, row_id: str, name: str) -> None:
        """Somebody else writes a row."""
        self._apply({"op": "PUT", "id": row_id, "op_data": {"name": name}})
        self._tell()

    async def token(self, _: web.Request) -> web.StreamResponse:
        """GET /api/auth/token."""
        return web.json_response({"token": "t", "powersync_url": self.url})

    async def upload(self, request: web.Request) -> web.StreamResponse:
        """POST /api/data."""
        body = await request.json()
        if self._random.random() < self.faults:
            return self._cut(request, "request lost")
        results = [self._take(body["client_id"], transaction["crud"]) for transaction in body["transactions"]]
        self._tell()
        if self._random.random() < self.faults:
            return self._cut(request, "answer lost")
        return web.json_response({"results": results})

    async def write_checkpoint(self, request: web.Request) -> web.StreamResponse:
        """GET /write-checkpoint2.json."""
        if self._random.random() < self.faults:
            return self._cut(request, "write checkpoint lost")
        client_id = request.query["client_id"]
        self._write_checkpoints[client_id] = self._write_checkpoints.get(client_id, 0) + 1
        self.events["write checkpoint"] += 1
        self._tell()
        return web.json_response({"data": {"write_checkpoint": str(self._write_checkpoints[client_id])}})

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """POST /sync/stream: everything behind the client's position, then each change."""
        asked = await request.json()
        client_id = asked["client_id"]
        sent = next((int(each["after"]) for each in asked.get("buckets", []) if each["name"] == BUCKET), 0)
        response = web.StreamResponse(headers={"content-type": "application/x-ndjson"})
        await response.prepare(request)
        self.events["stream resumed" if sent else "stream"] += 1
        while True:
            changed, last = self._changed, len(self._ops)
            number = self._write_checkpoints.get(client_id)
            line = checkpoint(
                last, bucket(BUCKET, self._ops[:last]), write_checkpoint=None if number is None else str(number)
            )
            await self._send(response, line)
            while sent < last:
                portion = self._ops[sent : min(last, sent + _PORTION)]
                await self._send(response, data(BUCKET, portion) | {})
                sent += len(portion)
                await asyncio.sleep(0)
                if self._random.random() < self.faults / 10:
                    return self._cut(request, "stream cut")
            await self._send(response, complete(last))
            await changed.wait()

    def _take(self, client_id: str, crud: list[dict[str, Any]]) -> dict[str, Any]:
        ids = [entry["client_op_id"] for entry in crud]
        identity = (client_id, ids[0], ids[-1])
        content = json.dumps(crud, sort_keys=True)
        if identity in self._contents and self._contents[identity] == content:
            self.events["repeat"] += 1
            return {"status": "success", "deduplicated": True}
        if any(client_id == c and ids[0] <= last and first <= ids[-1] for c, first, last in self._contents):
            self.forks.append(identity)
            return {
                "status": "fatal_error",
                "requires_client_handling": True,
                "failed_operation": {"error_code": "CLIENT_FORKED"},
            }
        self._contents[identity] = content
        self.effects[identity] += 1
        self.events["transaction"] += 1
        for entry in crud:
            self._apply(entry)
            if entry["op"] == "PUT":
                self.arrived.append(entry["id"])
        return {"status": "success"}

    def _apply(self, entry: dict[str, Any]) -> None:
        row_id, op_id = entry["id"], len(self._ops) + 1
        if entry["op"] == "DELETE":
            if self.rows.pop(row_id, None) is not None:
                subkey = f"s/{row_id}"
                self._ops.append(
                    {
                        "op_id": str(op_id),
                        "op": "REMOVE",
                        "object_type": "lists",
                        "object_id": row_id,
                        "checksum": remove_checksum(subkey),
                        "subkey": subkey,
                    }
                )
            return
        if entry["op"] == "PATCH" and row_id not in self.rows:
            return
        self.rows[row_id] = {**self.rows.get(row_id, {}), **(entry.get("op_data") or {})}
        self._ops.append(put(op_id, "lists", row_id, **self.rows[row_id]))

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _send(self, response: web.StreamResponse, line: dict[str, Any]) -> None:
        await response.write(json.dumps(line).encode() + b"\n")

    def _cut(self, request: web.Request, event: str) -> web.StreamResponse:
        self.events[event] += 1
        if request.transport is not None:
            request.transport.abort()
        return web.Response()


@contextlib.asynccontextmanager
async def serve_living_source(seed: int, *, faults: float = 0.15) -> AsyncGenerator[LivingSource]:
    """Run one on a free port of 127.0.0.1."""
    source = LivingSource(seed, faults=faults)
    app = web.Application(client_max_size=1 << 26)
    app.router.add_get("/api/auth/token", source.token)
    app.router.add_post("/api/data", source.upload)
    app.router.add_get("/write-checkpoint2.json", source.write_checkpoint)
    app.router.add_post("/sync/stream", source.stream)
    async with serving(app) as source.url:
        yield source
