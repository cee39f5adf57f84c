"""Answers that are not streams: JSON values, and errors in the protocol's envelope (protocol reference, section 1)."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple

import orjson

from syncline.errors import AuthError, RequestInvalid, SourceError, StorageError, SynclineError

__all__ = [
    "CORS_HEADERS",
    "Answer",
    "InternalError",
    "Receive",
    "RouteNotFound",
    "Scope",
    "Send",
    "data_answer",
    "error_body",
    "pretty_answer",
    "send_error",
    "send_json",
    "send_too_many",
]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

CORS_HEADERS: list[tuple[bytes, bytes]] = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", b"Content-Type"),
]
"""The web SDK needs these on every answer."""


class Answer(NamedTuple):
    """What a handler answers: an HTTP status and a JSON document."""

    status: int
    body: bytes


def data_answer(value: Any) -> Answer:
    """200 with the value under `data`, as handlers that return plain values answer."""
    try:
        return Answer(200, orjson.dumps({"data": value}))
    except TypeError:  # a text of a client's with half a character in it: JSON can write that, UTF-8 cannot
        return Answer(200, json.dumps({"data": value}).encode())


def pretty_answer(value: Any) -> Answer:
    """200 with the value as it is, for people to read."""
    return Answer(200, orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


class InternalError(SynclineError):
    """A bug of ours; the log has the traceback."""

    code = "PSYNC_S2001"
    status = 500


class RouteNotFound(SynclineError):
    """No such route."""

    code = "PSYNC_S2002"
    status = 404


def error_body(exc: SynclineError) -> bytes:
    """The error envelope, with the field's names for kinds of errors.

    Hints and causes stay in our log: they may name configuration that is no client's business.
    """
    error: dict[str, Any] = {"code": exc.error_code, "status": exc.status, "description": exc.message}
    match exc:
        case RequestInvalid():
            name = "ValidationError"
            error["description"] = "The request is not valid."
            error["details"] = orjson.dumps([_whole(problem) for problem in exc.problems]).decode()
        case AuthError():
            name = "AuthorizationError"
        case StorageError() | SourceError():
            # Their messages name hosts, roles, files.
            who = "Bucket storage" if isinstance(exc, StorageError) else "The source database"
            name = "ServiceError"
            error["description"] = f"{who} does not answer as it should; try again."
        case SynclineError(error_code="PSYNC_S2002"):
            name = "RouteNotFound"
            error |= {"details": _whole(exc.details or exc.message), "severity": "info"}
        case InternalError():
            name = "InternalServerError"
            error |= {"details": "The log of the service has the reason.", "severity": "error"}
        case _:
            name = "ServiceError"
            if exc.details:
                error["details"] = _whole(exc.details)
    return orjson.dumps({"error": {**error, "description": _whole(error["description"]), "name": name}})


def _whole(text: str) -> str:
    """A text as JSON can hold it: it may repeat what a client sent, which may have lone surrogates."""
    return text.encode("utf-8", "replace").decode()


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


async def send_too_many(send: Send) -> None:
    """429 with an empty body, as the protocol has it. Official clients retry after a delay."""
    headers = [*CORS_HEADERS, (b"content-length", b"0"), (b"retry-after", b"5")]
    await send({"type": "http.response.start", "status": 429, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
