"""What the supervisor and its children say to each other, and how it is framed. Pure: bytes in, messages out.

A frame is its length (4 bytes, big-endian) and a msgpack map whose `kind` names the message. Nobody waits for an answer, and nothing
has to arrive: a newer message says all that an older one of its kind said. So an outbox holds one of each kind, whatever the reader does.
"""

from __future__ import annotations

from typing import Union

import msgspec

from syncline.errors import SynclineError
from syncline.metrics import MetricsSnapshot

__all__ = [
    "ERROR_CHARACTERS_MAX",
    "MESSAGE_BYTES_MAX",
    "Alive",
    "CheckpointMade",
    "Deployed",
    "FrameReader",
    "Message",
    "MessageInvalid",
    "Outbox",
    "Peers",
    "Replication",
    "Started",
    "Stop",
    "encode",
]

MESSAGE_BYTES_MAX = 64 * 1024  # bytes of one message: the longest are a few hundred, and an error's text
ERROR_CHARACTERS_MAX = 4000  # characters of an error's text that a message carries
_LENGTH_BYTES = 4


class MessageInvalid(SynclineError):
    """The other process sent what is no message: one of them is broken."""


class Replication(msgspec.Struct, frozen=True, kw_only=True):
    """How replication stands in the process that replicates: what probes and diagnostics of the others tell of it."""

    active: bool = False  # it holds the lease; else another machine's replicator does
    touched_s: float = 0.0  # last sign of life, in seconds since 1970
    last_error: str = ""
    checkpoint_ms: dict[int, int] = {}  # by version, when its newest checkpoint became visible


class Started(msgspec.Struct, frozen=True, tag="started", tag_field="kind"):
    """Child to supervisor: requests are accepted, or the storage is open."""


class Alive(msgspec.Struct, frozen=True, kw_only=True, tag="alive", tag_field="kind"):
    """Child to supervisor, each second: a sign of life, the state of its probes, and its counts."""

    touched_s: float  # seconds since 1970
    ready: bool = False
    started: bool = False
    metrics: MetricsSnapshot = MetricsSnapshot()
    replication: Replication | None = None  # from the process that replicates


class CheckpointMade(msgspec.Struct, frozen=True, tag="checkpoint", tag_field="kind"):
    """Replicator to supervisor to workers: wake up. What changed is read from storage."""

    version: int
    op_id: int


class Deployed(msgspec.Struct, frozen=True, tag="deployed", tag_field="kind"):
    """Worker to supervisor to replicator: another sync config is wanted; it stands in storage."""


class Peers(msgspec.Struct, frozen=True, kw_only=True, tag="peers", tag_field="kind"):
    """Supervisor to workers, each second: how the others are."""

    touched_s: float  # the oldest sign of life among all children, in seconds since 1970
    replication: Replication | None = None


class Stop(msgspec.Struct, frozen=True, tag="stop", tag_field="kind"):
    """Supervisor to child: end streams, close storage, and leave."""


Message = Union[Started, Alive, CheckpointMade, Deployed, Peers, Stop]  # noqa: UP007 - msgspec reads it as a value

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def encode(message: Message) -> bytes:
    """A message as a frame."""
    body = _encoder.encode(message)
    assert len(body) <= MESSAGE_BYTES_MAX, "messages hold nothing without a limit"
    return len(body).to_bytes(_LENGTH_BYTES, "big") + body


class FrameReader:
    """Cuts a byte stream into messages. It holds less than one frame between two calls."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """The messages that are complete with these bytes. Raises MessageInvalid; nothing more can be read then."""
        self._buffer += data
        messages: list[Message] = []
        start = 0
        while len(self._buffer) - start >= _LENGTH_BYTES:
            body = start + _LENGTH_BYTES
            length = int.from_bytes(self._buffer[start:body], "big")
            if length > MESSAGE_BYTES_MAX:
                raise MessageInvalid(f"A message of {length} bytes was announced; {MESSAGE_BYTES_MAX} is the limit.")
            if len(self._buffer) < body + length:
                break
            try:
                messages.append(_decoder.decode(self._buffer[body : body + length]))
            except msgspec.MsgspecError as exc:
                raise MessageInvalid(f"A message cannot be read: {exc}") from exc
            start = body + length
        del self._buffer[:start]
        return messages


class Outbox:
    """What waits to be sent to one reader: the newest message of each kind, oldest kind first, and the frame under way."""

    def __init__(self) -> None:
        self._waiting: dict[type[Message], Message] = {}
        self._frame = b""

    def put(self, message: Message) -> None:
        """Queue a message; it replaces one of its kind that has not gone out yet."""
        self._waiting[type(message)] = message

    def __bool__(self) -> bool:
        return bool(self._frame or self._waiting)

    def next_bytes(self) -> bytes:
        """Bytes to send now: the rest of the frame under way, else the next frame; empty where nothing waits."""
        if not self._frame and self._waiting:
            kind = next(iter(self._waiting))
            self._frame = encode(self._waiting.pop(kind))
        return self._frame

    def sent(self, size: int) -> None:
        """So many of `next_bytes` went out."""
        self._frame = self._frame[size:]
