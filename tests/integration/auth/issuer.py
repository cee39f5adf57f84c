"""An issuer of tokens as a real server on loopback, and names that resolve to what a test says."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import test_utils, web
from aiohttp.abc import AbstractResolver, ResolveResult

from tests.unit.auth.issuer import SigningKey, key_set

HOST = "issuer.test"


@dataclass
class Issuer:
    """What the server answers, and how often it was asked."""

    body: bytes = b'{"keys": []}'
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])
    requests: list[str] = field(default_factory=list[str])  # paths
    accepted: str | None = None
    port: int = 0
    asked: asyncio.Event = field(default_factory=asyncio.Event)  # set by the first request
    open: asyncio.Event = field(default_factory=asyncio.Event)  # cleared: requests are held

    def uri(self, path: str = "/jwks", host: str = "127.0.0.1") -> str:
        """An address of the server."""
        return f"http://{host}:{self.port}{path}"

    def publish(self, *keys: SigningKey | dict[str, Any]) -> None:
        """Answer with a key set from now on."""
        self.body, self.status, self.headers = key_set(*keys), 200, {}

    def redirect(self, target: str, status: int = 302) -> None:
        """Answer with a redirect from now on."""
        self.status, self.headers = status, {"Location": target}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request.path)
        self.asked.set()
        self.accepted = request.headers.get("Accept")
        await self.open.wait()
        if request.path == "/moved":
            return web.Response(status=302, headers={"Location": "/jwks"})
        return web.Response(body=self.body, status=self.status, headers=self.headers)


@asynccontextmanager
async def running_issuer(keys: Iterable[SigningKey | dict[str, Any]] = ()) -> AsyncGenerator[Issuer]:
    """An issuer that serves every path on a free port of loopback."""
    issuer = Issuer()
    issuer.publish(*keys)
    issuer.open.set()
    app = web.Application()
    app.router.add_get("/{path:.*}", issuer.answer)
    async with test_utils.TestServer(app, host="127.0.0.1") as server:
        issuer.port = server.make_url("/").port or 0
        yield issuer
        issuer.open.set()


class Names(AbstractResolver):
    """A name server of the test: each look-up takes the next answer, the last one stays."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)
        self.asked = 0

    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_INET) -> list[ResolveResult]:
        self.asked += 1
        found = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in found
        ]

    async def close(self) -> None:
        """Nothing is open."""
