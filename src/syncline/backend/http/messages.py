"""Requests and answers without a framework: what the faces translate to and from. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from syncline.backend.tokens import AuthenticatedUser

__all__ = [
    "JSON_HEADERS",
    "BackendRequest",
    "BackendResponse",
    "BodyIncomplete",
    "BodyTooLarge",
    "BodyTooSlow",
    "EncodingNotAccepted",
    "Overloaded",
    "RequestRefused",
    "TooManyRequests",
    "json_response",
    "message_response",
]

JSON_HEADERS: Mapping[str, str] = {"content-type": "application/json"}


@dataclass(frozen=True, slots=True)
class BackendRequest:
    """One HTTP request. `path` is decoded and has no query; `headers` have lower-case names; of repeated ones the last counts.

    `user` is who the app's own login says is asking, for the routes that exchange a session for a token. It is not the user of a
    Bearer token: that one is read from the headers.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    body: bytes = field(default=b"", repr=False)
    user: AuthenticatedUser | None = None


@dataclass(frozen=True, slots=True)
class BackendResponse:
    """One HTTP answer. `headers` have lower-case names, content-type among them; content-length is left to the server."""

    status: int
    body: bytes = field(default=b"", repr=False)
    headers: Mapping[str, str] = field(default_factory=lambda: dict(JSON_HEADERS))


class RequestRefused(Exception):
    """A request that is answered without being looked at: its `status` and what to say."""

    status = 400

    def __init__(self, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.headers = headers or {}


class BodyTooLarge(RequestRefused):
    """The body is above its limit, whether the client said so or not."""

    status = 413

    def __init__(self, bytes_max: int) -> None:
        super().__init__(f"The upload is larger than {bytes_max} bytes.")


class BodyTooSlow(RequestRefused):
    """The body was not there in time."""

    status = 408

    def __init__(self, seconds: float) -> None:
        super().__init__(f"The upload took longer than {seconds:g} s to arrive.")


class BodyIncomplete(RequestRefused):
    """The client went away before the end of its body: nobody hears the answer."""

    def __init__(self) -> None:
        super().__init__("The upload ended early.")


class EncodingNotAccepted(RequestRefused):
    """The body is compressed: a small one could become any size."""

    status = 415

    def __init__(self) -> None:
        super().__init__("Send the body without Content-Encoding.", {"accept-encoding": "identity"})


class TooManyRequests(RequestRefused):
    """One user has asked too often."""

    status = 429

    def __init__(self, retry_after_s: int) -> None:
        super().__init__("Too many requests of this user.", {"retry-after": str(retry_after_s)})


class Overloaded(RequestRefused):
    """As many uploads as may be are under way."""

    status = 503

    def __init__(self, retry_after_s: int) -> None:
        super().__init__("The backend takes no more uploads at the moment.", {"retry-after": str(retry_after_s)})


def json_response(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> BackendResponse:
    """An answer with a JSON body: anything that msgspec encodes, Structs too."""
    return BackendResponse(status, msgspec.json.encode(value), {**JSON_HEADERS, **(headers or {})})


def message_response(
    status: int, text: str, *, code: str = "", headers: Mapping[str, str] | None = None
) -> BackendResponse:
    """An answer for people: `{"message": …}`, with the `code` of an error where it has one."""
    return json_response({"message": text} | ({"code": code} if code else {}), status=status, headers=headers)
