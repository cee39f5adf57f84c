"""Sync without a sync service: the app's own backend is asked for changes every few seconds (requirements 82, 83 and 253).

For backends that have a route `GET /api/powersync/sync?since=` and no service yet. It is not the streaming protocol: the backend decides
what a device may have and orders changes by its own timestamps, and changes arrive with a delay. Uploads are the same in both.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from datetime import UTC, datetime
from typing import ClassVar

from syncline.client.connector import Credentials
from syncline.client.errors import AuthFailed, ServiceError
from syncline.client.transport.base import Transport, TransportLimits
from syncline.client.transport.http_requests import ServiceRequests
from syncline.client.transport.polled_pages import PolledPages
from syncline.protocol.lines import TokenExpiresIn, encode_line
from syncline.protocol.requests import StreamRequest

__all__ = ["INTERVAL_S", "PAGE_BYTES_MAX", "POLL_PATH", "PollingTransport"]

INTERVAL_S = 5.0  # seconds between two requests while nothing changes
KEEPALIVE_S = 20.0  # seconds between keepalives, which make the client look at its queue, its streams and its token
PAGE_BYTES_MAX = 64 * 1024 * 1024  # bytes of one page
POLL_PATH = "/api/powersync/sync"

_TOKEN_S = 3600  # seconds of life of a token that does not say


class PollingTransport(Transport):
    """Asks `GET {endpoint}{path}?since=…` again and again; the endpoint is the app's backend here, and the token goes as `Bearer`.

    The first request has no `since`: the backend answers with everything. Rows of all tables of a round become visible together, when a
    page says that there are no more. A local write holds them back until the backend has it, as with a stream. Sync streams and
    connection parameters mean nothing to such a backend.
    """

    name: ClassVar[str] = "polling"

    def __init__(
        self,
        limits: TransportLimits | None = None,
        *,
        path: str = POLL_PATH,
        interval_s: float = INTERVAL_S,
        ssl_context: ssl.SSLContext | None = None,
        proxy: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        self._poll_path = path
        self._interval_s = interval_s
        self._requests = ServiceRequests(
            limits or TransportLimits(), ssl_context=ssl_context, proxy=proxy, headers=headers, scheme="Bearer"
        )
        self._number = 0  # write checkpoints and rounds share one row of numbers
        self._asked: asyncio.Event | None = None

    @contextlib.asynccontextmanager
    async def stream(
        self, request: StreamRequest, credentials: Credentials
    ) -> AsyncGenerator[AsyncIterator[list[bytes]]]:
        """Open a stream: one page is fetched before, so that a refusal is raised here."""
        pages = PolledPages(request.buckets)
        self._asked = asyncio.Event()
        number, first = self._next_number(), await self._page(pages.since, credentials)
        yield self._lines(pages, credentials, number, first, self._asked)

    async def write_checkpoint(self, client_id: str, credentials: Credentials) -> int:
        """A number of our own: the first round whose request comes after this contains what the backend has committed."""
        number = self._next_number()
        if self._asked is not None:
            self._asked.set()
        return number

    async def request_checkpoint(self, client_id: str, request_id: int, credentials: Credentials) -> int:
        """Raises ServiceError with status 404, as a service does that has only numbers of its own: here too they are the transport's."""
        raise ServiceError("Polling has write checkpoints of its own, no checkpoint requests.", status_code=404)

    async def close(self) -> None:
        """Close all connections. Can be called again."""
        await self._requests.close()

    def on_recovered(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever the way to the backend is open again after it was found closed."""
        self._requests.on_recovered(listener)

    def _next_number(self) -> int:
        # By the clock, so that no number of an earlier run of the app is above.
        self._number = max(self._number + 1, time.time_ns() // 1_000_000)
        return self._number

    async def _page(self, since: str | None, credentials: Credentials) -> bytes:
        params = None if since is None else {"since": since}
        try:
            return await self._requests.ask(
                "GET", self._poll_path, credentials, params=params, bytes_max=PAGE_BYTES_MAX
            )
        except AuthFailed:
            raise
        except ServiceError as exc:
            if exc.status_code not in (404, 405):
                raise
            raise ServiceError(
                exc.message,
                status_code=exc.status_code,
                code=None,
                hint=f"Polling asks the app's backend for changes, and it has no route {self._poll_path}. "
                'For a sync service leave out transport="polling".',
            ) from exc

    async def _lines(
        self, pages: PolledPages, credentials: Credentials, number: int, body: bytes, asked: asyncio.Event
    ) -> AsyncIterator[list[bytes]]:
        yield pages.begin()
        is_first, changed = True, False
        kept_alive_s = time.monotonic()
        while True:
            # In a thread: a page may be large, and the event loop is the app's.
            found, more = await asyncio.to_thread(pages.page, body)
            changed |= bool(found)
            if found:
                yield found
            if not more:
                if is_first or changed:
                    yield pages.complete(number)
                is_first = changed = False
                if time.monotonic() - kept_alive_s >= KEEPALIVE_S:
                    kept_alive_s = time.monotonic()
                    yield [encode_line(TokenExpiresIn(_seconds_left(credentials)))]
                changed = await self._pause(asked)
            number, body = self._next_number(), await self._page(pages.since, credentials)

    async def _pause(self, asked: asyncio.Event) -> bool:
        """Wait for the next round; True when it is due because a write checkpoint waits for it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._interval_s):
                await asked.wait()
        was_asked = asked.is_set()
        asked.clear()
        return was_asked


def _seconds_left(credentials: Credentials) -> int:
    if credentials.expires_at is None:
        return _TOKEN_S
    expires_at = credentials.expires_at
    return int((expires_at - datetime.now(expires_at.tzinfo or UTC).replace(tzinfo=expires_at.tzinfo)).total_seconds())
