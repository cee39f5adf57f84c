"""Answers that are not streams: JSON values, and errors in the protocol's envelope (protocol reference, section 1)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson

from syncline.errors import RequestInvalid, SynclineError

__all__ = ["CORS_HEADERS", "InternalError", "Receive", "Scope", "Send", "error_body", "send_error", "send_json"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

CORS_HEADERS: list[tuple[bytes, bytes]] = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", b"Content-Type"),
]
"""The web SDK needs these on every answer."""


class InternalError(SynclineError):
    """A bug of ours; the log has the traceback."""

    code = "PSYNC_S2001"
    status = 500


def error_body(exc: SynclineError) -> bytes:
    """The error envelope. Hints and causes stay in our log: they may name configuration that is no client's business."""
    error: dict[str, Any] = {
        "code": exc.error_code,
        "status": exc.status,
        "description": exc.message,
        "name": type(exc).__name__,
    }
    if isinstance(exc, RequestInvalid):
        error["description"] = "The request is not valid."
        error["details"] = orjson.dumps(exc.problems).decode()
    elif exc.details:
        error["details"] = exc.details
    return orjson.dumps({"error": error})


async def send_error(send: Send, exc: SynclineError) -> None:
    """Answer with an error."""
    await send_json(send, error_body(exc), status=exc.status)


async def send_json(send: Send, body: bytes, *, status: int = 200) -> None:
    """Answer with a JSON document."""
    headers = [
        *CORS_HEADERS,
        (b"content-type", b"application/json; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
