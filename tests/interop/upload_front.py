"""What stands between a device and its backend and answers uploads in the backend's place, or spoils the backend's answers."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from tests.support.web_server import serving

__all__ = ["Fault", "UploadFront", "upload_front"]


@dataclass(frozen=True, slots=True)
class Fault:
    """An answer to `POST /api/data`. With `commits` the backend gets the request first, and its own answer is lost."""

    status: int
    body: str
    content_type: str = "application/json"
    commits: bool = False


@dataclass(slots=True)
class UploadFront:
    """Passes everything on to `target`; uploads meet the `fault` as long as there is one, after the first `passes`."""

    target: str
    session: aiohttp.ClientSession
    url: str = ""
    fault: Fault | None = None
    passes: int = 0
    faults_answered: int = 0
    tokens_given: int = 0
    uploads: list[Any] = field(default_factory=list[Any])

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        is_upload = request.path == "/api/data"
        body = await request.read()
        if is_upload:
            self.uploads.append(body)
        self.tokens_given += request.path == "/api/auth/token"
        fault = self.fault if is_upload and len(self.uploads) > self.passes else None
        if fault is not None and not fault.commits:
            return self._spoiled(fault)
        headers = {name: request.headers[name] for name in ("authorization", "content-type") if name in request.headers}
        async with self.session.request(
            request.method, f"{self.target}{request.path_qs}", data=body, headers=headers
        ) as passed:
            if fault is not None:
                return self._spoiled(fault)
            return web.Response(
                status=passed.status, body=await passed.read(), content_type=passed.content_type, charset=passed.charset
            )

    def _spoiled(self, fault: Fault) -> web.Response:
        self.faults_answered += 1
        return web.Response(status=fault.status, text=fault.body, content_type=fault.content_type)


@contextlib.asynccontextmanager
async def upload_front(target: str) -> AsyncGenerator[UploadFront]:
    """A front on a port of its own."""
    async with aiohttp.ClientSession() as session:
        front = UploadFront(target, session)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", front.answer)
        async with serving(app) as url:
            front.url = url
            yield front
