"""Backends of other people, over real sockets: every upload dialect of the field, and the usual ways to hand out tokens.

Shapes are those of the write path reference, section 1. What arrives is applied to `tables`, as an upsert, a change or a deletion of a
row; `answers` script the next answers of the upload routes (status 0: the connection breaks), `refuse` refuses single rows.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

__all__ = ["ForeignBackend", "Recorded", "serve_backend"]

Scripted = tuple[int, Any] | tuple[int, Any, dict[str, str]]


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass(slots=True)
class ForeignBackend:
    """The state of one backend, and what it was asked. `sessions` are the login tokens that it knows, with their users."""

    url: str = ""
    service_url: str = "http://127.0.0.1:1"
    sessions: dict[str, str] = field(default_factory=lambda: {"session-1": "u1"})
    tokens: set[str] = field(default_factory=set[str])
    revoked: set[str] = field(default_factory=set[str])
    token_answer: tuple[int, Any] | None = None
    config_answer: tuple[int, Any] | None = None
    tables: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict[str, dict[str, dict[str, Any]]])
    answers: list[Scripted] = field(default_factory=list[Scripted])
    refuse: dict[str, Scripted] = field(default_factory=dict[str, Scripted])
    requests: list[Recorded] = field(default_factory=list[Recorded])
    checkpoints: int = 0
    before_answer: Callable[[], Awaitable[None]] | None = None

    @property
    def uploads(self) -> list[Recorded]:
        """The requests that carried writes."""
        return [
            each for each in self.requests if each.path.startswith(("/api/data", "/api/powersync/upload", "/rest/"))
        ]

    async def token(self, request: web.Request) -> web.StreamResponse:
        """`/api/auth/token` and `/api/powersync/auth`: a new token for whoever has a session."""
        await self.record(request)
        user = self._user(request)
        if user is None:
            return web.json_response({"message": "Sign in."}, status=401)
        if self.token_answer is not None:
            status, body = self.token_answer
            return _response(status, body, {})
        token = f"sync-{user}-{len(self.tokens) + 1}"
        self.tokens.add(token)
        return web.json_response({"token": token, "powersync_url": self.service_url})

    async def config(self, request: web.Request) -> web.StreamResponse:
        """`/api/powersync/config`."""
        await self.record(request)
        user = self._user(request)
        if user is None:
            return web.json_response({"message": "Sign in."}, status=401)
        if self.config_answer is not None:
            return _response(*self.config_answer, {})
        return web.json_response({"powersyncUrl": self.service_url, "userId": user})

    async def row(self, request: web.Request) -> web.StreamResponse:
        """D1: `PUT|PATCH|DELETE /api/data/{table}/{id}`."""
        body = await self.record(request)
        if (answer := await self._scripted(request)) is not None:
            return answer
        table, row_id = request.match_info["table"], request.match_info["id"]
        if row_id in self.refuse:
            return _scripted_response(self.refuse[row_id])
        self.apply(request.method, table, row_id, body)
        return web.Response(status=204)

    async def transactions(self, request: web.Request) -> web.StreamResponse:
        """D2 (`PUT`), D3 and D7 (`POST`) at `/api/powersync/upload`; a refused row refuses the request, and nothing is applied."""
        body = await self.record(request)
        if (answer := await self._scripted(request)) is not None:
            return answer
        writes = _writes(body)
        for _, _, row_id, _ in writes:
            if row_id in self.refuse:
                return _scripted_response(self.refuse[row_id])
        for op, table, row_id, data in writes:
            self.apply(op, table, row_id, data)
        return web.json_response({"success": True})

    async def postgrest(self, request: web.Request) -> web.StreamResponse:
        """PostgREST: upsert, update by id, delete by id."""
        body = await self.record(request)
        if (answer := await self._scripted(request)) is not None:
            return answer
        table = request.match_info["table"]
        row_id = body["id"] if request.method == "POST" else request.query["id"].removeprefix("eq.")
        if row_id in self.refuse:
            return _scripted_response(self.refuse[row_id])
        self.apply({"POST": "PUT"}.get(request.method, request.method), table, row_id, body)
        return web.Response(status=201 if request.method == "POST" else 204)

    async def write_api(self, request: web.Request) -> web.StreamResponse:
        """D4: the write API; a refused row refuses its transaction for good."""
        body = await self.record(request)
        if (answer := await self._scripted(request)) is not None:
            return answer
        results: list[dict[str, Any]] = []
        for transaction in body["transactions"]:
            for entry in transaction["crud"]:
                self.apply(entry["op"], entry["table"], entry["id"], entry.get("op_data"))
            results.append({"status": "success"})
        return web.json_response({"results": results})

    async def checkpoint(self, request: web.Request) -> web.StreamResponse:
        """`PUT /api/data/checkpoint`."""
        await self.record(request)
        self.checkpoints += 1
        return web.json_response({"checkpoint": str(self.checkpoints)})

    async def profile(self, request: web.Request) -> web.StreamResponse:
        """A route of the app's own, behind the sync token."""
        await self.record(request)
        if self._bearer(request) not in self.tokens - self.revoked:
            return web.json_response({"message": "Expired."}, status=401)
        return web.json_response({"name": "Ada"})

    def apply(self, op: str, table: str, row_id: str, data: dict[str, Any] | None) -> None:
        """What a synchronous backend does with one write: applied twice it leaves what it leaves applied once."""
        rows = self.tables.setdefault(table, {})
        if op == "DELETE":
            rows.pop(row_id, None)
        elif op == "PUT":
            rows[row_id] = {**rows.get(row_id, {}), **(data or {})}
        elif row_id in rows:
            rows[row_id] |= data or {}

    async def record(self, request: web.Request) -> Any:
        """Note a request; returns its JSON."""
        text = await request.text()
        body = json.loads(text) if text else None
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append(Recorded(request.method, request.path, dict(request.query), headers, body))
        if self.before_answer is not None:
            await self.before_answer()
        return body

    async def _scripted(self, request: web.Request) -> web.StreamResponse | None:
        bearer = self._bearer(request)
        if bearer is None or bearer in self.revoked:
            return web.json_response({"message": "Bad token."}, status=401)
        if not self.answers:
            return None
        answer = self.answers.pop(0)
        if answer[0] == 0 and request.transport is not None:
            request.transport.abort()
        return _scripted_response(answer)

    def _bearer(self, request: web.Request) -> str | None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        return token if scheme == "Bearer" and token else None

    def _user(self, request: web.Request) -> str | None:
        return self.sessions.get(self._bearer(request) or "")


def _writes(body: dict[str, Any]) -> list[tuple[str, str, str, dict[str, Any] | None]]:
    if "transactions" in body:
        return [(op["op"], op["table"], op["id"], op["data"]) for each in body["transactions"] for op in each["ops"]]
    if "operations" in body:
        return [(op["op"], op["table"], op["id"], op["opData"]) for op in body["operations"]]
    return [
        (change["type"], table, change["id"], change.get("data"))
        for table, changes in body["changes"].items()
        for change in changes
    ]


def _scripted_response(answer: Scripted) -> web.StreamResponse:
    status, body = answer[0], answer[1]
    return _response(status, body, answer[2] if len(answer) == 3 else {})


def _response(status: int, body: Any, headers: dict[str, str]) -> web.StreamResponse:
    status = status or 500  # of a broken connection, and read by nobody
    if isinstance(body, str):
        kind = "text/html" if body.startswith("<") else "text/plain"
        return web.Response(status=status, text=body, content_type=kind, headers=headers)
    return web.json_response(body, status=status, headers=headers)


@contextlib.asynccontextmanager
async def serve_backend(
    backend: ForeignBackend | None = None, *, port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncGenerator[ForeignBackend]:
    """Run a backend on a port of 127.0.0.1, a free one for 0."""
    backend = backend or ForeignBackend()
    app = web.Application()
    app.router.add_route("*", "/api/auth/token", backend.token)
    app.router.add_post("/api/powersync/auth", backend.token)
    app.router.add_get("/api/powersync/config", backend.config)
    app.router.add_put("/api/data/checkpoint", backend.checkpoint)
    app.router.add_post("/api/data", backend.write_api)
    app.router.add_route("*", "/api/data/{table}/{id}", backend.row)
    app.router.add_route("*", "/api/powersync/upload", backend.transactions)
    app.router.add_route("*", "/rest/v1/{table}", backend.postgrest)
    app.router.add_get("/api/profile", backend.profile)
    runner = web.AppRunner(app, shutdown_timeout=0.2, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls)
    await site.start()
    backend.url = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield backend
    finally:
        await asyncio.shield(runner.cleanup())
