"""Reading a request: its body within bounds, its token, who it is."""

from __future__ import annotations

import time

from syncline.api.answers import Receive, Scope
from syncline.api.limits import BODY_BYTES_MAX
from syncline.auth.verifier import TokenVerifier, VerifiedToken, parse_authorization
from syncline.errors import RequestInvalid, SynclineError

__all__ = ["BodyTooLarge", "ClientGone", "authenticate", "header", "read_body"]


class ClientGone(Exception):
    """The client closed the connection before its request was complete."""


class BodyTooLarge(SynclineError):
    """A request body above BODY_BYTES_MAX."""

    code = "PSYNC_S2001"
    status = 413


async def read_body(receive: Receive) -> bytes:
    """The whole request body. Raises BodyTooLarge, and ClientGone when the client went away."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > BODY_BYTES_MAX:
            raise BodyTooLarge(f"The request body is larger than {BODY_BYTES_MAX} bytes.")
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


def header(scope: Scope, name: bytes) -> str | None:
    """The first header of this (lower-case) name. Raises RequestInvalid where it is no text."""
    for key, value in scope["headers"]:
        if key == name:
            try:
                return value.decode("latin-1")
            except UnicodeDecodeError as exc:
                raise RequestInvalid([f"header {name.decode()} is not text"]) from exc
    return None


async def authenticate(scope: Scope, verifier: TokenVerifier) -> VerifiedToken:
    """Who asks. Raises AuthError with the code that says why a token is refused."""
    return await verifier.verify(parse_authorization(header(scope, b"authorization")), now_s=time.time())
