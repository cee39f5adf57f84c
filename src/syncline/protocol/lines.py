"""Lines of a sync stream (protocol reference, 2.2 to 2.7).

One type per kind of line, decoded by clients with `decode_line` and encoded by the service with `encode_line`. Exactly one
top-level key per line; a kind that we do not know decodes to None, because newer services may send more.
"""

from __future__ import annotations

from typing import Any

import msgspec

from syncline.errors import RemoteProtocolError
from syncline.protocol.bson_reader import BsonLine, read_document
from syncline.protocol.ops import OpType

__all__ = [
    "BucketChecksum",
    "Checkpoint",
    "CheckpointComplete",
    "CheckpointDiff",
    "DataBatch",
    "Line",
    "OplogEntry",
    "PartialCheckpointComplete",
    "StreamDescription",
    "StreamError",
    "SubscriptionReason",
    "TokenExpiresIn",
    "decode_line",
    "encode_line",
    "line_key",
]

LOWEST_PRIORITY = 3


class SubscriptionReason(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a bucket is in the checkpoint: a default stream (index into `streams`) or a subscription of the request."""

    default: int | None = None
    sub: int | None = None


class BucketChecksum(msgspec.Struct, frozen=True):
    """State of one bucket at a checkpoint. `checksum` is a signed 32-bit total, `count` counts operations, not rows."""

    bucket: str
    checksum: int
    count: int = 0
    priority: int = LOWEST_PRIORITY
    subscriptions: list[SubscriptionReason] = []


class StreamError(msgspec.Struct, frozen=True):
    """A subscription that could not be evaluated: `"default"` or its index, and why."""

    subscription: str | int
    message: str


class StreamDescription(msgspec.Struct, frozen=True):
    """A stream that the connection is subscribed to."""

    name: str
    is_default: bool
    errors: list[StreamError]


class Checkpoint(msgspec.Struct, frozen=True, omit_defaults=True):
    """Full state: the first line of every connection."""

    last_op_id: str
    buckets: list[BucketChecksum]
    write_checkpoint: str | None = None
    streams: list[StreamDescription] = []


class CheckpointDiff(msgspec.Struct, frozen=True, omit_defaults=True):
    """What changed since the last checkpoint of this connection."""

    last_op_id: str
    removed_buckets: list[str]
    updated_buckets: list[BucketChecksum]
    write_checkpoint: str | None = None


class OplogEntry(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One operation. `checksum` is unsigned for operations, signed for CLEAR; `data` is JSON text for PUT only.

    It refers to texts and numbers only, so the garbage collector need not look at thousands of them.
    """

    op_id: str
    op: OpType
    checksum: int | float
    object_type: str | None = None
    object_id: str | None = None
    subkey: str | None = None
    data: str | None = None


class DataBatch(msgspec.Struct, frozen=True):
    """Operations of one bucket, in ascending op ids."""

    bucket: str
    data: list[OplogEntry]
    after: str = "0"
    next_after: str = "0"
    has_more: bool = False


class PartialCheckpointComplete(msgspec.Struct, frozen=True):
    """All buckets of this and of more urgent priorities are sent."""

    last_op_id: str
    priority: int


class CheckpointComplete(msgspec.Struct, frozen=True):
    """Everything for the checkpoint is sent."""

    last_op_id: str


class TokenExpiresIn(msgspec.Struct, frozen=True):
    """Keepalive: seconds until the token expires; 0 or less ends the stream."""

    seconds: int


Line = Checkpoint | CheckpointDiff | DataBatch | PartialCheckpointComplete | CheckpointComplete | TokenExpiresIn


class _Envelope(msgspec.Struct):
    checkpoint: Checkpoint | None = None
    checkpoint_diff: CheckpointDiff | None = None
    data: DataBatch | None = None
    partial_checkpoint_complete: PartialCheckpointComplete | None = None
    checkpoint_complete: CheckpointComplete | None = None
    token_expires_in: int | None = None


_KEYS: dict[type[Any], str] = {
    Checkpoint: "checkpoint",
    CheckpointDiff: "checkpoint_diff",
    DataBatch: "data",
    PartialCheckpointComplete: "partial_checkpoint_complete",
    CheckpointComplete: "checkpoint_complete",
}
_decoder = msgspec.json.Decoder(_Envelope)
_encode = msgspec.json.Encoder().encode


def decode_line(text: bytes | str) -> Line | None:
    """Parse one line, NDJSON or a `BsonLine`; None for a kind of line that this version does not know.

    Raises RemoteProtocolError for invalid JSON or BSON, a wrong field, or two kinds in one line.
    """
    try:
        is_bson = isinstance(text, BsonLine)
        envelope = msgspec.convert(read_document(text), _Envelope) if is_bson else _decoder.decode(text)
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise RemoteProtocolError(f"Sync line cannot be read: {exc}") from exc
    if envelope.token_expires_in is not None:
        found: list[Line] = [TokenExpiresIn(envelope.token_expires_in)]
    else:
        found = []
    for field in _KEYS.values():
        value = getattr(envelope, field)
        if value is not None:
            found.append(value)
    if len(found) > 1:
        raise RemoteProtocolError("A sync line has more than one top-level key.")
    return found[0] if found else None


def line_key(line: Line) -> str:
    """The top-level key under which a line goes over the wire."""
    return "token_expires_in" if isinstance(line, TokenExpiresIn) else _KEYS[type(line)]


def encode_line(line: Line) -> bytes:
    """One line as NDJSON, newline included."""
    if isinstance(line, TokenExpiresIn):
        return b'{"token_expires_in":%d}\n' % line.seconds
    return b'{"' + _KEYS[type(line)].encode() + b'":' + _encode(line) + b"}\n"
