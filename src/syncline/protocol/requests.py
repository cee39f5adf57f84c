"""What a client asks of `POST /sync/stream` (protocol reference, 2.1): the same object on HTTP and WebSocket."""

from __future__ import annotations

from typing import Any

import msgspec

from syncline.errors import RequestInvalid

__all__ = [
    "CLIENT_ID_CHARACTERS_MAX",
    "SUBSCRIPTIONS_MAX",
    "BucketPosition",
    "StreamRequest",
    "StreamSubscription",
    "StreamsRequest",
    "decode_stream_request",
]

CLIENT_ID_CHARACTERS_MAX = 1024  # characters of a client's id; SDKs send a UUID
PROBLEMS_MAX = 20  # problems of a request that are told: one with many is no longer than the answer
OP_ID_DIGITS_MAX = 19  # of an int64, which is what clients hold
SUBSCRIPTIONS_MAX = 1000  # explicit subscriptions of one request; buckets per connection have the same bound


class BucketPosition(msgspec.Struct, frozen=True):
    """Where a client stands in a bucket: it wants operations with an op id above `after`."""

    name: str
    after: str = "0"


class StreamSubscription(msgspec.Struct, frozen=True):
    """One explicit subscription; its index in the list is its id for the whole connection."""

    stream: str
    parameters: dict[str, Any] | None = None
    override_priority: int | None = None


class StreamsRequest(msgspec.Struct, frozen=True):
    """Which sync streams a client wants."""

    include_defaults: bool = True
    subscriptions: list[StreamSubscription] = []


class StreamRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of a stream request. All fields are optional; unknown ones are ignored."""

    buckets: list[BucketPosition] = []
    include_checksum: bool = False  # accepted and ignored: checksums are always sent
    raw_data: bool = False  # true: row data as JSON text; false: as a nested object
    binary_data: bool = False  # accepted and ignored: the Accept header decides
    client_id: str | None = None
    parameters: dict[str, Any] | None = None
    app_metadata: dict[str, str] | None = None
    streams: StreamsRequest | None = None


_decoder = msgspec.json.Decoder(StreamRequest)


def decode_stream_request(body: bytes) -> StreamRequest:
    """Parse and check a request body. An empty body and a JSON array count as `{}`, as in the reference.

    Raises RequestInvalid, which says which field is wrong.
    """
    text = body.strip()
    if not text:
        return StreamRequest()
    try:
        request = (
            StreamRequest()
            if text.startswith(b"[") and msgspec.json.decode(text) is not None
            else _decoder.decode(text)
        )
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise RequestInvalid([str(exc)]) from exc
    problems = [
        f"buckets[{i}].after is not a base-10 op id"
        for i, position in enumerate(request.buckets)
        if not (position.after.isascii() and position.after.isdecimal() and len(position.after) <= OP_ID_DIGITS_MAX)
    ]
    subscriptions = request.streams.subscriptions if request.streams else []
    if len(subscriptions) > SUBSCRIPTIONS_MAX:
        problems.append(
            f"streams.subscriptions has {len(subscriptions)} entries, at most {SUBSCRIPTIONS_MAX} are allowed"
        )
    problems += [
        f"streams.subscriptions[{i}].override_priority must be 0 to 3"
        for i, subscription in enumerate(subscriptions)
        if subscription.override_priority is not None and not 0 <= subscription.override_priority <= 3
    ]
    if request.client_id is not None and len(request.client_id) > CLIENT_ID_CHARACTERS_MAX:
        problems.append(f"client_id has more than {CLIENT_ID_CHARACTERS_MAX} characters")
    if problems:
        raise RequestInvalid(problems[:PROBLEMS_MAX])
    return request
