"""Reading a request: its body within bounds and of a known media type, its fields, its token."""

from __future__ import annotations

import time
from typing import Any, cast
from urllib.parse import parse_qs

import msgspec

from syncline.api.answers import Receive, Scope
from syncline.api.limits import BODIES_BYTES_MAX, BODY_BYTES_MAX, SMALL_BODY_BYTES_MAX
from syncline.auth.verifier import TokenVerifier, VerifiedToken, parse_authorization
from syncline.errors import RequestInvalid, SynclineError, TooManyConnections

__all__ = [
    "JSON_TYPE",
    "BodyTooLarge",
    "ClientGone",
    "MediaTypeUnsupported",
    "authenticate",
    "header",
    "media_type",
    "query_fields",
    "read_body",
    "read_fields",
]

JSON_TYPE = "application/json"
QUERY_FIELDS_MAX = 100  # fields of a query string


class ClientGone(Exception):
    """The client closed the connection before its request was complete."""


class BodyTooLarge(SynclineError):
    """A request body above BODY_BYTES_MAX."""

    code = "PSYNC_S2001"
    status = 413


class MediaTypeUnsupported(SynclineError):
    """A body of a media type that the route does not take."""

    code = "PSYNC_S2004"
    status = 415


class _LargeBodies:
    """What the larger bodies that are arriving take, in this process. Requests are read before it is known who asks."""

    held_bytes = 0

    @classmethod
    def hold(cls, size: int) -> None:
        """Count `size` bytes. Raises TooManyConnections above BODIES_BYTES_MAX, and has counted them all the same."""
        cls.held_bytes += size
        if cls.held_bytes > BODIES_BYTES_MAX:
            raise TooManyConnections("Too many large requests arrive at present.")

    @classmethod
    def release(cls, size: int) -> None:
        """They have been taken, or thrown away."""
        cls.held_bytes -= size
        assert cls.held_bytes >= 0, "released once"


async def read_body(receive: Receive) -> bytes:
    """The whole request body. Raises BodyTooLarge, TooManyConnections where too much of others is arriving at the same time, and
    ClientGone when the client went away.
    """
    parts: list[bytes] = []
    size = held = 0
    try:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            part: bytes = message.get("body", b"")
            size += len(part)
            if size > BODY_BYTES_MAX:
                raise BodyTooLarge(f"The request body is larger than {BODY_BYTES_MAX} bytes.")
            if size > SMALL_BODY_BYTES_MAX:
                held += len(part)
                _LargeBodies.hold(len(part))
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)
    finally:
        _LargeBodies.release(held)


def media_type(scope: Scope) -> str:
    """The media type of the body without its parameters, in lower case; empty where none is named."""
    return (header(scope, b"content-type") or "").partition(";")[0].strip().lower()


def query_fields(scope: Scope) -> dict[str, Any]:
    """Fields of the query string, the last one of a name. Raises RequestInvalid above QUERY_FIELDS_MAX."""
    text = scope.get("query_string", b"").decode("latin-1")
    try:
        found = parse_qs(text, keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX)
    except ValueError as exc:
        raise RequestInvalid([f"the query string has more than {QUERY_FIELDS_MAX} fields"]) from exc
    return {name: values[-1] for name, values in found.items()}


async def read_fields(scope: Scope, receive: Receive) -> dict[str, Any]:
    """Fields of the query string and of the body, a JSON object; the body's win. Unknown ones are kept.

    An empty body, plain text and a JSON value that is no object count as no fields, as in the reference. Raises RequestInvalid for
    what is not JSON, MediaTypeUnsupported, BodyTooLarge.
    """
    fields = query_fields(scope)
    body = await read_body(receive)
    kind = media_type(scope)
    if not body.strip():
        return fields
    if kind == "text/plain":
        return fields
    if kind != JSON_TYPE:
        raise MediaTypeUnsupported(f"The body has to be {JSON_TYPE}.")
    try:
        value: object = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise RequestInvalid([f"the body is not JSON: {exc}"]) from exc
    return fields | (cast("dict[str, Any]", value) if isinstance(value, dict) else {})


def header(scope: Scope, name: bytes) -> str | None:
    """The first header of this (lower-case) name. Any bytes are text in latin-1."""
    for key, value in scope["headers"]:
        if key == name:
            return value.decode("latin-1")
    return None


async def authenticate(scope: Scope, verifier: TokenVerifier) -> VerifiedToken:
    """Who asks. Raises AuthError with the code that says why a token is refused."""
    return await verifier.verify(parse_authorization(header(scope, b"authorization")), now_s=time.time())
