"""The sync service over HTTP: lines of JSON in one long answer (protocol reference, 2 and 5)."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import ClassVar

import aiohttp
import msgspec

from syncline.client.connector import Credentials
from syncline.client.transport.answers import STREAM_PATH, no_stream
from syncline.client.transport.base import Transport, TransportLimits
from syncline.client.transport.decompress import accepted_encodings, body_decoder
from syncline.client.transport.http_requests import ServiceRequests, error_of, is_loopback, transport_errors
from syncline.client.transport.path import Heard
from syncline.protocol.ndjson import LineSplitter
from syncline.protocol.requests import StreamRequest

__all__ = ["HttpTransport"]

_NDJSON = "application/x-ndjson"


class HttpTransport(Transport):
    """Streams of NDJSON, compressed where the service is on another machine.

    `ssl_context` is for certificates of an authority of your own, `proxy` the URL of an HTTP proxy, `headers` go along with every
    request (what a gateway in front of the service asks for). `compression` None: unless the endpoint is this machine.
    """

    name: ClassVar[str] = "http"
    keepalive_lines: ClassVar[bool] = True

    def __init__(
        self,
        limits: TransportLimits | None = None,
        *,
        compression: bool | None = None,
        ssl_context: ssl.SSLContext | None = None,
        proxy: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        self._limits = limits or TransportLimits()
        self._compression = compression
        self._requests = ServiceRequests(self._limits, ssl_context=ssl_context, proxy=proxy, headers=headers)

    @contextlib.asynccontextmanager
    async def stream(
        self, request: StreamRequest, credentials: Credentials
    ) -> AsyncGenerator[AsyncIterator[list[bytes]]]:
        """Open a stream; inside, iterate over lists of whole lines, in the portions in which they arrive."""
        endpoint = credentials.endpoint
        path = self._requests.path(endpoint)
        await path.ready()
        with transport_errors(endpoint):
            async with path.watch(self._limits.overdue_s) as heard:
                async with asyncio.timeout(self._limits.response_timeout_s):
                    response = await self._post(request, credentials)
                async with response:
                    heard()
                    if response.status != 200:
                        raise await error_of(response, endpoint, STREAM_PATH)
                    content_type = response.headers.get("content-type", "")
                    if content_type.partition(";")[0].strip().lower() != _NDJSON:
                        raise no_stream(endpoint=endpoint, content_type=content_type, wanted=_NDJSON)
                    yield self._lines(response, heard)

    async def write_checkpoint(self, client_id: str, credentials: Credentials) -> int:
        """Ask for a write checkpoint: the number that the stream reports once the source's present state is replicated."""
        return await self._requests.write_checkpoint(client_id, credentials)

    async def request_checkpoint(self, client_id: str, request_id: int, credentials: Credentials) -> int:
        """Ask for a checkpoint under a number of the client's own; returns the number that counts."""
        return await self._requests.request_checkpoint(client_id, request_id, credentials)

    async def close(self) -> None:
        """Close all connections. Can be called again."""
        await self._requests.close()

    def on_recovered(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever the way to the service is open again after it was found closed."""
        self._requests.on_recovered(listener)

    async def _post(self, request: StreamRequest, credentials: Credentials) -> aiohttp.ClientResponse:
        compressed = self._compression if self._compression is not None else not is_loopback(credentials.endpoint)
        headers = {
            **self._requests.headers(credentials),
            "accept": _NDJSON,
            "accept-encoding": accepted_encodings() if compressed else "identity",
            "content-type": "application/json",
        }
        limits = self._limits
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=limits.connect_timeout_s, sock_read=limits.read_idle_timeout_s
        )
        return await self._requests.session.post(
            credentials.endpoint + STREAM_PATH,
            data=msgspec.json.encode(request),
            headers=headers,
            timeout=timeout,
            proxy=self._requests.proxy,
            allow_redirects=False,
        )

    async def _lines(self, response: aiohttp.ClientResponse, heard: Heard) -> AsyncIterator[list[bytes]]:
        splitter = LineSplitter(self._limits.line_bytes_max)
        decoder = body_decoder(response.headers.get("content-encoding", ""))
        async for chunk in response.content.iter_any():
            heard()
            for part in decoder.decode(chunk):
                found = splitter.feed(part)
                with heard.busy():
                    yield found  # empty within a long line: a sign of life
                if part is not chunk:  # one chunk can stand for many slices: let others have their turn
                    await asyncio.sleep(0)
        if rest := splitter.finish():
            yield rest
