"""`POST /sync/stream` over HTTP: a plain ASGI app.

The first line is made before the response head goes out, so that limits, bad parameters and a missing config are real HTTP errors.
After that nothing can be signalled but the end of the body. A watching task reads `receive()`, because sending to a client that
has gone returns silently.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator

from syncline.api.answers import CORS_HEADERS, InternalError, Receive, Scope, Send, send_error
from syncline.api.limits import SEND_TIMEOUT_S
from syncline.api.requests import ClientGone, authenticate, header, read_body
from syncline.auth.verifier import TokenVerifier
from syncline.errors import ShuttingDown, SynclineError
from syncline.protocol.requests import decode_stream_request
from syncline.sync.stream import StreamContext, SyncStream
from syncline.sync_config.plan import ConnectionData

__all__ = ["SyncStreamApp"]

log = logging.getLogger(__name__)

_HEAD_HEADERS = [
    *CORS_HEADERS,
    (b"content-type", b"application/x-ndjson"),
    (b"x-accel-buffering", b"no"),
    (b"cache-control", b"no-store"),
]


class SyncStreamApp:
    """Serves sync streams. `close` ends all of them; new ones are then refused with PSYNC_S2003."""

    def __init__(self, context: StreamContext, verifier: TokenVerifier) -> None:
        self._context = context
        self._verifier = verifier
        self._streams: set[asyncio.Task[None]] = set()
        self._open = 0
        self._closing = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            body = await read_body(receive)
            request = decode_stream_request(body)
            token = await authenticate(scope, self._verifier)
            if self._closing:
                raise ShuttingDown("The service is stopping.")
        except ClientGone:
            return
        except SynclineError as exc:
            _log_refusal(exc)
            await send_error(send, exc)
            return
        if self._open >= self._context.limits.connections_max:
            await _send_too_many(send)
            return
        connection = ConnectionData(token=token.payload, parameters=request.parameters or {})
        self._open += 1
        try:
            stream = SyncStream(self._context, connection=connection, request=request, expires_at_s=token.expires_at_s)
            agent = header(scope, b"x-user-agent") or header(scope, b"user-agent") or ""
            await self._serve(stream, receive, send, user_id=token.user_id, agent=agent)
        except SynclineError as exc:
            _log_refusal(exc)
            await send_error(send, exc)
        except Exception:
            log.exception("A stream could not be opened", extra={"event": "sync.crash"})
            await send_error(send, InternalError("Something went wrong."))
        finally:
            self._open -= 1

    async def close(self) -> None:
        """End all streams."""
        self._closing = True
        for task in list(self._streams):
            task.cancel()
        if self._streams:
            await asyncio.wait(list(self._streams), timeout=5)

    async def _serve(self, stream: SyncStream, receive: Receive, send: Send, *, user_id: str, agent: str) -> None:
        lines = stream.lines()
        try:
            first = await anext(lines)  # errors up to here are HTTP errors
            started_s = time.monotonic()
            sending = asyncio.create_task(_send_lines(first, lines, send))
            watching = asyncio.create_task(_until_gone(receive))
            self._streams.add(sending)
            log.info("Stream opened", extra={"event": "sync.open", "user_id": user_id, "user_agent": agent})
            try:
                await asyncio.wait({sending, watching}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                watching.cancel()
                sending.cancel()
                await asyncio.wait({sending, watching})
                self._streams.discard(sending)
            error = None if sending.cancelled() else sending.exception()
            if error is not None:
                log.warning("Stream failed: %r", error, extra={"event": "sync.error", "user_id": user_id})
            log.info(
                "Stream closed",
                extra={
                    "event": "sync.close",
                    "user_id": user_id,
                    "operations_sent": stream.operations_sent,
                    "seconds": round(time.monotonic() - started_s, 3),
                    "reason": stream.end_reason or ("error" if error else "client"),
                },
            )
        finally:
            await lines.aclose()


async def _send_lines(first: bytes, lines: AsyncGenerator[bytes], send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": _HEAD_HEADERS})
    await _send_part(send, first)
    async for line in lines:
        await _send_part(send, line)
    await send({"type": "http.response.body", "body": b""})


async def _send_part(send: Send, part: bytes) -> None:
    """Raises TimeoutError when the client takes nothing for SEND_TIMEOUT_S."""
    async with asyncio.timeout(SEND_TIMEOUT_S):
        await send({"type": "http.response.body", "body": part, "more_body": True})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send_too_many(send: Send) -> None:
    """As the protocol has it: 429 with an empty body. Official clients retry after a delay."""
    headers = [*CORS_HEADERS, (b"content-length", b"0"), (b"retry-after", b"5")]
    await send({"type": "http.response.start", "status": 429, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _log_refusal(exc: SynclineError) -> None:
    log.warning("Request refused: %s", exc, extra={"event": "api.refused", "code": exc.error_code})
