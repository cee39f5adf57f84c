"""The sync service over a WebSocket: RSocket frames, lines as BSON (protocol reference, 4)."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from typing import ClassVar

import aiohttp
import msgspec

import syncline
from syncline.client.connector import Credentials
from syncline.client.errors import AuthFailed, ConnectionFailed, ServiceError
from syncline.client.transport.answers import STREAM_PATH, http_error
from syncline.client.transport.base import TransportLimits
from syncline.client.transport.http_requests import transport_errors
from syncline.client.transport.path import Heard
from syncline.client.transport.service_transport import ServiceTransport
from syncline.errors import RemoteProtocolError
from syncline.protocol.bson_reader import BsonLine
from syncline.protocol.requests import StreamRequest
from syncline.protocol.rsocket.client_connection import (
    ClientConnection,
    ClientInstruction,
    LineReceived,
    SendMessage,
    StreamEnded,
    StreamRefused,
)

__all__ = ["KEEPALIVE_S", "WebSocketTransport"]

KEEPALIVE_S = 5.0  # seconds between our signs of life, which the service sends back
CLOSE_TIMEOUT_S = 1.0  # seconds for the peer to answer our close; then the socket is closed all the same
FRAME_HEAD_BYTES = 16  # bytes of a message that are not the line
DEFLATE_WINDOW_BITS = 15  # of permessage-deflate, which is offered where the service is on another machine

_CODE = re.compile(r"\[(PSYNC_[A-Z]\d+)\]\s*")
_AUTH_CODE = "PSYNC_S21"  # what codes begin with that mean: another token, please


class WebSocketTransport(ServiceTransport):
    """Streams over a WebSocket, for networks whose proxies hold long answers back. Write checkpoints are asked for over HTTP.

    `keepalive_s` is the time between two signs of life, in seconds; the other options are those of `ServiceTransport`.
    The token travels inside, not in a header.
    """

    name: ClassVar[str] = "websocket"

    def __init__(
        self,
        limits: TransportLimits | None = None,
        *,
        compression: bool | None = None,
        ssl_context: ssl.SSLContext | None = None,
        proxy: str | None = None,
        headers: dict[str, str] | None = None,
        keepalive_s: float = KEEPALIVE_S,
    ) -> None:
        super().__init__(limits, compression=compression, ssl_context=ssl_context, proxy=proxy, headers=headers)
        self._keepalive_s = keepalive_s
        self._patience_s = self._limits.overdue_s  # for a sign of life to come back

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
                    socket = await self._connect(credentials)
                opened = _OpenStream(
                    socket, endpoint, self._limits, self._keepalive_s, self._patience_s, heard, path.check
                )
                try:
                    await opened.begin(request, credentials)
                    yield opened.lines()
                finally:
                    if opened.is_deaf and self._patience_s is not None:
                        # Or its answer stands behind a long line on a slow network: the next time it is waited for longer.
                        self._patience_s = min(2 * self._patience_s, self._limits.read_idle_timeout_s)
                    await opened.close()

    async def _connect(self, credentials: Credentials) -> aiohttp.ClientWebSocketResponse:
        endpoint = credentials.endpoint
        try:
            return await self._requests.session.ws_connect(
                endpoint + STREAM_PATH,  # aiohttp takes http(s) for ws(s)
                headers=self._headers,
                proxy=self._requests.proxy,
                compress=DEFLATE_WINDOW_BITS if self._is_compressed(endpoint) else 0,
                max_msg_size=self._limits.line_bytes_max + FRAME_HEAD_BYTES,
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT_S),  # pyright: ignore[reportCallIssue] - attrs
            )
        except aiohttp.WSServerHandshakeError as exc:
            headers = exc.headers or {}
            raise http_error(
                status=exc.status,
                body=b"",
                endpoint=endpoint,
                path=STREAM_PATH,
                content_type=headers.get("content-type", ""),
                retry_after=headers.get("retry-after"),
            ) from exc


class _OpenStream:
    """One WebSocket with one stream: the runner of a `ClientConnection`."""

    def __init__(
        self,
        socket: aiohttp.ClientWebSocketResponse,
        endpoint: str,
        limits: TransportLimits,
        keepalive_s: float,
        patience_s: float | None,
        heard: Heard,
        examine: Callable[[], Awaitable[object]],
    ) -> None:
        self._socket = socket
        self._endpoint = endpoint
        self._limits = limits
        self._keepalive_s = keepalive_s
        self._patience_s = patience_s
        self._heard = heard
        self._examine = examine
        self._receiving: asyncio.Timeout | None = None
        self._receiving_since_s = 0.0
        self.is_deaf = False
        """Whether the stream was given up because no sign of life came back."""
        self._connection = ClientConnection(keepalive_s=keepalive_s, line_bytes_max=limits.line_bytes_max)
        self._first: list[ClientInstruction] = []
        self._keeping_alive: asyncio.Task[None] | None = None

    async def begin(self, request: StreamRequest, credentials: Credentials) -> None:
        """Send the request, and wait for what comes of it: a refusal is raised here, as it would be over HTTP."""
        messages = self._connection.open(
            token=credentials.token,
            user_agent=f"syncline-python/{syncline.__version__}",
            path=STREAM_PATH,
            request=msgspec.json.encode(request),
        )
        for message in messages:
            await self._socket.send_bytes(message)
        self._keeping_alive = asyncio.create_task(self._keep_alive())
        async with asyncio.timeout(self._limits.response_timeout_s):
            while not any(isinstance(todo, LineReceived | StreamEnded) for todo in self._first):
                self._first = await self._perform(await self._receive())

    async def lines(self) -> AsyncIterator[list[bytes]]:
        """Every line until the service ends the stream."""
        todo = self._first
        while True:
            for instruction in todo:
                if isinstance(instruction, LineReceived):
                    with self._heard.busy():
                        yield [BsonLine(instruction.line)]
                    await self._perform(self._connection.lines_taken())
                elif isinstance(instruction, StreamEnded):
                    return
            todo = await self._perform(await self._receive())

    async def close(self) -> None:
        """Give the stream up, and close the socket."""
        if self._keeping_alive is not None:
            self._keeping_alive.cancel()
        with contextlib.suppress(aiohttp.ClientError, OSError):
            await self._perform(self._connection.cancel())
            await self._socket.close()

    async def _receive(self) -> list[ClientInstruction]:
        self._receiving_since_s = _now_s()
        try:
            async with asyncio.timeout(self._limits.read_idle_timeout_s) as self._receiving:
                message = await self._socket.receive()
        except TimeoutError as exc:
            if not self.is_deaf:
                raise
            raise ConnectionFailed(
                f"{self._endpoint} does not hear us: the WebSocket is open, but nothing that we send is answered.",
                retry_after_s=self._limits.probe_pause_s,
            ) from exc
        finally:
            self._receiving = None
        self._heard()
        match message.type:
            case aiohttp.WSMsgType.BINARY:
                return self._connection.receive(message.data)
            case aiohttp.WSMsgType.CLOSE | aiohttp.WSMsgType.CLOSING | aiohttp.WSMsgType.CLOSED:
                raise ConnectionFailed(f"{self._endpoint} closed the WebSocket (code {self._socket.close_code}).")
            case aiohttp.WSMsgType.ERROR:
                raise self._broken(message.data)
            case _:
                raise RemoteProtocolError("RSocket frames are binary messages; the service sent another kind.")

    def _broken(self, error: object) -> Exception:
        if isinstance(error, aiohttp.WebSocketError) and error.code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG:
            return RemoteProtocolError(f"A line is longer than {self._limits.line_bytes_max} bytes.")
        return ConnectionFailed(f"The WebSocket to {self._endpoint} broke: {type(error).__name__}: {error}")

    async def _perform(self, instructions: Iterable[ClientInstruction]) -> list[ClientInstruction]:
        """Send what is to be sent, raise what was refused; returns the rest."""
        rest: list[ClientInstruction] = []
        for instruction in instructions:
            match instruction:
                case SendMessage(message):
                    await self._socket.send_bytes(message)
                case StreamRefused():
                    raise _refusal(instruction, self._endpoint)
                case _:
                    rest.append(instruction)
        return rest

    async def _keep_alive(self) -> None:
        with contextlib.suppress(aiohttp.ClientError, OSError):  # the reader learns of a broken socket too
            while True:
                await asyncio.sleep(self._keepalive_s)
                await self._perform(self._connection.keepalive(now_s=_now_s()))
                await self._listen_for_answers()

    async def _listen_for_answers(self) -> None:
        """Examine the way when signs of life do not come back, though lines may; give the stream up when nothing else comes either."""
        if self._patience_s is None:
            return
        if self._connection.unanswered_s(now_s=_now_s()) >= self._patience_s / 2:
            await self._examine()
        now_s = _now_s()
        if self._receiving is None:
            return
        silent_s = min(self._connection.unanswered_s(now_s=now_s), now_s - self._receiving_since_s)
        if silent_s >= self._patience_s and not self._receiving.expired():
            self.is_deaf = True
            self._receiving.reschedule(asyncio.get_running_loop().time())


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def _refusal(refused: StreamRefused, endpoint: str) -> ServiceError:
    """What a refusal means. One of the whole connection without a code is about the token: nothing else is checked there."""
    found = _CODE.search(refused.message)
    code = found.group(1) if found else None
    text = _CODE.sub("", refused.message, count=1) if found else refused.message
    message = f"{endpoint} refused the stream: {text}"
    if (code or "").startswith(_AUTH_CODE) or (code is None and refused.is_setup):
        hint = "The token was refused: it is fetched again. Compare its key, audience and lifetime with client_auth."
        return AuthFailed(message, status_code=401, code=code, hint=hint)
    return ServiceError(message, status_code=500, code=code)
