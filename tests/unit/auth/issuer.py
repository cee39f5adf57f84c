"""An issuer of tokens: keys, a server on loopback that publishes them, and a clock that tests turn."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import jwt
from aiohttp import test_utils, web
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from syncline.auth.jwks import JwksCache

NOW_S = 1_800_000_000
DEADLINE_S = 5.0  # seconds that a test waits for a condition


class SigningKey:
    """An ES256 key: its public JWK and tokens signed with it."""

    def __init__(self, kid: str | None) -> None:
        self._private = ec.generate_private_key(ec.SECP256R1())
        self._kid = kid
        self.jwk: dict[str, Any] = ECAlgorithm.to_jwk(self._private.public_key(), as_dict=True)
        if kid is not None:
            self.jwk["kid"] = kid

    def token(self) -> str:
        payload = {"sub": "user-1", "aud": "app", "iat": NOW_S, "exp": NOW_S + 300}
        headers = {} if self._kid is None else {"kid": self._kid}
        return jwt.encode(payload, self._private, algorithm="ES256", headers=headers)


@dataclass
class Clock:
    """Monotonic seconds that only tests move."""

    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class Issuer:
    """What the server answers, and how often it was asked."""

    body: bytes = b'{"keys": []}'
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])
    requests: int = 0
    accepted: str | None = None
    uri: str = ""
    asked: asyncio.Event = field(default_factory=asyncio.Event)  # set by the first request
    open: asyncio.Event = field(default_factory=asyncio.Event)  # cleared: requests are held

    def publish(self, *keys: SigningKey | dict[str, Any]) -> None:
        """Answer with a key set from now on."""
        jwks = [key.jwk if isinstance(key, SigningKey) else key for key in keys]
        self.body, self.status = json.dumps({"keys": jwks}).encode(), 200

    async def answer(self, request: web.Request) -> web.Response:
        self.requests += 1
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
    async with test_utils.TestServer(app) as server:
        issuer.uri = str(server.make_url("/jwks"))
        yield issuer
        issuer.open.set()


async def fetch_ended(cache: JwksCache) -> None:
    """Wait until the fetch that runs, if one does, has ended."""
    if cache._fetch is not None:
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.wait({cache._fetch})
