"""PURE: the client's side of one RSocket connection with one sync stream: messages in, instructions out (protocol reference, 4).

    OPENING ──first line──► OPEN ──COMPLETE──► ENDED        (an ERROR, or a broken protocol, leads to ENDED from each)

Lines are asked for a few at a time: the service sends no more than that, so what waits on the device is bounded.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import msgspec

from syncline.errors import RemoteProtocolError
from syncline.protocol.rsocket.frames import (
    Cancel,
    Error,
    ErrorCode,
    Frame,
    FrameType,
    Keepalive,
    Payload,
    Request,
    RequestN,
    Setup,
    decode_frame,
    encode_frame,
)

__all__ = [
    "LINES_AHEAD",
    "ClientConnection",
    "ClientInstruction",
    "LineReceived",
    "SendMessage",
    "StreamEnded",
    "StreamRefused",
]

LINES_AHEAD = 10  # lines that the service may send before we have taken them; one has about 1 MiB at most
LIFETIME_S = 90.0  # seconds of our silence after which the service may take us for gone, as official SDKs ask for
JSON = "application/json"
STREAM_ID = 1  # clients use odd ids, and we open one stream


@dataclass(frozen=True, slots=True)
class SendMessage:
    """Send this binary message."""

    message: bytes


@dataclass(frozen=True, slots=True)
class LineReceived:
    """A whole line, as a BSON document. Tell `lines_taken` when it is no longer in the way."""

    line: bytes


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """The service ended the stream on purpose: an expired token, another sync config, a restart."""


@dataclass(frozen=True, slots=True)
class StreamRefused:
    """The service gave up the stream, or never began it. `code` is the RSocket error, `message` has a PSYNC code in brackets."""

    code: int
    message: str

    @property
    def is_setup(self) -> bool:
        """Whether the connection as a whole was refused, as for a token that is not accepted."""
        return self.code == ErrorCode.REJECTED_SETUP


ClientInstruction = SendMessage | LineReceived | StreamEnded | StreamRefused


class _State(enum.Enum):
    OPENING = "opening"  # SETUP and REQUEST_STREAM are sent; nothing has come yet
    OPEN = "open"
    ENDED = "ended"  # whatever comes is ignored


class ClientConnection:
    """One connection. `open` is called first; `receive`, `lines_taken` and `keepalive` then, in any order."""

    def __init__(self, *, keepalive_s: float, line_bytes_max: int, lines_ahead: int = LINES_AHEAD) -> None:
        assert lines_ahead >= 1
        self._keepalive_s = keepalive_s
        self._line_bytes_max = line_bytes_max
        self._lines_ahead = lines_ahead
        self._taken = 0  # lines that were taken and not asked for again
        self._fragments = bytearray()
        self._unanswered_since_s: float | None = None
        self._state = _State.OPENING

    @property
    def is_open(self) -> bool:
        """Whether the service has begun to serve the stream, and has not ended it."""
        return self._state is _State.OPEN

    def unanswered_s(self, *, now_s: float) -> float:
        """Seconds since the oldest sign of life that was not sent back; 0.0 where all were."""
        return 0.0 if self._unanswered_since_s is None else now_s - self._unanswered_since_s

    def open(self, *, token: str, user_agent: str, path: str, request: bytes) -> list[bytes]:
        """The first messages: who we are (both in JSON, as `path` must be), and what we want. `request` is the body as over HTTP."""
        setup = Setup(
            keepalive_ms=round(self._keepalive_s * 1000),
            lifetime_ms=round(LIFETIME_S * 1000),
            metadata_mime_type=JSON,
            data_mime_type=JSON,
            metadata=_json({"token": f"Token {token}", "user_agent": user_agent}),
        )
        wanted = Request(
            STREAM_ID, FrameType.REQUEST_STREAM, self._lines_ahead, metadata=_json({"path": path}), data=request
        )
        return [encode_frame(setup), encode_frame(wanted)]

    def receive(self, message: bytes) -> list[ClientInstruction]:
        """Take one binary message. Raises RemoteProtocolError for one that is no frame, and for a line too long."""
        if self._state is _State.ENDED:
            return []
        frame = decode_frame(message)
        match frame:
            case Payload(stream_id=1):
                return self._payload(frame)
            case Error(0 | 1, code, text):
                self._state = _State.ENDED
                return [StreamRefused(code, text)]
            case Keepalive(respond=True):
                return [SendMessage(encode_frame(Keepalive(respond=False, data=frame.data)))]
            case Keepalive():
                self._unanswered_since_s = None
                return []
            case _:
                return self._other(frame)

    def lines_taken(self, count: int = 1) -> list[ClientInstruction]:
        """Lines were taken: ask for as many again, once half of what may be under way was."""
        self._taken += count
        if self._state is _State.ENDED or 2 * self._taken < self._lines_ahead:
            return []
        taken, self._taken = self._taken, 0
        return [SendMessage(encode_frame(RequestN(STREAM_ID, taken)))]

    def keepalive(self, *, now_s: float) -> list[ClientInstruction]:
        """The keepalive interval has passed: a sign of life, which the service sends back. `now_s` is of any clock that goes forward."""
        if self._unanswered_since_s is None:
            self._unanswered_since_s = now_s
        return [] if self._state is _State.ENDED else [SendMessage(encode_frame(Keepalive(respond=True)))]

    def cancel(self) -> list[ClientInstruction]:
        """The stream is not wanted any more."""
        if self._state is _State.ENDED:
            return []
        self._state = _State.ENDED
        return [SendMessage(encode_frame(Cancel(STREAM_ID)))]

    def _payload(self, payload: Payload) -> list[ClientInstruction]:
        if len(self._fragments) + len(payload.data) > self._line_bytes_max:
            self._state = _State.ENDED
            raise RemoteProtocolError(f"A line is longer than {self._line_bytes_max} bytes.")
        instructions: list[ClientInstruction] = []
        if payload.follows:
            self._fragments += payload.data
            return instructions
        if payload.next or self._fragments:
            line = bytes(self._fragments) + payload.data if self._fragments else payload.data
            self._fragments.clear()
            self._state = _State.OPEN
            instructions.append(LineReceived(line))
        if payload.complete:
            self._state = _State.ENDED
            instructions.append(StreamEnded())
        return instructions

    def _other(self, frame: Frame) -> list[ClientInstruction]:
        """Frames that say nothing to us: of leases, resumption, metadata, unknown streams."""
        if isinstance(frame, Setup | Request | RequestN | Cancel):
            self._state = _State.ENDED
            raise RemoteProtocolError(f"The service sent a frame of the client's side: {type(frame).__name__}.")
        return []


def _json(value: dict[str, str]) -> bytes:
    return msgspec.json.encode(value)
