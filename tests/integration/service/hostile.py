"""A service process under attack: its keys, a healthy stream that has to go on beside, and bounds on what the attack may cost."""

from __future__ import annotations

import asyncio
import base64
import io
import itertools
import json
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from syncline.testing.postgres import PostgresServer, ScratchDatabase
from syncline.testing.service_process import AUDIENCE, KEY_ID, SECRET, ServiceProcess, token

__all__ = ["Attacked", "attacked_service", "base64url", "resident_mib"]

GROWTH_MIB_MAX = (
    150  # resident memory that a test's attack may leave behind or need at its height: all limits' sums, and room
)
HEALTHY_WITHIN_S = (
    20.0  # seconds within which a change reaches the stream beside an attack, on a machine that is busy otherwise
)
SOURCE_SQL = """
CREATE TABLE lists (id text PRIMARY KEY, name text NOT NULL, owner_id text NOT NULL);
CREATE PUBLICATION powersync FOR ALL TABLES;
INSERT INTO lists VALUES ('l1', 'first', 'healthy');
"""
SYNC_CONFIG = """
config: {edition: 3}
streams:
  mine:
    auto_subscribe: true
    query: SELECT * FROM lists WHERE owner_id = auth.user_id()
  named:
    query: SELECT * FROM lists WHERE name = subscription.parameter('name')
  asked:
    auto_subscribe: true
    query: SELECT * FROM lists WHERE name = connection.parameter('name') ->> 'of'
"""
_names = itertools.count()


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def resident_mib(pid: int) -> float:
    """Resident memory of a process and of its children."""
    kib = 0
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            kib = int(line.split()[1])
    children: list[str] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        children += (task / "children").read_text().split()
    return kib / 1024 + sum(resident_mib(int(child)) for child in children)


class Attacked:
    """A running service whose configuration has three keys: a shared one, an RSA and an EC public key."""

    def __init__(self, source: ScratchDatabase, folder: Path) -> None:
        self.source = source
        self.rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.ec_key = ec.generate_private_key(ec.SECP256R1())
        numbers = self.rsa_key.public_key().public_numbers()
        point = self.ec_key.public_key().public_numbers()
        self.keys: list[dict[str, str]] = [
            {"kty": "oct", "alg": "HS256", "kid": KEY_ID, "k": base64url(SECRET)},
            {
                "kty": "RSA",
                "alg": "RS256",
                "kid": "rsa",
                "n": base64url(numbers.n.to_bytes(256, "big")),
                "e": base64url(numbers.e.to_bytes(3, "big")),
            },
            {
                "kty": "EC",
                "crv": "P-256",
                "kid": "ec",
                "x": base64url(point.x.to_bytes(32, "big")),
                "y": base64url(point.y.to_bytes(32, "big")),
            },
        ]
        self.process = ServiceProcess(
            folder,
            dsn=source.dsn,
            sync_config=SYNC_CONFIG,
            client_auth={"jwks": {"keys": self.keys}, "audience": [AUDIENCE]},
        )

    @property
    def base_url(self) -> str:
        return self.process.base_url

    @property
    def public_pem(self) -> bytes:
        """The RSA public key as a file has it: what a confused verifier would take for a shared secret."""
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.rsa_key.public_key().public_bytes(serialization.Encoding.PEM, form)

    def insert(self) -> str:
        """A new row of the healthy user; its name."""
        name = f"row-{next(_names)}"
        self.source.execute("INSERT INTO lists VALUES (%s, %s, 'healthy')", (name, name))
        return name

    @asynccontextmanager
    async def unharmed(self) -> AsyncGenerator[None]:
        """What happens inside leaves a healthy stream its changes and the process its size, and is no bug of the service."""
        logged = len(self.process.log)
        async with _healthy_stream(self) as healthy:
            await healthy.gets(self.insert())
            before_mib = resident_mib(self.process.pid)
            heights: list[float] = []
            watching = asyncio.create_task(_watch(self.process.pid, heights))
            try:
                yield
                await healthy.gets(self.insert())
            finally:
                watching.cancel()
            heights.append(resident_mib(self.process.pid))
        print(f"{before_mib:.0f} MiB before, {max(heights):.0f} at most, {heights[-1]:.0f} after")
        assert max(heights) - before_mib < GROWTH_MIB_MAX, f"{before_mib:.0f} MiB before, then {max(heights):.0f}"
        _, found, traceback = self.process.log[logged:].partition("Traceback")
        assert not found, traceback[:5000]

    async def ask(self, body: object = None, *, bearer: str | None = None, **options: Any) -> tuple[int, str]:
        """`POST /sync/stream`; the status, and the error's code or "" where there is none."""
        headers = {"authorization": f"Token {token('attacker') if bearer is None else bearer}"} | options.pop(
            "headers", {}
        )
        data = io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
        async with (
            aiohttp.ClientSession(max_field_size=1 << 20) as session,
            session.post(f"{self.base_url}/sync/stream", data=data, headers=headers, **options) as response,
        ):
            if response.status == 200:
                await response.content.readline()
                return 200, ""
            text = await response.text()
            return response.status, json.loads(text)["error"]["code"] if text else ""


class _HealthyStream:
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def gets(self, name: str) -> None:
        """Read until the row has come."""
        async with asyncio.timeout(HEALTHY_WITHIN_S):
            async for line in self._response.content:
                if name.encode() in line:
                    return
        raise AssertionError("the healthy stream ended")


@asynccontextmanager
async def _healthy_stream(attacked: Attacked) -> AsyncGenerator[_HealthyStream]:
    headers = {"authorization": f"Token {token('healthy')}"}
    timeout = aiohttp.ClientTimeout(total=None)
    async with (
        aiohttp.ClientSession(timeout=timeout, read_bufsize=1 << 20) as session,
        session.post(f"{attacked.base_url}/sync/stream", json={"raw_data": True}, headers=headers) as response,
    ):
        assert response.status == 200
        yield _HealthyStream(response)


async def _watch(pid: int, heights: list[float]) -> None:
    while True:
        heights.append(resident_mib(pid))
        await asyncio.sleep(0.1)


@contextmanager
def attacked_service(server: PostgresServer, folder: Path) -> Generator[Attacked]:
    database = server.create()
    database.execute(SOURCE_SQL)
    attacked = Attacked(database, folder)
    try:
        with attacked.process:
            yield attacked
            assert attacked.process.running, attacked.process.log[-5000:]
    finally:
        server.drop(database)
