"""A transport without sockets: lines of a real session, handed over in memory."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING, ClassVar

import msgspec

from syncline.client.connector import Credentials
from syncline.client.errors import ConnectionFailed
from syncline.client.transport.base import Transport, TransportLimits
from syncline.protocol.requests import StreamRequest
from syncline.testing.link import Link, RequestKind

if TYPE_CHECKING:
    from syncline.testing.service import MemoryService

__all__ = ["LINES_BUFFERED_MAX", "LinePipe", "MemoryTransport"]

LINES_BUFFERED_MAX = 32  # lines between the two ends of a stream: what the buffers of two sockets hold of small ones


class LinePipe:
    """Lines from a session to a device, in order and bounded. One side puts, the other gets; both ends can break it."""

    def __init__(self, *, lines_max: int = LINES_BUFFERED_MAX) -> None:
        self._lines: deque[tuple[bytes, float]] = deque()
        self._lines_max = lines_max
        self._arrived = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._ended = False
        self._error: Exception | None = None
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def put(self, line: bytes) -> None:
        """Add a line; waits while the pipe is full."""
        while len(self._lines) >= self._lines_max and not self._ended:
            self._has_room.clear()
            await self._has_room.wait()
        self._lines.append((line, asyncio.get_running_loop().time()))
        self._arrived.set()

    def end(self, error: Exception | None = None) -> None:
        """No line will follow; what is in the pipe still arrives, unless it ends with an error: that is lost."""
        if self._ended:
            return
        self._ended = True
        if error is not None:
            self._error = error
            self._lines.clear()
        if not self.opened.done():
            self.opened.set_exception(error or ConnectionFailed("The service closed the connection."))
            self.opened.exception()  # it may be that nobody waits any more
        self._arrived.set()
        self._has_room.set()

    async def get(self) -> tuple[bytes, float] | None:
        """The next line and the loop's time at which it was sent, None at the end. Raises what the pipe was broken with."""
        while not self._lines:
            if self._error is not None:
                raise self._error
            if self._ended:
                return None
            self._arrived.clear()
            await self._arrived.wait()
        self._has_room.set()
        return self._lines.popleft()


class MemoryTransport(Transport):
    """The way of one connection to a service in memory. The limits in time are those of a transport over sockets."""

    name: ClassVar[str] = "memory"

    def __init__(self, service: MemoryService, link: Link, *, limits: TransportLimits | None = None) -> None:
        self._service = service
        self._link = link
        self._limits = limits or TransportLimits()

    @contextlib.asynccontextmanager
    async def stream(
        self, request: StreamRequest, credentials: Credentials
    ) -> AsyncGenerator[AsyncIterator[list[bytes]]]:
        """Open a stream; inside, iterate over lists of whole lines."""
        async with self._in_time(self._limits.response_timeout_s):
            await self._link.before(RequestKind.STREAM)
            pipe = self._service.open_stream(msgspec.json.encode(request), credentials.token)
        unregister = self._link.register(pipe.end)
        try:
            async with self._in_time(self._limits.response_timeout_s):
                await asyncio.shield(pipe.opened)
                await self._link.after(RequestKind.STREAM)
            yield self._lines(pipe)
        finally:
            unregister()
            pipe.end(ConnectionFailed("The device closed the connection."))

    async def write_checkpoint(self, client_id: str, credentials: Credentials) -> int:
        """Ask for a write checkpoint."""
        async with self._in_time(self._limits.request_timeout_s):
            await self._link.before(RequestKind.WRITE_CHECKPOINT)
            number = 0
            for _ in range(self._link.deliveries(RequestKind.WRITE_CHECKPOINT)):
                number = await self._service.create_write_checkpoint(client_id, credentials.token)
            await self._link.after(RequestKind.WRITE_CHECKPOINT)
            return number

    async def request_checkpoint(self, client_id: str, request_id: int, credentials: Credentials) -> int:
        """Ask for a checkpoint under a number of the client's own."""
        async with self._in_time(self._limits.request_timeout_s):
            await self._link.before(RequestKind.WRITE_CHECKPOINT)
            number = 0
            for _ in range(self._link.deliveries(RequestKind.WRITE_CHECKPOINT)):
                number = await self._service.request_checkpoint(client_id, request_id, credentials.token)
            await self._link.after(RequestKind.WRITE_CHECKPOINT)
            return number

    async def close(self) -> None:
        """Streams end with their context managers."""

    async def _lines(self, pipe: LinePipe) -> AsyncIterator[list[bytes]]:
        while True:
            async with self._in_time(self._limits.read_idle_timeout_s):
                found = await pipe.get()
                if found is None:
                    return
                line, sent_at_s = found
                passed = await self._link.line(line, sent_at_s)
            if passed:
                yield passed

    @contextlib.asynccontextmanager
    async def _in_time(self, timeout_s: float) -> AsyncGenerator[None]:
        try:
            async with asyncio.timeout(timeout_s):
                yield
        except TimeoutError as exc:
            raise ConnectionFailed("The service did not answer in time.") from exc
