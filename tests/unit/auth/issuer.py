"""An issuer of tokens without a network: keys, a download that tests script, and a clock that they turn."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from syncline.auth.jwks import JwksCache
from syncline.auth.jwks_document import JwksFailed

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

    def token(self, **changed: Any) -> str:
        payload = {"sub": "user-1", "aud": "app", "iat": NOW_S, "exp": NOW_S + 300, **changed}
        headers = {} if self._kid is None else {"kid": self._kid}
        return jwt.encode(payload, self._private, algorithm="ES256", headers=headers)


@dataclass
class Clock:
    """Monotonic seconds that only tests move."""

    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


def key_set(*keys: SigningKey | dict[str, Any]) -> bytes:
    """The document of these keys."""
    return json.dumps({"keys": [key.jwk if isinstance(key, SigningKey) else key for key in keys]}).encode()


@dataclass
class Download:
    """What `JwksCache` downloads: the test says what it brings, whether it fails, and when it answers."""

    body: bytes = b'{"keys": []}'
    failure: JwksFailed | None = None
    requests: int = 0
    open: asyncio.Event = field(default_factory=asyncio.Event)  # cleared: downloads are held

    @classmethod
    def of(cls, *keys: SigningKey | dict[str, Any]) -> Download:
        made = cls(key_set(*keys))
        made.open.set()
        return made

    def publish(self, *keys: SigningKey | dict[str, Any]) -> None:
        """Bring these keys from now on."""
        self.body, self.failure = key_set(*keys), None

    def fail(self, code: str = "PSYNC_S2204") -> None:
        """Fail from now on."""
        self.failure = JwksFailed("out of order", code=code)

    async def __call__(self) -> bytes:
        self.requests += 1
        await self.open.wait()
        if self.failure is not None:
            raise self.failure
        return self.body


async def fetch_ended(cache: JwksCache) -> None:
    """Wait until the fetch that runs, if one does, has ended."""
    if cache._fetch is not None:
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.wait({cache._fetch})
