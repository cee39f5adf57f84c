"""A client that reads a sync stream and does nothing with it: what it measures is the service."""

from __future__ import annotations

from types import TracebackType

import aiohttp

from bench.rig import token
from syncline.protocol.ndjson import LineSplitter
from syncline.testing.service_process import ServiceProcess

__all__ = ["RawStream", "new_session"]

_REQUEST = b'{"raw_data":true,"streams":{"include_defaults":true,"subscriptions":[]}}'


def new_session(*, accept_encoding: str = "identity", accept: str = "application/x-ndjson") -> aiohttp.ClientSession:
    """A session for any number of streams of any length."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=None),
        headers={"Accept-Encoding": accept_encoding, "Accept": accept},
    )


class RawStream:
    """One user's stream over HTTP, in the format of its session. `reads` false: nothing after the head is ever read."""

    def __init__(
        self, session: aiohttp.ClientSession, service: ServiceProcess, user_id: str, *, reads: bool = True
    ) -> None:
        self._reads = reads
        self._session = session
        self._url = f"{service.base_url}/sync/stream"
        self._headers = {"Authorization": f"Token {token(user_id)}", "Content-Type": "application/json"}
        self._response: aiohttp.ClientResponse | None = None
        self._splitter = LineSplitter()
        self._lines: list[bytes] = []

    async def __aenter__(self) -> RawStream:
        self._response = await self._session.post(self._url, data=_REQUEST, headers=self._headers)
        self._response.raise_for_status()
        if not self._reads:
            assert self._response.connection is not None
            assert self._response.connection.transport is not None
            self._response.connection.transport.pause_reading()  # pyright: ignore[reportAttributeAccessIssue]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._response is not None
        self._response.close()

    async def line_with(self, text: bytes) -> bytes:
        """The next line that holds `text`; lines before it are dropped."""
        assert self._response is not None
        while True:
            while self._lines:
                line = self._lines.pop(0)
                if text in line:
                    return line
            chunk = await self._response.content.readany()
            if not chunk:
                raise ConnectionError("the service ended the stream")
            self._lines = self._splitter.feed(chunk)
