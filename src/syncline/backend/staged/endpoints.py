"""The routes of staged uploads. Their shapes: `syncline.protocol.staged`."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

import msgspec

from syncline.backend.dialects.reading import read
from syncline.backend.http.messages import BackendResponse, json_response, message_response
from syncline.backend.http.routing import Call, Handler, Route
from syncline.backend.limits import CLIENT_ID_CHARACTERS_MAX, RETRY_AFTER_MS, STAGED_PARTS_MAX
from syncline.backend.staged.store import StagedFull, StagedNotPossible
from syncline.backend.staged.uploads import StagedUploads
from syncline.errors import RequestInvalid
from syncline.protocol.staged import (
    STAGED_FULL,
    STAGED_PATH,
    StagedBegin,
    StagedCommit,
    StagedMissing,
    StagedPart,
    StagedState,
    StagedStatus,
)

__all__ = ["STAGED_ROUTES"]

StagedHandler = Callable[[Call, StagedUploads], Awaitable[BackendResponse]]

_begins = msgspec.json.Decoder(StagedBegin)
_commits = msgspec.json.Decoder(StagedCommit)
_HASH = re.compile(r"[0-9a-f]{64}")
_ID_MAX = 2**63 - 1  # what a bigint holds


async def _begin(call: Call, uploads: StagedUploads) -> BackendResponse:
    begin = read(call.request.body, _begins)
    _check(begin)
    return json_response(await uploads.begin(begin, call.user))


async def _put_part(call: Call, uploads: StagedUploads) -> BackendResponse:
    text = call.parameters["part"]
    if not text.isascii() or not text.isdecimal() or len(text) > len(str(STAGED_PARTS_MAX)):
        raise RequestInvalid(["the number of a part counts from 0"])
    stored = await uploads.put_part(call.parameters["id"], int(text), call.request.body, call.user)
    if stored is None:
        return _not_there()
    if not stored:
        return message_response(409, "The upload takes no parts any more. Ask for its state.")
    return BackendResponse(204, b"", {})


async def _commit(call: Call, uploads: StagedUploads) -> BackendResponse:
    manifest = tuple(read(call.request.body, _commits).parts)
    if not manifest or len(manifest) > STAGED_PARTS_MAX or not all(_HASH.fullmatch(digest) for digest in manifest):
        raise RequestInvalid([f"parts must be 1 to {STAGED_PARTS_MAX} SHA-256 hashes in hexadecimal digits"])
    found = await uploads.commit(call.parameters["id"], manifest, call.user)
    if found is None:
        return _not_there()
    if isinstance(found, list):
        return json_response(StagedMissing("Parts of the upload are missing.", found), status=409)
    return json_response(found, status=202 if found.state is StagedState.APPLYING else 200)


async def _status(call: Call, uploads: StagedUploads) -> BackendResponse:
    found = await uploads.status(call.parameters["id"], call.user)
    return _not_there() if found is None else json_response(found, headers={"cache-control": "no-store"})


def _check(begin: StagedBegin) -> None:
    """Raise RequestInvalid for what the types do not say."""
    problems: list[str] = []
    if not _HASH.fullmatch(begin.content_hash):
        problems.append("content_hash must be a SHA-256 in hexadecimal digits")
    if begin.operations < 1:
        problems.append("operations must be at least 1")
    if begin.client_id is not None and not 1 <= len(begin.client_id) <= CLIENT_ID_CHARACTERS_MAX:
        problems.append(f"client_id must have 1 to {CLIENT_ID_CHARACTERS_MAX} characters")
    ids = (begin.first_op_id, begin.last_op_id)
    given = [value for value in ids if value is not None]
    if len(given) == 1 or any(not 0 < value <= _ID_MAX for value in given) or given != sorted(given):
        problems.append("first_op_id and last_op_id come together, in this order")
    if problems:
        raise RequestInvalid(problems)


def _not_there() -> BackendResponse:
    return message_response(404, "There is no such staged upload (any more). Begin it again.")


def _staged(handler: StagedHandler) -> Handler:
    """A handler that gets the backend's staged uploads, and whose limits become answers."""

    async def answer(call: Call) -> BackendResponse:
        uploads = call.backend.staged
        if uploads is None:
            return message_response(501, "This backend has no staged uploads: its persister cannot keep them.")
        try:
            return await handler(call, uploads)
        except StagedNotPossible as exc:
            return message_response(501, str(exc))
        except StagedFull as exc:
            if exc.permanent:
                return message_response(413, exc.message, code=STAGED_FULL)
            return message_response(429, exc.message, headers={"retry-after": str(max(1, RETRY_AFTER_MS // 1000))})

    return answer


STAGED_ROUTES = (
    Route(
        "POST",
        STAGED_PATH,
        _staged(_begin),
        "Announce a transaction that is larger than a request may be",
        receives=StagedBegin,
        answers=StagedStatus,
        statuses=(200, 501),
    ),
    Route(
        "PUT",
        STAGED_PATH + "/{id}/{part}",
        _staged(_put_part),
        "Store one part of a staged upload; again, or in the place of another with its number",
        receives=StagedPart,
        statuses=(204, 404, 409, 501),
    ),
    Route(
        "POST",
        STAGED_PATH + "/{id}/commit",
        _staged(_commit),
        "Have the parts applied in one database transaction: 202, then ask for the verdict",
        receives=StagedCommit,
        answers=StagedStatus | StagedMissing,
        statuses=(200, 202, 404, 409, 501),
    ),
    Route(
        "GET",
        STAGED_PATH + "/{id}",
        _staged(_status),
        "The state of a staged upload, and the verdict once it is there",
        answers=StagedStatus,
        statuses=(200, 404, 501, 503),
    ),
)
