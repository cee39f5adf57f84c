"""`POST /sync/stream` over HTTP: a plain ASGI app.

The first line is made before the response head goes out, so that limits, bad parameters and a missing config are real HTTP errors.
After that nothing can be signalled but the end of the body. A watching task reads `receive()`, because sending to a client that
has gone returns silently.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from typing import Any, Protocol

from syncline.api.answers import CORS_HEADERS, InternalError, Receive, Scope, Send, send_error, send_too_many
from syncline.api.compression import BodyEncoder, CompressorCount, body_encoder
from syncline.api.limits import SEND_PART_BYTES, SEND_TIMEOUT_S
from syncline.api.negotiation import CONTENT_TYPES, ContentCoding, choose_coding, choose_format
from syncline.api.requests import ClientGone, authenticate, header, read_body
from syncline.api.stream_log import StreamLog, tells_each_checkpoint
from syncline.api.stream_registry import OpenStream, StreamRegistry
from syncline.auth.verifier import TokenVerifier, VerifiedToken
from syncline.errors import NoActiveSyncConfig, ShuttingDown, SynclineError
from syncline.protocol.line_formats import LineFormat
from syncline.protocol.requests import StreamRequest, decode_stream_request
from syncline.sync.stream import Burst, StreamContext, SyncStream
from syncline.sync_config.plan import ConnectionData

__all__ = ["SyncStreamApp"]

log = logging.getLogger(__name__)


def _head(line_format: LineFormat, coding: ContentCoding) -> list[tuple[bytes, bytes]]:
    encoding = [] if coding is ContentCoding.IDENTITY else [(b"content-encoding", coding.value.encode())]
    content_type = (b"content-type", CONTENT_TYPES[line_format].encode())
    return [*CORS_HEADERS, content_type, *encoding, (b"x-accel-buffering", b"no")]


_HEADS = {(line_format, coding): _head(line_format, coding) for line_format in LineFormat for coding in ContentCoding}
_STUCK = "the client takes nothing"


class SyncStreamApp:
    """Serves sync streams. `close` ends all of them; new ones are then refused with PSYNC_S2003."""

    def __init__(
        self, context: StreamContext, verifier: TokenVerifier, *, registry: StreamRegistry | None = None
    ) -> None:
        self._registry = StreamRegistry() if registry is None else registry
        self._context = context
        self._verifier = verifier
        self._compressors = CompressorCount()
        self._streams: set[asyncio.Task[None]] = set()
        self._open = 0
        self._closing = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            request, token = await self._read(scope, receive)
        except ClientGone:
            return
        except SynclineError as exc:
            _log_refusal(exc)
            await send_error(send, exc)
            return
        if self._open >= self._context.limits.connections_max:
            await send_too_many(send)
            return
        self._open += 1
        try:
            serving = self._serving(scope, receive, send, request, token)
            # A stream is long. The request may be as large as a body may be, and the headers hold a token.
            del request, token
            scope["headers"].clear()  # of the server's own list: a host's is copied (`embedding`)
            await serving
        except SynclineError as exc:
            _log_refusal(exc)
            await send_error(send, exc)
        except Exception:
            log.exception("A stream could not be opened", extra={"event": "sync.crash"})
            await send_error(send, InternalError("Something went wrong."))
        finally:
            self._open -= 1

    def _serving(
        self, scope: Scope, receive: Receive, send: Send, request: StreamRequest, token: VerifiedToken
    ) -> Awaitable[None]:
        """What serves a stream, once it is awaited. It keeps neither the request nor the headers."""
        line_format = choose_format(header(scope, b"accept"))
        coding = choose_coding(header(scope, b"accept-encoding"))
        return self._serve(
            SyncStream(
                self._context,
                connection=ConnectionData(token=token.payload, parameters=request.parameters or {}),
                request=request,
                expires_at_s=token.expires_at_s,
                line_format=line_format,
                tells_each_checkpoint=tells_each_checkpoint(),
            ),
            receive,
            send,
            head=_HEADS[line_format, coding],
            encoder=body_encoder(coding, self._compressors),
            bson=line_format is LineFormat.BSON,
            register=functools.partial(
                self._registry.open,
                user_id=token.user_id,
                client_id=request.client_id,
                user_agent=header(scope, b"x-user-agent") or header(scope, b"user-agent") or "",
                transport="http",
                token_expires_s=token.expires_at_s,
            ),
        )

    async def _read(self, scope: Scope, receive: Receive) -> tuple[StreamRequest, VerifiedToken]:
        """What is asked for, and by whom. Raises RequestInvalid, AuthError, ShuttingDown, ClientGone."""
        request = decode_stream_request(await read_body(receive))
        token = await authenticate(scope, self._verifier)
        if self._closing:
            raise ShuttingDown("The service is stopping.")
        return request, token

    async def close(self) -> None:
        """End all streams."""
        self._closing = True
        for task in list(self._streams):
            task.cancel()
        if self._streams:
            await asyncio.wait(list(self._streams), timeout=5)

    async def _serve(
        self,
        stream: SyncStream,
        receive: Receive,
        send: Send,
        *,
        head: list[tuple[bytes, bytes]],
        encoder: BodyEncoder,
        bson: bool,
        register: _Register,
    ) -> None:
        bursts = stream.bursts()
        try:
            # Errors up to the first burst are HTTP errors.
            first = await _first(bursts)
            sent = _Sent(send, stream)
            sending = asyncio.create_task(_send_bursts(first, bursts, sent, head, encoder))
            del first
            self._streams.add(sending)
            opened = register(end=sending.cancel)
            del register
            opened.measure = sent.measure
            lines = stream.observer = StreamLog(opened, bson=bson)
            lines.tell_opened()
            try:
                await _until_gone(receive, sending)
            finally:
                sending.cancel()
                await asyncio.wait({sending})
                self._streams.discard(sending)
                opened.count()
                opened.measure = None  # it holds the stream, which holds its log, which holds `opened`
                self._registry.close(opened)
            error = None if sending.cancelled() else sending.exception()
            if error is not None:
                log.warning("Stream failed: %r", error, extra={"event": "sync.error", "user_id": opened.user_id})
            reason = "revoked" if opened.is_revoked else "shutdown" if self._closing else "error" if error else "client"
            lines.tell_closed(stream, reason=stream.end_reason or reason)
        finally:
            encoder.close()
            await bursts.aclose()


class _Register(Protocol):
    """Enters the stream; `end` ends it."""

    def __call__(self, *, end: Callable[[], object]) -> OpenStream: ...


class _Sent:
    """`send` of one stream, which counts the bytes of bodies."""

    __slots__ = ("_bytes", "_send", "_stream")

    def __init__(self, send: Send, stream: SyncStream) -> None:
        self._send = send
        self._stream = stream
        self._bytes = 0

    def measure(self) -> tuple[int, int]:
        """Operations and bytes that were sent so far."""
        return self._stream.operations_sent, self._bytes

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        self._bytes += len(message.get("body", b""))
        await self._send(message)


async def _first(bursts: AsyncGenerator[Burst]) -> Burst:
    """The first burst. Raises NoActiveSyncConfig where there is none: the version was replaced just now."""
    async for burst in bursts:
        return burst
    raise NoActiveSyncConfig("The sync config is being replaced.", hint="The client comes again and finds the new one.")


async def _send_bursts(
    first: Burst, bursts: AsyncGenerator[Burst], send: Send, head: list[tuple[bytes, bytes]], encoder: BodyEncoder
) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await _send_burst(first, send, encoder)
    del first  # its lines are not kept for as long as the stream is open
    async for burst in bursts:
        await _send_burst(burst, send, encoder)
        del burst
    await send({"type": "http.response.body", "body": encoder.finish()})


async def _send_burst(burst: Burst, send: Send, encoder: BodyEncoder) -> None:
    """Send lines in parts of about SEND_PART_BYTES, so that what a client does not take stays small."""
    start = size = 0
    lines = burst.lines
    for end, line in enumerate(lines, 1):
        size += len(line)
        if size >= SEND_PART_BYTES or end == len(lines):
            part = lines[start] if end == start + 1 else b"".join(lines[start:end])
            await _send_parts(send, encoder, part)
            start, size = end, 0
    if burst.rests:
        encoder.rest()


async def _send_parts(send: Send, encoder: BodyEncoder, text: bytes) -> None:
    """Raises TimeoutError when the client takes nothing for SEND_TIMEOUT_S."""
    encoded = encoder.encode(text)
    for start in range(0, len(encoded), SEND_PART_BYTES):
        part = encoded if len(encoded) <= SEND_PART_BYTES else encoded[start : start + SEND_PART_BYTES]
        # As a timeout would do it, at a fraction of its price: this runs for each change of each stream.
        task = asyncio.current_task()
        assert task is not None
        timer = asyncio.get_running_loop().call_later(SEND_TIMEOUT_S, task.cancel, _STUCK)
        try:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        except asyncio.CancelledError as exc:
            if exc.args != (_STUCK,):
                raise
            task.uncancel()
            raise TimeoutError(_STUCK) from exc
        finally:
            timer.cancel()


async def _until_gone(receive: Receive, sending: asyncio.Task[None]) -> None:
    """Return when the client went away, or when nothing is sent any more.

    The server's own task listens, and is woken by being cancelled: a task of its own for it would be a third of an idle stream. The
    message of that is the ended task, which `add_done_callback` hands over.
    """
    listening = asyncio.current_task()
    assert listening is not None
    sending.add_done_callback(listening.cancel)
    try:
        while not sending.done() and (await receive())["type"] != "http.disconnect":
            pass
    except asyncio.CancelledError as exc:
        if exc.args != (sending,):
            raise
        listening.uncancel()
    finally:
        sending.remove_done_callback(listening.cancel)


def _log_refusal(exc: SynclineError) -> None:
    log.warning("Request refused: %s", exc, extra={"event": "api.refused", "code": exc.error_code})
