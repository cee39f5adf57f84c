"""The API behind a real HTTP server on a real socket, and clients that read as badly as clients can."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn

from syncline.service.http_protocol import StreamHttpProtocol
from syncline.service.listening import SEND_BUFFER_BYTES
from syncline.sync.limits import StreamLimits
from syncline.testing.waiting import eventually
from tests.unit.api.world import World, running_world, token

__all__ = ["RawClient", "ServedWorld", "served_world"]


class ServedWorld:
    """A world and the port where it is served."""

    def __init__(self, world: World, port: int) -> None:
        self.world, self.port = world, port

    @asynccontextmanager
    async def client(
        self, user_id: str = "u1", *, lifetime_s: float = 3600, **options: Any
    ) -> AsyncGenerator[RawClient]:
        """A client that has sent its request."""
        client = RawClient(self.port, **options)
        try:
            await client.send(token(user_id, lifetime_s=lifetime_s))
            yield client
        finally:
            client.close()


class RawClient:
    """One request on one socket. Nothing is read unless a test says so: with a small receive buffer the service soon notices."""

    def __init__(
        self, port: int, *, accept: str = "", accept_encoding: str = "", body: dict[str, Any] | None = None
    ) -> None:
        self._headers = {"Accept": accept, "Accept-Encoding": accept_encoding}
        self._body = json.dumps({"raw_data": True} if body is None else body).encode()
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.setblocking(False)
        self._address = ("127.0.0.1", port)
        self._received = b""
        self.status = 0
        self.head = ""

    async def send(self, bearer: str) -> None:
        """Connect and ask for a stream."""
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self._socket, self._address)
        named = "".join(f"{name}: {value}\r\n" for name, value in self._headers.items() if value)
        head = (
            f"POST /sync/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Token {bearer}\r\n{named}"
            f"Content-Length: {len(self._body)}\r\n\r\n"
        )
        await loop.sock_sendall(self._socket, head.encode() + self._body)

    async def read_head(self) -> None:
        """Read the answer's head."""
        while b"\r\n\r\n" not in self._received:
            assert await self._receive(1), "the service closed the connection"
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        self.head = head.decode().lower()
        self.status = int(head.split()[1])

    async def read_part(self, *, at_once: int = 65536) -> bytes:
        """The next part of the chunked body as the service sent it, b"" at its end. `at_once`: bytes of each read."""
        if not self.status:
            await self.read_head()
        while (found := re.match(rb"([0-9a-f]+)\r\n", self._received)) is None:
            if not await self._receive(at_once):
                raise ConnectionError("the body was cut")
        size, start = int(found[1], 16), found.end()
        while len(self._received) < start + size + 2:
            if not await self._receive(at_once):
                raise ConnectionError("the body was cut")
        part, self._received = self._received[start : start + size], self._received[start + size + 2 :]
        return part

    async def read_until_cut(self) -> int:
        """Read until the service has closed the connection; how many bytes came."""
        count = 0
        while size := await self._receive(65536):
            count += size
        return count

    async def _receive(self, size: int) -> int:
        async with asyncio.timeout(20):
            try:
                part = await asyncio.get_running_loop().sock_recv(self._socket, size)
            except ConnectionResetError:
                return 0
        self._received += part
        return len(part)

    def close(self) -> None:
        """Go away without a word."""
        self._socket.close()


@asynccontextmanager
async def served_world(folder: Path, *, limits: StreamLimits | None = None) -> AsyncGenerator[ServedWorld]:
    """Serve a world, with the protocol and the socket options of the service."""
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    listening.bind(("127.0.0.1", 0))
    listening.listen(64)
    async with running_world(folder, limits=limits) as world:
        config = uvicorn.Config(
            world.app,  # pyright: ignore[reportArgumentType]  # uvicorn's own types of ASGI are narrower
            http=StreamHttpProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            timeout_graceful_shutdown=2,
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server._serve([listening]))
        try:
            await eventually(lambda: server.started)
            yield ServedWorld(world, listening.getsockname()[1])
        finally:
            await world.streams.close()
            server.should_exit = True
            await serving
            listening.close()
