"""A sync service and backend that say what a test tells them to, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from aiohttp import web

from syncline.protocol.ops import add_checksums, put_checksum
from tests.support.web_server import serving

__all__ = ["ScriptedService", "bucket", "checkpoint", "complete", "data", "put", "serve", "total"]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def put(op_id: int, table: str, row_id: str, **columns: Any) -> dict[str, Any]:
    """A PUT operation with its right checksum."""
    text = json.dumps({"id": row_id, **columns})
    return {
        "op_id": str(op_id),
        "op": "PUT",
        "object_type": table,
        "object_id": row_id,
        "checksum": put_checksum(table, row_id, text),
        "subkey": f"s/{row_id}",
        "data": text,
    }


def total(ops: list[dict[str, Any]]) -> int:
    """Checksum of a bucket with these operations."""
    result = 0
    for op in ops:
        result = add_checksums(result, op["checksum"])
    return result


def bucket(name: str, ops: list[dict[str, Any]], *, priority: int = 3, checksum: int | None = None) -> dict[str, Any]:
    """A bucket of a checkpoint that holds these operations."""
    return {
        "bucket": name,
        "checksum": total(ops) if checksum is None else checksum,
        "count": len(ops),
        "priority": priority,
        "subscriptions": [{"default": 0}],
    }


def checkpoint(last_op_id: int, *buckets: dict[str, Any], write_checkpoint: str | None = None) -> dict[str, Any]:
    """A full checkpoint line with one default stream, `all`."""
    line: dict[str, Any] = {
        "last_op_id": str(last_op_id),
        "buckets": list(buckets),
        "streams": [{"name": "all", "is_default": True, "errors": []}],
    }
    if write_checkpoint is not None:
        line["write_checkpoint"] = write_checkpoint
    return {"checkpoint": line}


def data(name: str, ops: list[dict[str, Any]]) -> dict[str, Any]:
    """A data line."""
    return {"data": {"bucket": name, "after": "0", "next_after": ops[-1]["op_id"], "has_more": False, "data": ops}}


def complete(last_op_id: int) -> dict[str, Any]:
    """A checkpoint_complete line."""
    return {"checkpoint_complete": {"last_op_id": str(last_op_id)}}


class ScriptedService:
    """Answers `/sync/stream` with the lines that a test sends, and counts what it is asked.

    `lines` is sent to every new stream; `send` adds lines to the open streams. `refuse` answers the next streams with a status.
    """

    def __init__(self) -> None:
        self.url = ""
        self.lines: list[dict[str, Any]] = []
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.refuse: list[int] = []
        self.write_checkpoints = 0
        self.checkpoint_client_ids: list[str] = []
        self.stored_requests: dict[str, int] | None = (
            None  # client id -> newest checkpoint request; None: a service without them
        )
        self.posted_requests: list[int] = []
        self.request_status: int | None = None  # requests for write checkpoints are refused with this status,
        self.request_refusals = 1 << 30  # so many of them
        self.checkpoint_failures = 0
        self.uploads: list[dict[str, Any]] = []
        self.upload_answers: list[tuple[int, Any]] = []
        self.upload_headers: dict[str, str] = {}  # of answers that are text
        self.upload_bytes_max = 1 << 30  # larger requests are answered with 413
        self.tokens = 0
        self.on_write_checkpoint: Callable[[int], Awaitable[None]] | None = None
        self._open: set[asyncio.Queue[bytes | None]] = set()

    @property
    def open_streams(self) -> int:
        """How many streams are open now."""
        return len(self._open)

    def send(self, *lines: dict[str, Any]) -> None:
        """Send lines to all open streams."""
        for queue in self._open:
            for line in lines:
                queue.put_nowait(json.dumps(line).encode() + b"\n")

    def end(self) -> None:
        """End all open streams."""
        for queue in self._open:
            queue.put_nowait(None)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """POST /sync/stream."""
        self.requests.append(await request.json())
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        if self.refuse:
            status = self.refuse.pop(0)
            code = "PSYNC_S2103" if status == 401 else "PSYNC_S2302"
            return web.json_response({"error": {"code": code, "status": status, "description": "no"}}, status=status)
        response = web.StreamResponse(headers={"content-type": "application/x-ndjson"})
        await response.prepare(request)
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        for line in self.lines:
            queue.put_nowait(json.dumps(line).encode() + b"\n")
        self._open.add(queue)
        try:
            while (text := await queue.get()) is not None:
                await response.write(text)
        finally:
            self._open.discard(queue)
        return response

    async def write_checkpoint(self, request: web.Request) -> web.StreamResponse:
        """GET /write-checkpoint2.json."""
        if self.checkpoint_failures:
            self.checkpoint_failures -= 1
            return web.Response(status=503, text="<html>busy</html>")
        if (refused := self._refused()) is not None:
            return refused
        self.write_checkpoints += 1
        self.checkpoint_client_ids.append(request.query["client_id"])
        number = self.write_checkpoints
        if self.on_write_checkpoint is not None:
            await self.on_write_checkpoint(number)
        return web.json_response({"data": {"write_checkpoint": str(number)}})

    def _refused(self) -> web.StreamResponse | None:
        if self.request_status is None or self.request_refusals <= 0:
            return None
        self.request_refusals -= 1
        return web.json_response(
            {"error": {"code": "PSYNC_S2001", "status": self.request_status}}, status=self.request_status
        )

    async def checkpoint_request(self, request: web.Request) -> web.StreamResponse:
        """POST /sync/checkpoint-request: the greater of the number sent and the number stored."""
        body = await request.json()
        if (refused := self._refused()) is not None:
            return refused
        if self.stored_requests is None:
            return web.json_response({"error": {"code": "PSYNC_S2002", "status": 404}}, status=404)
        number, client_id = int(body["checkpoint_request_id"]), body["client_id"]
        self.posted_requests.append(number)
        stored = self.stored_requests[client_id] = max(number, self.stored_requests.get(client_id, 0))
        return web.json_response({"data": {"checkpoint_request_id": str(stored)}})

    async def token(self, _: web.Request) -> web.StreamResponse:
        """GET /api/auth/token."""
        self.tokens += 1
        return web.json_response({"token": f"token-{self.tokens}", "powersync_url": self.url + "/"})

    async def upload(self, request: web.Request) -> web.StreamResponse:
        """POST /api/data: the next scripted answer, or success for every transaction."""
        body = await request.json()
        self.uploads.append(body)
        if (request.content_length or 0) > self.upload_bytes_max:
            return web.Response(status=413, text="<html>too large</html>")
        if self.upload_answers:
            status, answer = self.upload_answers.pop(0)
            if isinstance(answer, str):
                return web.Response(status=status, text=answer, headers=self.upload_headers)
            return web.json_response(answer, status=status)
        return web.json_response({"results": [{"status": "success"} for _ in body["transactions"]]})


@contextlib.asynccontextmanager
async def serve(service: ScriptedService | None = None) -> AsyncGenerator[ScriptedService]:
    """Run a scripted service on a free port of 127.0.0.1."""
    service = service or ScriptedService()
    app = web.Application()
    app.router.add_post("/sync/stream", service.stream)
    app.router.add_get("/write-checkpoint2.json", service.write_checkpoint)
    app.router.add_post("/sync/checkpoint-request", service.checkpoint_request)
    app.router.add_get("/api/auth/token", service.token)
    app.router.add_post("/api/data", service.upload)
    async with serving(app) as service.url:
        try:
            yield service
        finally:
            service.end()
