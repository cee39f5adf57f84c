"""What RSocket frames of a sync stream carry: JSON or BSON, as SETUP declares for metadata and data (protocol reference, 4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import bson
import msgspec
import orjson
from bson.errors import BSONError

from syncline.errors import RequestInvalid, SynclineError, TokenInvalid
from syncline.protocol.requests import StreamRequest, decode_stream_request
from syncline.protocol.rsocket.frames import Setup

__all__ = ["STREAM_PATH", "SetupMetadata", "UnsupportedMimeType", "decode_request", "decode_route", "decode_setup"]

STREAM_PATH = "/sync/stream"
JSON, BSON = "application/json", "application/bson"
USER_AGENT_MAX = 500  # characters of a user agent that the log takes


class UnsupportedMimeType(SynclineError):
    """A SETUP that declares neither JSON nor BSON."""

    code = "PSYNC_S2004"
    status = 415


class SetupMetadata(msgspec.Struct, frozen=True):
    """The metadata of SETUP: who connects."""

    token: str | None = None  # as in the header: `Token <jwt>` or `Bearer <jwt>`
    user_agent: str | None = None


_decode_bson: Callable[[bytes], dict[str, Any]] = bson.decode  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  # the library has no types


class _Route(msgspec.Struct):
    path: str


def decode_setup(setup: Setup) -> SetupMetadata:
    """Who connects. Raises UnsupportedMimeType, TokenInvalid for a SETUP without metadata, RequestInvalid for a wrong one."""
    for mime_type in (setup.metadata_mime_type, setup.data_mime_type):
        if mime_type not in (JSON, BSON):
            raise UnsupportedMimeType(f"Metadata and data must be {JSON} or {BSON}.")
    if not setup.metadata:
        raise TokenInvalid("SETUP has no metadata; it must hold the token.")
    found = _decode(setup.metadata, setup.metadata_mime_type, SetupMetadata, "metadata")
    return SetupMetadata(found.token, (found.user_agent or "")[:USER_AGENT_MAX])


def decode_route(metadata: bytes | None, mime_type: str) -> str:
    """The path that a request asks for. Raises RequestInvalid."""
    if not metadata:
        raise RequestInvalid(["the request has no metadata; it must hold the path"])
    return _decode(metadata, mime_type, _Route, "metadata").path


def decode_request(data: bytes, mime_type: str) -> StreamRequest:
    """What the stream shall hold: the same object as the body over HTTP, checked in the same way. Raises RequestInvalid."""
    return decode_stream_request(_as_json(data, mime_type, "data") if data else b"")


_Decoded = TypeVar("_Decoded", SetupMetadata, _Route)


def _decode(payload: bytes, mime_type: str, kind: type[_Decoded], what: str) -> _Decoded:
    try:
        return msgspec.json.decode(_as_json(payload, mime_type, what), type=kind)
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise RequestInvalid([f"{what}: {exc}"]) from exc


def _as_json(payload: bytes, mime_type: str, what: str) -> bytes:
    """The payload as JSON text. BSON types that JSON has no word for are refused: no request needs them."""
    if mime_type == JSON:
        return payload
    try:
        return orjson.dumps(_decode_bson(payload))
    except (BSONError, ValueError, TypeError, OverflowError, RecursionError) as exc:
        raise RequestInvalid([f"{what} is not usable BSON"]) from exc
