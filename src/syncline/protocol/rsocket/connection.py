"""PURE: the server's side of one RSocket connection: events in, instructions out (protocol reference, 4; RSocket 1.0).

What a peer does wrong is answered as narrowly as can be: on the stream that a frame names, so that the others go on; with the end
of the connection only where it names none. Every text begins with a code of the form `[PSYNC_…]`, because official clients take an
error without one for a refused token.

    AWAITING_SETUP ──SETUP──► CHECKING_SETUP ──SetupAccepted──► OPEN ──► CLOSED      (a refusal or a timeout leads to CLOSED from each)
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from syncline.errors import LocalProtocolError
from syncline.protocol.rsocket.frames import (
    Cancel,
    Error,
    ErrorCode,
    Frame,
    FrameMalformed,
    FrameType,
    Keepalive,
    MetadataPush,
    Payload,
    Request,
    RequestN,
    Setup,
    UnsupportedFrame,
    decode_frame,
    encode_frame,
    encode_line_frame,
    stream_id_of,
)
from syncline.protocol.rsocket.limits import RSocketLimits
from syncline.protocol.rsocket.requested_streams import RequestedStreams

__all__ = [
    "CheckSetup",
    "Close",
    "ConnectionEvent",
    "ConnectionInstruction",
    "GoOn",
    "LineProduced",
    "MessageReceived",
    "OpenStream",
    "SendFrame",
    "ServerConnection",
    "SetupAccepted",
    "SetupRefused",
    "StopStream",
    "Stopping",
    "StreamCompleted",
    "StreamFailed",
    "TextReceived",
    "TimePassed",
]

_INVALID = "[PSYNC_S2001]"  # the code of whatever is wrong with a request
_NO_ROUTE = "[PSYNC_S2002]"


class _State(enum.Enum):
    AWAITING_SETUP = "awaiting setup"  # until the first frame, or `setup_timeout_s`
    CHECKING_SETUP = "checking setup"  # CheckSetup was given; nothing is received until its answer
    OPEN = "open"
    CLOSED = "closed"  # Close was given; whatever comes is ignored


@dataclass(frozen=True, slots=True)
class MessageReceived:
    """The peer sent a binary message. `now_s` on any clock that only goes forward."""

    message: bytes
    now_s: float


@dataclass(frozen=True, slots=True)
class TextReceived:
    """The peer sent a text message, which no frame is."""


@dataclass(frozen=True, slots=True)
class SetupAccepted:
    """The answer to CheckSetup."""

    now_s: float


@dataclass(frozen=True, slots=True)
class SetupRefused:
    """The answer to CheckSetup. `message` is what the peer is told."""

    message: str


@dataclass(frozen=True, slots=True)
class LineProduced:
    """A line of a stream, to be sent now. Only while `credits(stream_id)` is above 0."""

    stream_id: int
    line: bytes


@dataclass(frozen=True, slots=True)
class StreamCompleted:
    """A stream came to its regular end."""

    stream_id: int
    now_s: float


@dataclass(frozen=True, slots=True)
class StreamFailed:
    """A stream cannot be served, or not any more. `message` is what the peer is told."""

    stream_id: int
    message: str
    now_s: float


@dataclass(frozen=True, slots=True)
class TimePassed:
    """It is `next_tick_s`, or later."""

    now_s: float


@dataclass(frozen=True, slots=True)
class Stopping:
    """The service stops: streams are completed, and the connection ends."""


ConnectionEvent = (
    MessageReceived
    | TextReceived
    | SetupAccepted
    | SetupRefused
    | LineProduced
    | StreamCompleted
    | StreamFailed
    | TimePassed
    | Stopping
)


@dataclass(frozen=True, slots=True)
class SendFrame:
    """Send this message."""

    message: bytes


@dataclass(frozen=True, slots=True)
class CheckSetup:
    """Find out who it is; answer with SetupAccepted or SetupRefused before anything else is received."""

    setup: Setup


@dataclass(frozen=True, slots=True)
class OpenStream:
    """Serve a request for a stream. Lines are sent while the stream has credits."""

    stream_id: int
    metadata: bytes | None
    data: bytes


@dataclass(frozen=True, slots=True)
class GoOn:
    """A stream without credits has some again."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class StopStream:
    """Stop serving a stream; nothing is sent on it any more."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class Close:
    """Close the WebSocket with this status code. `reason` is for the log."""

    code: int
    reason: str


ConnectionInstruction = SendFrame | CheckSetup | OpenStream | GoOn | StopStream | Close

_NORMAL, _GOING_AWAY, _PROTOCOL_ERROR, _NOT_BINARY, _REFUSED = 1000, 1001, 1002, 1003, 1008  # RFC 6455, 7.4.1


class ServerConnection:
    """One connection. `receive` takes what happened and says what to do, in order."""

    def __init__(self, limits: RSocketLimits, *, now_s: float) -> None:
        self._limits = limits
        self._state = _State.AWAITING_SETUP
        self._streams = RequestedStreams(limits)
        self._refusals = 0
        self._lifetime_s = limits.setup_timeout_s
        self._heard_s = now_s  # when the peer last sent anything
        self._idle_since_s: float | None = (
            None  # since when no stream is open; None before SETUP and while there is one
        )

    @property
    def is_closed(self) -> bool:
        """Whether the connection has ended, or is about to."""
        return self._state is _State.CLOSED

    @property
    def next_tick_s(self) -> float:
        """When to send TimePassed, unless something happens before."""
        silent_s = self._heard_s + self._lifetime_s
        return silent_s if self._idle_since_s is None else min(silent_s, self._idle_since_s + self._limits.idle_s_max)

    def credits(self, stream_id: int) -> int:
        """How many lines may be sent on a stream; REQUEST_N_MAX means any number, 0 also that there is no such stream."""
        return self._streams.credits(stream_id)

    def receive(self, event: ConnectionEvent) -> list[ConnectionInstruction]:
        """What to do now. Raises LocalProtocolError for a line that the peer did not ask for."""
        if self._state is _State.CLOSED:
            return []
        instructions = self._handle(event)
        self._note_idleness(event)
        return instructions

    def _handle(self, event: ConnectionEvent) -> list[ConnectionInstruction]:
        match event:
            case MessageReceived(message, now_s):
                self._heard_s = now_s
                return self._message(message)
            case TextReceived():
                return self._fail("RSocket frames are binary messages.", close_code=_NOT_BINARY)
            case SetupAccepted(now_s):
                self._state = _State.OPEN
                self._heard_s = now_s
                return []
            case SetupRefused(message):
                return self._end(ErrorCode.REJECTED_SETUP, message, _REFUSED)
            case LineProduced(stream_id, line):
                return self._line(stream_id, line)
            case StreamCompleted(stream_id):
                return self._last(stream_id, Payload(stream_id, complete=True))
            case StreamFailed(stream_id, message):
                return self._last(stream_id, Error(stream_id, ErrorCode.APPLICATION_ERROR, message))
            case TimePassed(now_s):
                return self._time_passed(now_s)
            case Stopping():
                return self._stopping()

    def _note_idleness(self, event: ConnectionEvent) -> None:
        if self._state is not _State.OPEN or self._streams.count:
            self._idle_since_s = None
        elif self._idle_since_s is None:
            now_s = getattr(event, "now_s", self._heard_s)
            self._idle_since_s = now_s

    # What the peer sends

    def _message(self, message: bytes) -> list[ConnectionInstruction]:
        limits, stream_id = self._limits, stream_id_of(message)
        if self._state is not _State.OPEN:
            return self._first_message(message)
        if len(message) > limits.frame_bytes_max:
            return self._refuse(stream_id, f"A frame may have {limits.frame_bytes_max} bytes, this one {len(message)}.")
        try:
            frame = decode_frame(message)
        except FrameMalformed as exc:
            return self._refuse(exc.stream_id, exc.message)
        return self._frame(frame)

    def _frame(self, frame: Frame) -> list[ConnectionInstruction]:
        match frame:
            case Keepalive():
                return self._keepalive(frame)
            case Request(kind=FrameType.REQUEST_STREAM):
                return self._request_stream(frame)
            case Request(stream_id, FrameType.REQUEST_FNF):
                return self._refuse(stream_id, "Only REQUEST_STREAM is served here.", code=_NO_ROUTE, answer=False)
            case Request(stream_id):
                return self._refuse(stream_id, "Only REQUEST_STREAM is served here.", code=_NO_ROUTE)
            case RequestN(stream_id, n):
                return [GoOn(stream_id)] if self._streams.grant(stream_id, n) else []
            case Cancel(stream_id):
                return self._stop(stream_id)
            case Payload(stream_id):
                return self._fragment(frame)
            case Error(0):
                return self._close(_NORMAL, "the client reported an error")
            case Error(stream_id):
                return self._stop(stream_id)
            case MetadataPush():
                return []  # RSocket has it that whoever has no use for it says nothing
            case Setup():
                return self._fail("A connection has one SETUP.")
            case UnsupportedFrame():
                return self._unsupported(frame)

    def _first_message(self, message: bytes) -> list[ConnectionInstruction]:
        assert self._state is _State.AWAITING_SETUP, "nothing is received while SETUP is checked"
        if len(message) > self._limits.setup_bytes_max:
            return self._end(ErrorCode.INVALID_SETUP, f"{_INVALID} SETUP is too long.", _PROTOCOL_ERROR)
        try:
            frame = decode_frame(message)
        except FrameMalformed as exc:
            return self._end(ErrorCode.INVALID_SETUP, f"{_INVALID} {exc.message}", _PROTOCOL_ERROR)
        if isinstance(frame, UnsupportedFrame) and frame.type_number == FrameType.RESUME:
            text = f"{_INVALID} Resumption is not supported."
            return self._end(ErrorCode.REJECTED_RESUME, text, _REFUSED)
        if not isinstance(frame, Setup):
            text = f"{_INVALID} A connection begins with SETUP."
            return self._end(ErrorCode.INVALID_SETUP, text, _PROTOCOL_ERROR)
        return self._setup(frame)

    def _setup(self, setup: Setup) -> list[ConnectionInstruction]:
        if setup.major != 1:
            text = f"{_INVALID} This is RSocket 1.0, not {setup.major}.{setup.minor}."
            return self._end(ErrorCode.UNSUPPORTED_SETUP, text, _REFUSED)
        if setup.lease or setup.resume_token is not None:
            what = "Leases are" if setup.lease else "Resumption is"
            return self._end(ErrorCode.REJECTED_SETUP, f"{_INVALID} {what} not supported.", _REFUSED)
        if not setup.keepalive_ms or not setup.lifetime_ms:
            text = f"{_INVALID} The keepalive interval and the lifetime of SETUP must be above 0."
            return self._end(ErrorCode.INVALID_SETUP, text, _PROTOCOL_ERROR)
        self._lifetime_s = min(setup.lifetime_ms / 1000, self._limits.lifetime_s_max)
        self._state = _State.CHECKING_SETUP
        return [CheckSetup(setup)]

    def _keepalive(self, frame: Keepalive) -> list[ConnectionInstruction]:
        if len(frame.data) > self._limits.keepalive_bytes_max:
            return self._fail(f"A keepalive may carry {self._limits.keepalive_bytes_max} bytes.")
        return [SendFrame(encode_frame(Keepalive(respond=False, data=frame.data)))] if frame.respond else []

    def _request_stream(self, request: Request) -> list[ConnectionInstruction]:
        problem = self._streams.problem_with(request)
        if problem is not None:
            return self._refuse(request.stream_id, problem.message, error=problem.error)
        return self._opened(request.stream_id, self._streams.begin(request))

    def _fragment(self, payload: Payload) -> list[ConnectionInstruction]:
        """A further fragment of a request. Payloads for anything else make no sense, and are ignored as RSocket has it."""
        if not self._streams.is_incomplete(payload.stream_id):
            return []
        if not self._streams.has_room_for(payload):
            room = self._limits.fragments_bytes_max
            return self._refuse(payload.stream_id, f"Incomplete requests may have {room} bytes in all.")
        return self._opened(payload.stream_id, self._streams.extend(payload))

    def _opened(self, stream_id: int, request: tuple[bytes | None, bytes] | None) -> list[ConnectionInstruction]:
        return [] if request is None else [OpenStream(stream_id, *request)]

    def _unsupported(self, frame: UnsupportedFrame) -> list[ConnectionInstruction]:
        if frame.ignorable:
            return []
        return self._refuse(frame.stream_id, f"Frames of type {frame.type_number:#04x} are not supported.")

    # What is sent

    def _line(self, stream_id: int, line: bytes) -> list[ConnectionInstruction]:
        if not self._streams.is_open(stream_id):
            return []  # cancelled meanwhile
        if not self._streams.spend(stream_id):
            raise LocalProtocolError("A line was about to be sent that the client did not ask for.")
        return [SendFrame(encode_line_frame(stream_id, line))]

    def _last(self, stream_id: int, frame: Payload | Error) -> list[ConnectionInstruction]:
        """The last frame of a stream, unless it was stopped meanwhile."""
        return [SendFrame(encode_frame(frame))] if self._streams.forget(stream_id) else []

    # Ends

    def _time_passed(self, now_s: float) -> list[ConnectionInstruction]:
        if self._state is _State.CHECKING_SETUP:
            return []
        if now_s - self._heard_s >= self._lifetime_s:
            if self._state is _State.AWAITING_SETUP:
                text = f"{_INVALID} No SETUP came within {self._lifetime_s:g} s."
                return self._end(ErrorCode.INVALID_SETUP, text, _REFUSED)
            return self._fail(f"Nothing was heard for {self._lifetime_s:g} s.", reason="no keepalive")
        if self._idle_since_s is not None and now_s - self._idle_since_s >= self._limits.idle_s_max:
            text = f"{_INVALID} The connection had no stream for {self._limits.idle_s_max:g} s."
            return self._end(ErrorCode.CONNECTION_CLOSE, text, _NORMAL, reason="no stream")
        return []

    def _stopping(self) -> list[ConnectionInstruction]:
        text = "[PSYNC_S2003] The service is stopping."
        if self._state is not _State.OPEN:
            return self._end(ErrorCode.REJECTED_SETUP, text, _GOING_AWAY)
        instructions: list[ConnectionInstruction] = []
        for stream_id in self._streams.ids():
            instructions += self._stop(stream_id)
            instructions.append(SendFrame(encode_frame(Payload(stream_id, complete=True))))
        return [*instructions, *self._end(ErrorCode.CONNECTION_CLOSE, text, _GOING_AWAY)]

    def _refuse(
        self,
        stream_id: int | None,
        text: str,
        *,
        code: str = _INVALID,
        error: ErrorCode = ErrorCode.INVALID,
        answer: bool = True,
    ) -> list[ConnectionInstruction]:
        """End the stream that a wrong frame names; where it names none, or after too many of them, the connection."""
        self._refusals += 1
        if self._refusals > self._limits.refusals_max:
            return self._fail(f"More than {self._limits.refusals_max} frames had to be refused.")
        if not stream_id:
            return self._fail(text)
        answered = [SendFrame(encode_frame(Error(stream_id, error, f"{code} {text}")))] if answer else []
        return [*self._stop(stream_id), *answered]

    def _stop(self, stream_id: int) -> list[ConnectionInstruction]:
        was_open = self._streams.is_open(stream_id)
        self._streams.forget(stream_id)
        return [StopStream(stream_id)] if was_open else []

    def _fail(self, text: str, *, close_code: int = _PROTOCOL_ERROR, reason: str = "") -> list[ConnectionInstruction]:
        """The peer broke the protocol in a way that concerns the whole connection."""
        return self._end(ErrorCode.CONNECTION_ERROR, f"{_INVALID} {text}", close_code, reason=reason)

    def _end(self, error: ErrorCode, message: str, close_code: int, *, reason: str = "") -> list[ConnectionInstruction]:
        frame = Error(0, error, message)
        return [SendFrame(encode_frame(frame)), *self._close(close_code, reason or message)]

    def _close(self, code: int, reason: str) -> list[ConnectionInstruction]:
        self._state = _State.CLOSED
        stopped = [StopStream(stream_id) for stream_id in self._streams.ids() if self._streams.is_open(stream_id)]
        self._streams.forget_all()
        return [*stopped, Close(code, reason)]
