"""The endpoints of the write API: uploads, custom write checkpoints, the page of changes for devices that poll."""

from __future__ import annotations

from typing import Any

import msgspec

from syncline.backend.changes import answer_changes
from syncline.backend.dialects.answers import WholeAnswer
from syncline.backend.dialects.demos import DemoBatch
from syncline.backend.dialects.reading import field_of
from syncline.backend.http.dialect_endpoints import answer_batch
from syncline.backend.http.messages import BackendResponse, json_response, message_response
from syncline.backend.http.routing import Call, Route
from syncline.errors import RequestInvalid
from syncline.protocol.crud import CrudBatch, CrudTransaction, TransactionResult, UploadResponse

__all__ = ["UPLOAD_ROUTES", "CheckpointAnswer", "CheckpointRequest"]


class CheckpointRequest(msgspec.Struct):
    """Body of `PUT /api/data/checkpoint`. Whose it is, the token says; a `user_id` is ignored."""

    client_id: str


class CheckpointAnswer(msgspec.Struct):
    """A write checkpoint: a number as text."""

    checkpoint: str


class ChangesAnswer(msgspec.Struct, rename="camel"):
    """Rows by table; a row that is gone has `_deleted`. `timestamp` is the next `since`; with `hasMore` the next page is there already."""

    changes: dict[str, list[dict[str, Any]]]
    timestamp: str | int | float
    has_more: bool


async def answer_upload(call: Call) -> BackendResponse:
    """Verdicts always come with 200; other statuses mean that no transaction was looked at."""
    if field_of(call.request.body, ("transactions", "crud", "batch")) == "batch":
        return await answer_batch(call)
    return json_response(await call.backend.handle_upload(call.request.body, call.user))


async def answer_checkpoint(call: Call) -> BackendResponse:
    """A custom write checkpoint, for the user of the token and this device."""
    try:
        asked = msgspec.json.decode(call.request.body, type=CheckpointRequest)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise RequestInvalid([f"The body must be a JSON object with `client_id`: {exc}"]) from None
    if "\0" in asked.client_id:
        raise RequestInvalid(["client_id has a zero character"])
    return json_response(CheckpointAnswer(str(await call.backend.next_checkpoint(asked.client_id, call.user))))


async def answer_changes_page(call: Call) -> BackendResponse:
    """A page of changes, where the app has a change feed."""
    feed = call.backend.change_feed
    if feed is None:
        return message_response(404, "This backend has no change feed: SyncBackend(change_feed=…).")
    body = await answer_changes(feed, call.user, call.request.query.get("since"))
    return BackendResponse(200, body, {"content-type": "application/json", "cache-control": "no-store"})


UPLOAD_ROUTES = (
    Route(
        "POST",
        "/api/data",
        answer_upload,
        "Apply client transactions, each in a database transaction of its own",
        receives=CrudBatch | CrudTransaction | DemoBatch,
        answers=UploadResponse | TransactionResult | WholeAnswer,
        statuses=(200, 503),
    ),
    Route(
        "PUT",
        "/api/data/checkpoint",
        answer_checkpoint,
        "Count the custom write checkpoint of a device up by one",
        receives=CheckpointRequest,
        answers=CheckpointAnswer,
    ),
    Route(
        "GET",
        "/api/powersync/sync",
        answer_changes_page,
        "A page of changes, for devices that poll",
        answers=ChangesAnswer,
        statuses=(200, 400, 404, 503),
        query=(("since", "The `timestamp` of the page before; without it, everything"),),
    ),
)
