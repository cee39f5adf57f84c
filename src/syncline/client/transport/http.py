"""The sync service over HTTP (protocol reference, 2 and 5.1)."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Generator

import aiohttp
import msgspec

import syncline
from syncline.client.connector import Credentials
from syncline.client.errors import AuthFailed, ConnectionFailed, ServiceError
from syncline.errors import RemoteProtocolError
from syncline.protocol.ndjson import LineSplitter
from syncline.protocol.requests import StreamRequest

__all__ = ["CONNECT_TIMEOUT_S", "ERROR_BODY_BYTES_MAX", "READ_IDLE_TIMEOUT_S", "HttpTransport"]

CONNECT_TIMEOUT_S = 30.0  # seconds until a socket must be open
READ_IDLE_TIMEOUT_S = 75.0  # seconds without a byte; the service sends a keepalive every 20 s or so
REQUEST_TIMEOUT_S = 30.0  # seconds for a whole write checkpoint request
READ_BUFFER_BYTES = 32 * 1024  # bytes read ahead of the parser (twice this at most): lost when a connection breaks
ERROR_BODY_BYTES_MAX = 64 * 1024  # bytes of an error answer that are read

_STREAM_PATH = "/sync/stream"
_CHECKPOINT_PATH = "/write-checkpoint2.json"


class _ErrorBody(msgspec.Struct):
    code: str = ""
    description: str = ""
    details: str = ""


class _ErrorAnswer(msgspec.Struct):
    error: _ErrorBody


class _CheckpointData(msgspec.Struct):
    write_checkpoint: str


class _CheckpointAnswer(msgspec.Struct):
    data: _CheckpointData


class HttpTransport:
    """Requests of one connection. Raises AuthFailed, ServiceError, ConnectionFailed, RemoteProtocolError, and nothing else."""

    def __init__(
        self, *, connect_timeout_s: float = CONNECT_TIMEOUT_S, read_idle_timeout_s: float = READ_IDLE_TIMEOUT_S
    ) -> None:
        self._stream_timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=connect_timeout_s, sock_read=read_idle_timeout_s
        )
        self._session: aiohttp.ClientSession | None = None

    @contextlib.asynccontextmanager
    async def stream(
        self, request: StreamRequest, credentials: Credentials
    ) -> AsyncGenerator[AsyncIterator[list[bytes]]]:
        """Open a stream; inside, iterate over lists of whole lines, in the portions in which they arrive."""
        url = credentials.endpoint + _STREAM_PATH
        headers = {"accept": "application/x-ndjson", "content-type": "application/json", **_headers(credentials)}
        with _transport_errors(credentials.endpoint):
            async with self._open_session().post(
                url,
                data=msgspec.json.encode(request),
                headers=headers,
                timeout=self._stream_timeout,
                allow_redirects=False,
            ) as response:
                if response.status != 200:
                    raise await _http_error(response, credentials.endpoint)
                yield _lines(response)

    async def write_checkpoint(self, client_id: str, credentials: Credentials) -> int:
        """Ask for a write checkpoint: the number that the stream reports once the source's present state is replicated."""
        url = credentials.endpoint + _CHECKPOINT_PATH
        with _transport_errors(credentials.endpoint):
            async with self._open_session().get(
                url,
                params={"client_id": client_id},
                headers=_headers(credentials),
                timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S),
            ) as response:
                if response.status != 200:
                    raise await _http_error(response, credentials.endpoint)
                body = await response.read()
        try:
            return int(msgspec.json.decode(body, type=_CheckpointAnswer).data.write_checkpoint)
        except (msgspec.ValidationError, msgspec.DecodeError, ValueError) as exc:
            raise RemoteProtocolError("The service's write checkpoint cannot be read.") from exc

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(read_bufsize=READ_BUFFER_BYTES)
        return self._session


def _headers(credentials: Credentials) -> dict[str, str]:
    return {
        "authorization": f"Token {credentials.token}",
        "x-user-agent": f"syncline-python/{syncline.__version__}",
    }


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[list[bytes]]:
    splitter = LineSplitter()
    async for chunk in response.content.iter_any():
        if found := splitter.feed(chunk):
            yield found
    if rest := splitter.finish():
        yield rest


@contextlib.contextmanager
def _transport_errors(endpoint: str) -> Generator[None]:
    try:
        yield
    except TimeoutError as exc:
        raise ConnectionFailed(f"{endpoint} did not answer in time.") from exc
    except (aiohttp.ClientError, OSError) as exc:
        raise ConnectionFailed(f"The connection to {endpoint} failed: {type(exc).__name__}: {exc}") from exc


async def _http_error(response: aiohttp.ClientResponse, endpoint: str) -> ServiceError:
    """An HTTP error as an error of ours, with the service's code where the body has one (HTML and other bodies are not shown)."""
    body = await response.content.read(ERROR_BODY_BYTES_MAX)
    try:
        answer = msgspec.json.decode(body, type=_ErrorAnswer).error
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError):
        answer = _ErrorBody()
    status = response.status
    message = f"{endpoint} answered HTTP {status}"
    text = answer.description or answer.details
    message = f"{message}: {text}" if text else f"{message}."
    code = answer.code or None
    if status == 401:
        hint = "The token was refused: it is fetched again. Compare its key, audience and lifetime with client_auth."
        return AuthFailed(message, status_code=status, code=code, hint=hint)
    hint = ""
    if status in (301, 302, 307, 308):
        hint = "The endpoint redirects: use the address that it redirects to."
    elif status in (404, 405):
        hint = (
            "The endpoint must be the address of the sync service, not of your backend: "
            f"{endpoint}{_STREAM_PATH} does not exist."
        )
    return ServiceError(message, status_code=status, code=code, hint=hint)
