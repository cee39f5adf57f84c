"""Requests to the app's backend: time limits, sizes, and what is made of answers that no backend has written.

A connection can die without a word (a laptop that slept, a lost network), and its request would wait for an answer for minutes. So a
silent request is watched (`transport.path`): after `overdue_s` the backend is asked something small over another connection. One that is
slow answers that, and is waited for. One that does not is out of reach: the request fails, and the next one waits until something is
answered again. Uploads may be repeated (write path reference, 3, rule 7).
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from syncline.client.errors import ConnectionFailed, ServiceError
from syncline.client.retry import retry_after_s
from syncline.client.settings import validate_url
from syncline.client.transport.path import Path

if TYPE_CHECKING:
    import aiohttp

__all__ = ["ANSWER_BYTES_MAX", "MESSAGE_CHARACTERS_MAX", "Answer", "BackendClient", "Exchange", "RequestTimeouts"]

ANSWER_BYTES_MAX = 8 * 1024 * 1024  # bytes of one answer of a backend
MESSAGE_CHARACTERS_MAX = 500  # of a backend's message that is quoted in an error

_READ_BYTES = 64 * 1024
_NO_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_MESSAGE_DEPTH_MAX = 4  # levels of an error document in which a message is looked for
_MESSAGE_FIELDS = ("message", "detail", "error_description", "error", "title", "msg")  # in this order


@dataclass(frozen=True, slots=True)
class RequestTimeouts:
    """Limits of one request, in seconds."""

    connect_s: float = 10.0  # until a socket is open, TLS included
    answer_s: float = 60.0  # for the whole request
    overdue_s: float = (
        4.0  # of silence, after which the way is examined; doubles with requests in a row that were given up so
    )
    probe_s: float = 4.0  # for the answer to a probe
    probe_pause_s: float = 1.0  # between two probes


@dataclass(frozen=True, slots=True)
class Answer:
    """What a backend answered. Header names are in lower case."""

    status: int
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)

    @property
    def ok(self) -> bool:
        """Whether the status says success."""
        return 200 <= self.status < 300

    @property
    def retry_after_s(self) -> float | None:
        """Seconds that the backend asks to wait, None for no wish."""
        return retry_after_s(self.headers.get("retry-after"), date_header=self.headers.get("date"))

    @property
    def is_page(self) -> bool:
        """Whether this is a page for people: a gateway's error, a login form, a captive portal; never an app's backend."""
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        start = self.body[:64].lstrip().lower()
        return kind in ("text/html", "application/xhtml+xml") or start.startswith((b"<!doctype html", b"<html"))

    def json(self) -> Any:
        """The body as JSON. Raises ServiceError for anything else, an empty body included."""
        try:
            return msgspec.json.decode(self.body)
        except _NO_JSON as exc:
            raise ServiceError(
                f"The backend answered HTTP {self.status} with {self.describe()} instead of JSON.",
                status_code=self.status,
            ) from exc

    @property
    def message(self) -> str:
        """The backend's own words, as problem documents and the usual frameworks carry them; empty where there are none."""
        try:
            document = msgspec.json.decode(self.body)
        except _NO_JSON:
            return ""
        return _message_in(document)[:MESSAGE_CHARACTERS_MAX]

    def describe(self) -> str:
        """What kind of body it is, for error messages: pages of gateways are not quoted."""
        if not self.body:
            return "nothing"
        return "an HTML page" if self.is_page else f"{len(self.body)} bytes of another format"


def _message_in(document: Any, depth: int = 0) -> str:
    """A text under one of the usual names, also within `error`; FastAPI's list of `detail` entries is joined."""
    if isinstance(document, str):
        return document
    if depth == _MESSAGE_DEPTH_MAX:
        return ""
    if isinstance(document, list):
        entries: list[Any] = document  # pyright: ignore[reportUnknownVariableType]  # of any JSON
        return "; ".join(filter(None, (_message_in(entry, depth + 1) for entry in entries[:5])))
    if not isinstance(document, dict):
        return ""
    fields: dict[str, Any] = document  # pyright: ignore[reportUnknownVariableType]  # of any JSON
    return next(
        (text for name in _MESSAGE_FIELDS if name in fields and (text := _message_in(fields[name], depth + 1))), ""
    )


class Exchange:
    """Requests over connections that stay open between them, within `BackendClient.exchange()`."""

    def __init__(self, client: BackendClient, session: aiohttp.ClientSession) -> None:
        self._client = client
        self._session = session

    async def request(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request and read its answer, whatever its status. Raises ConnectionFailed, ServiceError for an endless answer."""
        import aiohttp

        client = self._client
        path = client.path()
        try:
            await path.ready()
            async with path.watch(client.overdue_s) as heard:
                answer = await self._send(method, url, body, params or {}, headers or {}, heard)
        except ConnectionFailed:
            client.silent_requests += 1
            raise
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as exc:
            raise ConnectionFailed(f"The backend {client.base_url} cannot be reached: {type(exc).__name__}") from exc
        client.silent_requests = 0
        return answer

    async def _send(
        self,
        method: str,
        url: str,
        body: bytes | None,
        params: Mapping[str, str],
        headers: Mapping[str, str],
        heard: Callable[[], None],
    ) -> Answer:
        from yarl import URL  # comes with aiohttp, which is loaded by now

        # Left alone, an escaped dot becomes one again, and an id of dots another address.
        address = URL(url, encoded="%2E" in url)
        async with self._session.request(
            method, address, data=body, params=params, headers=headers, allow_redirects=False
        ) as response:
            heard()
            parts: list[bytes] = []
            size = 0
            async for part in response.content.iter_chunked(_READ_BYTES):
                heard()
                parts.append(part)
                size += len(part)
                if size > ANSWER_BYTES_MAX:
                    raise ServiceError(
                        f"The backend's answer is longer than {ANSWER_BYTES_MAX} bytes.", status_code=response.status
                    )
            return Answer(
                response.status, b"".join(parts), {name.lower(): value for name, value in response.headers.items()}
            )


class BackendClient:
    """One backend's address, the headers of every request to it, and the limits. Holds no socket outside of `exchange()`."""

    def __init__(
        self,
        base_url: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeouts: RequestTimeouts | None = None,
        ssl_context: ssl.SSLContext | None = None,
        proxy: str | None = None,
    ) -> None:
        """`ssl_context` is for certificates of an authority of your own, `proxy` the URL of an HTTP proxy."""
        self.base_url = validate_url(base_url, name="The backend's address")
        self.timeouts = timeouts or RequestTimeouts()
        self.silent_requests = 0  # in a row
        self._headers = dict(headers or {})
        self._ssl_context = ssl_context
        self._proxy = proxy
        self._path: tuple[asyncio.AbstractEventLoop, Path] | None = None

    @property
    def overdue_s(self) -> float:
        """Seconds of silence after which the way is examined.

        They grow with every request that was given up: a backend that can do one thing at a time answers no probe while it works.
        """
        return min(self.timeouts.answer_s, self.timeouts.overdue_s * 2.0 ** min(self.silent_requests, 10))

    def path(self) -> Path:
        """The way to the backend, as the present event loop knows it."""
        loop = asyncio.get_running_loop()
        if self._path is None or self._path[0] is not loop:
            timeouts = self.timeouts
            way = Path(
                self._probe,
                peer=f"The backend {self.base_url}",
                probe_timeout_s=timeouts.probe_s,
                probe_pause_s=timeouts.probe_pause_s,
            )
            self._path = (loop, way)
        return self._path[1]

    async def _probe(self) -> None:
        """Any answer will do. Raises OSError where there is none."""
        import aiohttp

        try:
            async with self._session() as session, session.head(self.base_url, allow_redirects=False):
                pass
        except aiohttp.ClientError as exc:
            raise ConnectionFailed(f"The backend {self.base_url} did not answer: {type(exc).__name__}") from exc

    def url(self, path: str) -> str:
        """A path of the backend as an address; an address stays what it is."""
        return path if path.startswith(("http://", "https://")) else f"{self.base_url}/{path.lstrip('/')}"

    @contextlib.asynccontextmanager
    async def exchange(self) -> AsyncGenerator[Exchange]:
        """Requests that share connections; all are closed at the end of the block."""
        async with self._session() as session:
            yield Exchange(self, session)

    def _session(self) -> aiohttp.ClientSession:
        import aiohttp

        return aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=self.timeouts.answer_s, sock_connect=self.timeouts.connect_s),
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),  # cookies belong to whoever set them: the app's own come in `headers`
            connector=aiohttp.TCPConnector(ssl=self._ssl_context or True),
            proxy=self._proxy,
        )
