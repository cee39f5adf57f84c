"""Plain requests to the service, shared by the transports: write checkpoints, and probes of the way."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Generator
from ipaddress import ip_address
from urllib.parse import urlsplit

import aiohttp
import msgspec

import syncline
from syncline.client.connector import Credentials
from syncline.client.errors import ConnectionFailed
from syncline.client.transport.answers import ERROR_BODY_BYTES_MAX, http_error, read_number
from syncline.client.transport.base import TransportLimits
from syncline.client.transport.decompress import body_decoder
from syncline.client.transport.path import Path
from syncline.errors import RemoteProtocolError

__all__ = ["ServiceRequests", "is_loopback", "transport_errors"]

READ_BUFFER_BYTES = 64 * 1024  # bytes read ahead of the parser (twice this at most): lost when a connection breaks
ANSWER_BYTES_MAX = 64 * 1024  # bytes of the answer to a request for a write checkpoint

_CHECKPOINT_PATH = "/write-checkpoint2.json"
_REQUEST_PATH = "/sync/checkpoint-request"
_PROBE_PATH = "/probes/liveness"


class ServiceRequests:
    """The HTTP session of one transport, and the way to its service. Belongs to one event loop.

    `scheme` is the word before the token: `Token` for the service, as official SDKs have it, `Bearer` for an app's backend.
    """

    def __init__(
        self,
        limits: TransportLimits,
        *,
        ssl_context: ssl.SSLContext | None = None,
        proxy: str | None = None,
        headers: dict[str, str] | None = None,
        scheme: str = "Token",
    ) -> None:
        self.limits = limits
        self.ssl_context = ssl_context
        self.proxy = proxy
        self._headers = headers or {}
        self._scheme = scheme
        self._session: aiohttp.ClientSession | None = None
        self._path: tuple[str, Path] | None = None
        self._recovered: list[Callable[[], None]] = []
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def session(self) -> aiohttp.ClientSession:
        """The session, opened when first needed. Bodies are not decoded: streams do that themselves."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self.ssl_context or True),
                read_bufsize=READ_BUFFER_BYTES,
                auto_decompress=False,
            )
        return self._session

    def path(self, endpoint: str) -> Path:
        """The way to an endpoint; another endpoint has another one."""
        if self._path is None or self._path[0] != endpoint:
            path = Path(
                lambda: self._probe(endpoint),
                peer=endpoint,
                probe_timeout_s=self.limits.probe_timeout_s,
                probe_pause_s=self.limits.probe_pause_s,
                on_closed=self._drop_connections,
            )
            path.on_recovered(self._on_recovered)
            self._path = (endpoint, path)
        return self._path[1]

    def on_recovered(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever the way is open again after it was found closed."""
        self._recovered.append(listener)

    def headers(self, credentials: Credentials) -> dict[str, str]:
        """What every request carries."""
        return {
            **self._headers,
            "authorization": f"{self._scheme} {credentials.token}",
            "x-user-agent": f"syncline-python/{syncline.__version__}",
        }

    async def write_checkpoint(self, client_id: str, credentials: Credentials) -> int:
        """GET /write-checkpoint2.json (protocol reference, 5.1)."""
        params = {"client_id": client_id}
        body = await self.ask("GET", _CHECKPOINT_PATH, credentials, params=params)
        return read_number(body, "write_checkpoint")

    async def request_checkpoint(self, client_id: str, request_id: int, credentials: Credentials) -> int:
        """POST /sync/checkpoint-request (protocol reference, 5.3)."""
        request = {"client_id": client_id, "checkpoint_request_id": str(request_id)}
        body = await self.ask("POST", _REQUEST_PATH, credentials, data=msgspec.json.encode(request))
        return read_number(body, "checkpoint_request_id")

    async def ask(
        self,
        method: str,
        path: str,
        credentials: Credentials,
        *,
        params: dict[str, str] | None = None,
        data: bytes | None = None,
        bytes_max: int = ANSWER_BYTES_MAX,
    ) -> bytes:
        """The body of an answer 200. Raises what transports raise."""
        endpoint, limits = credentials.endpoint, self.limits
        headers = {**self.headers(credentials), "accept-encoding": "identity"}
        if data is not None:
            headers["content-type"] = "application/json"
        timeout = aiohttp.ClientTimeout(total=limits.request_timeout_s, sock_connect=limits.connect_timeout_s)
        way = self.path(endpoint)
        await way.ready()
        with transport_errors(endpoint):
            async with (
                way.watch(None if limits.overdue_s is None else limits.request_overdue_s),
                self.session.request(
                    method,
                    endpoint + path,
                    params=params,
                    data=data,
                    headers=headers,
                    timeout=timeout,
                    proxy=self.proxy,
                    allow_redirects=False,
                ) as response,
            ):
                if response.status != 200:
                    raise await error_of(response, endpoint, path)
                body = await read_at_most(response, bytes_max)
        return body

    async def close(self) -> None:
        """Close all connections."""
        self._recovered.clear()  # listeners of one connection; the next one brings its own
        if self._path is not None:
            self._path[1].close()
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        if self._closing:
            await asyncio.gather(*self._closing, return_exceptions=True)

    async def _probe(self, endpoint: str) -> None:
        """Any answer will do, of a proxy too: bytes come through."""
        timeout = aiohttp.ClientTimeout(total=self.limits.probe_timeout_s)
        with transport_errors(endpoint):
            async with self.session.get(
                endpoint + _PROBE_PATH, timeout=timeout, proxy=self.proxy, allow_redirects=False
            ):
                return

    def _drop_connections(self) -> None:
        """Pooled connections may be as dead as the one that was noticed."""
        session, self._session = self._session, None
        if session is not None:
            task = asyncio.get_running_loop().create_task(session.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def _on_recovered(self) -> None:
        for listener in list(self._recovered):
            listener()


async def error_of(response: aiohttp.ClientResponse, endpoint: str, path: str) -> Exception:
    """What an answer other than 200 means."""
    return http_error(
        status=response.status,
        body=_decoded(await response.content.read(ERROR_BODY_BYTES_MAX), response.headers.get("content-encoding", "")),
        endpoint=endpoint,
        path=path,
        content_type=response.headers.get("content-type", ""),
        retry_after=response.headers.get("retry-after"),
    )


def _decoded(body: bytes, encoding: str) -> bytes:
    """The beginning of an error's body in plain; the body as it is where that makes no sense."""
    decoded = bytearray()
    with contextlib.suppress(RemoteProtocolError):
        for part in body_decoder(encoding).decode(body):
            decoded += part
            if len(decoded) >= ERROR_BODY_BYTES_MAX:
                break
    return bytes(decoded[:ERROR_BODY_BYTES_MAX]) or body


async def read_at_most(response: aiohttp.ClientResponse, bytes_max: int) -> bytes:
    """The body, where it is no longer than that. Raises ConnectionFailed."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > bytes_max:
            raise ConnectionFailed(f"An answer is longer than {bytes_max} bytes.")
    return bytes(body)


@contextlib.contextmanager
def transport_errors(endpoint: str) -> Generator[None]:
    """Turn what aiohttp raises into ConnectionFailed."""
    try:
        yield
    except TimeoutError as exc:
        raise ConnectionFailed(f"{endpoint} did not answer in time.") from exc
    except aiohttp.ClientConnectorCertificateError as exc:
        raise ConnectionFailed(
            f"The certificate of {endpoint} is not trusted: {exc.certificate_error}",
            hint="For an authority of your own: HttpTransport(ssl_context=ssl.create_default_context(cafile=…)).",
        ) from exc
    except aiohttp.ClientConnectorDNSError as exc:
        raise ConnectionFailed(
            f"{endpoint} is not known by that name.", hint="The device is offline, or the endpoint is misspelt."
        ) from exc
    except (aiohttp.ClientError, OSError) as exc:
        raise ConnectionFailed(f"The connection to {endpoint} failed: {type(exc).__name__}: {exc}") from exc


def is_loopback(endpoint: str) -> bool:
    """Whether the endpoint is this machine, where compression costs more than it saves."""
    host = urlsplit(endpoint).hostname or ""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
