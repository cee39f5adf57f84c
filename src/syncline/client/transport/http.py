"""The sync service over HTTP: lines of JSON in one long answer (protocol reference, 2 and 5)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import ClassVar

import aiohttp
import msgspec

from syncline.client.connector import Credentials
from syncline.client.transport.answers import STREAM_PATH, no_stream
from syncline.client.transport.decompress import accepted_encodings, body_decoder
from syncline.client.transport.http_requests import error_of, transport_errors
from syncline.client.transport.path import Heard
from syncline.client.transport.service_transport import ServiceTransport
from syncline.protocol.ndjson import LineSplitter
from syncline.protocol.requests import StreamRequest

__all__ = ["HttpTransport"]

_NDJSON = "application/x-ndjson"


class HttpTransport(ServiceTransport):
    """Streams of NDJSON, compressed where the service is on another machine.

    The options are those of `ServiceTransport`.
    """

    name: ClassVar[str] = "http"
    keepalive_lines: ClassVar[bool] = True

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

    async def _post(self, request: StreamRequest, credentials: Credentials) -> aiohttp.ClientResponse:
        headers = {
            **self._requests.headers(credentials),
            "accept": _NDJSON,
            "accept-encoding": accepted_encodings() if self._is_compressed(credentials.endpoint) else "identity",
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
