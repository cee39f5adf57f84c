"""PURE: RSocket 1.0 frames, one per WebSocket message, without a length prefix (protocol reference, 4).

Everything is big endian. A frame begins with its stream id (31 bits; 0 is the connection), its type (6 bits) and its flags (10 bits).
`decode_frame` reads what a peer sent, `encode_frame` writes the frames that either side of a sync stream sends.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass

from syncline.errors import RemoteProtocolError

__all__ = [
    "REQUEST_N_MAX",
    "STREAM_ID_MAX",
    "Cancel",
    "Error",
    "ErrorCode",
    "Frame",
    "FrameMalformed",
    "FrameType",
    "Keepalive",
    "MetadataPush",
    "Payload",
    "Request",
    "RequestN",
    "Setup",
    "UnsupportedFrame",
    "decode_frame",
    "encode_frame",
    "encode_line_frame",
    "stream_id_of",
]

STREAM_ID_MAX = 2**31 - 1  # the highest stream id; the bit above is reserved
REQUEST_N_MAX = 2**31 - 1  # a request for so many payloads means: all of them
_HEADER_BYTES = 6

_IGNORE, _METADATA = 0x200, 0x100
_FOLLOWS = _RESUME = _RESPOND = 0x80
_COMPLETE = _LEASE = 0x40
_NEXT = 0x20


class FrameType(enum.IntEnum):
    """The types of frames that we know, by their number on the wire."""

    SETUP = 0x01
    LEASE = 0x02
    KEEPALIVE = 0x03
    REQUEST_RESPONSE = 0x04
    REQUEST_FNF = 0x05
    REQUEST_STREAM = 0x06
    REQUEST_CHANNEL = 0x07
    REQUEST_N = 0x08
    CANCEL = 0x09
    PAYLOAD = 0x0A
    ERROR = 0x0B
    METADATA_PUSH = 0x0C
    RESUME = 0x0D
    RESUME_OK = 0x0E
    EXT = 0x3F


class ErrorCode(enum.IntEnum):
    """Why a connection (below 0x200) or a stream ended, by its number on the wire."""

    INVALID_SETUP = 0x001
    UNSUPPORTED_SETUP = 0x002
    REJECTED_SETUP = 0x003
    REJECTED_RESUME = 0x004
    CONNECTION_ERROR = 0x101
    CONNECTION_CLOSE = 0x102
    APPLICATION_ERROR = 0x201
    REJECTED = 0x202
    CANCELED = 0x203
    INVALID = 0x204


class FrameMalformed(RemoteProtocolError):
    """A frame that ends before its fields do, or whose fields cannot be. `stream_id` is None where not even that can be read."""

    status = 400

    def __init__(self, message: str, *, stream_id: int | None) -> None:
        super().__init__(message)
        self.stream_id = stream_id


@dataclass(frozen=True, slots=True)
class Setup:
    """A client's first frame. Intervals in milliseconds; `metadata` is None where the frame has none."""

    keepalive_ms: int
    lifetime_ms: int
    metadata_mime_type: str
    data_mime_type: str
    metadata: bytes | None = None
    data: bytes = b""
    major: int = 1
    minor: int = 0
    lease: bool = False
    resume_token: bytes | None = None


@dataclass(frozen=True, slots=True)
class Keepalive:
    """A sign of life; `respond` asks for the same back. `position` is of use for resumption only, which we do not do."""

    respond: bool
    data: bytes = b""
    position: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    """A request of one of the four kinds. `initial_n` counts payloads (streams and channels); `follows`: more fragments come."""

    stream_id: int
    kind: FrameType
    initial_n: int = 0
    metadata: bytes | None = None
    data: bytes = b""
    follows: bool = False
    complete: bool = False  # channels only


@dataclass(frozen=True, slots=True)
class RequestN:
    """So many payloads more may be sent on a stream."""

    stream_id: int
    n: int


@dataclass(frozen=True, slots=True)
class Cancel:
    """The requester wants no more of a stream."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class Payload:
    """An element of a stream (`next`), its end (`complete`), or a further fragment of a request."""

    stream_id: int
    metadata: bytes | None = None
    data: bytes = b""
    follows: bool = False
    complete: bool = False
    next: bool = False


@dataclass(frozen=True, slots=True)
class Error:
    """The end of a stream, or of the connection (stream 0), with a reason. `code` may be one that we do not know."""

    stream_id: int
    code: int
    message: str


@dataclass(frozen=True, slots=True)
class MetadataPush:
    """Metadata for the connection as a whole; nobody here sends or uses any."""

    metadata: bytes


@dataclass(frozen=True, slots=True)
class UnsupportedFrame:
    """A frame of a type that we do not speak: leases, resumption, extensions, unknown ones. `ignorable`: the peer does not mind."""

    stream_id: int
    type_number: int
    ignorable: bool


Frame = Setup | Keepalive | Request | RequestN | Cancel | Payload | Error | MetadataPush | UnsupportedFrame

_REQUESTS = (
    FrameType.REQUEST_RESPONSE,
    FrameType.REQUEST_FNF,
    FrameType.REQUEST_STREAM,
    FrameType.REQUEST_CHANNEL,
)
_WITH_N = (FrameType.REQUEST_STREAM, FrameType.REQUEST_CHANNEL)
_OF_THE_CONNECTION = (FrameType.SETUP, FrameType.KEEPALIVE, FrameType.METADATA_PUSH)
_OF_A_STREAM = (*_REQUESTS, FrameType.REQUEST_N, FrameType.CANCEL, FrameType.PAYLOAD)


class _Fields:
    """What is left to read of a frame."""

    def __init__(self, message: bytes, stream_id: int) -> None:
        self._message = message
        self._stream_id = stream_id
        self._at = _HEADER_BYTES

    def malformed(self, text: str) -> FrameMalformed:
        return FrameMalformed(f"A frame is malformed: {text}.", stream_id=self._stream_id)

    def take(self, size: int, what: str) -> bytes:
        part = self._message[self._at : self._at + size]
        if len(part) < size:
            raise self.malformed(f"it ends inside {what}")
        self._at += size
        return part

    def number(self, size: int, what: str) -> int:
        return int.from_bytes(self.take(size, what), "big")

    def mime_type(self, what: str) -> str:
        try:
            return self.take(self.number(1, what), what).decode("ascii")
        except UnicodeDecodeError as exc:
            raise self.malformed(f"{what} is not ASCII") from exc

    def metadata(self, flags: int) -> bytes | None:
        return self.take(self.number(3, "metadata"), "metadata") if flags & _METADATA else None

    def rest(self) -> bytes:
        part = self._message[self._at :]
        self._at = len(self._message)
        return part


def stream_id_of(message: bytes) -> int | None:
    """The stream that a message is about, or None when it is too short for a frame."""
    return int.from_bytes(message[:4], "big") & STREAM_ID_MAX if len(message) >= _HEADER_BYTES else None


def decode_frame(message: bytes) -> Frame:
    """Read one frame. Bytes behind the fields of a frame without data are ignored. Raises FrameMalformed."""
    stream_id = stream_id_of(message)
    if stream_id is None:
        raise FrameMalformed(f"A frame has at least {_HEADER_BYTES} bytes.", stream_id=None)
    type_and_flags = int.from_bytes(message[4:6], "big")
    type_number, flags = type_and_flags >> 10, type_and_flags & 0x3FF
    fields = _Fields(message, stream_id)
    if stream_id and type_number in _OF_THE_CONNECTION:
        raise fields.malformed(f"{FrameType(type_number).name} belongs to stream 0")
    if not stream_id and type_number in _OF_A_STREAM:
        raise fields.malformed(f"{FrameType(type_number).name} belongs to a stream")
    match type_number:
        case FrameType.SETUP:
            return _decode_setup(fields, flags)
        case FrameType.KEEPALIVE:
            position = fields.number(8, "the position")
            return Keepalive(bool(flags & _RESPOND), fields.rest(), position)
        case FrameType.REQUEST_N:
            return RequestN(stream_id, fields.number(4, "the number of payloads"))
        case FrameType.CANCEL:
            return Cancel(stream_id)
        case FrameType.PAYLOAD:
            metadata = fields.metadata(flags)
            follows, complete, has_next = bool(flags & _FOLLOWS), bool(flags & _COMPLETE), bool(flags & _NEXT)
            return Payload(stream_id, metadata, fields.rest(), follows, complete, has_next)
        case FrameType.ERROR:
            code = fields.number(4, "the error code")
            return Error(stream_id, code, fields.rest().decode(errors="replace"))
        case FrameType.METADATA_PUSH:
            return MetadataPush(fields.rest())
        case _ if type_number in _REQUESTS:
            return _decode_request(fields, stream_id, FrameType(type_number), flags)
        case _:
            return UnsupportedFrame(stream_id, type_number, bool(flags & _IGNORE))


def _decode_setup(fields: _Fields, flags: int) -> Setup:
    major, minor = fields.number(2, "the version"), fields.number(2, "the version")
    keepalive_ms = fields.number(4, "the keepalive interval") & 0x7FFFFFFF
    lifetime_ms = fields.number(4, "the lifetime") & 0x7FFFFFFF
    resume_token = None
    if flags & _RESUME:
        resume_token = fields.take(fields.number(2, "the resume token"), "the resume token")
    metadata_mime_type, data_mime_type = fields.mime_type("the metadata type"), fields.mime_type("the data type")
    metadata = fields.metadata(flags)
    return Setup(
        keepalive_ms=keepalive_ms,
        lifetime_ms=lifetime_ms,
        metadata_mime_type=metadata_mime_type,
        data_mime_type=data_mime_type,
        metadata=metadata,
        data=fields.rest(),
        major=major,
        minor=minor,
        lease=bool(flags & _LEASE),
        resume_token=resume_token,
    )


def _decode_request(fields: _Fields, stream_id: int, kind: FrameType, flags: int) -> Request:
    initial_n = fields.number(4, "the number of payloads") if kind in _WITH_N else 0
    metadata = fields.metadata(flags)
    complete = kind is FrameType.REQUEST_CHANNEL and bool(flags & _COMPLETE)
    return Request(stream_id, kind, initial_n, metadata, fields.rest(), bool(flags & _FOLLOWS), complete)


def encode_line_frame(stream_id: int, line: bytes) -> bytes:
    """One line of a stream as a PAYLOAD frame. The hot path: `encode_frame` would give the same."""
    return struct.pack(">IH", stream_id, FrameType.PAYLOAD << 10 | _NEXT) + line


def encode_frame(frame: Frame) -> bytes:
    """Write one frame; the opposite of `decode_frame`. Leases, resumption and extensions are never written."""
    match frame:
        case Setup():
            return _encode_setup(frame)
        case Keepalive(respond, data, position):
            return _head(0, FrameType.KEEPALIVE, _RESPOND * respond) + struct.pack(">Q", position) + data
        case Request(stream_id, kind, initial_n, metadata, data, follows, complete):
            flags = _FOLLOWS * follows | _COMPLETE * complete | _METADATA * (metadata is not None)
            n = struct.pack(">I", initial_n) if kind in _WITH_N else b""
            return _head(stream_id, kind, flags) + n + _sized(metadata) + data
        case RequestN(stream_id, n):
            return _head(stream_id, FrameType.REQUEST_N) + struct.pack(">I", n)
        case Cancel(stream_id):
            return _head(stream_id, FrameType.CANCEL)
        case Payload(stream_id, metadata, data, follows, complete, has_next):
            flags = _FOLLOWS * follows | _COMPLETE * complete | _NEXT * has_next | _METADATA * (metadata is not None)
            return _head(stream_id, FrameType.PAYLOAD, flags) + _sized(metadata) + data
        case Error(stream_id, code, message):
            return _head(stream_id, FrameType.ERROR) + struct.pack(">I", code) + message.encode(errors="replace")
        case MetadataPush(metadata):
            return _head(0, FrameType.METADATA_PUSH, _METADATA) + metadata
        case UnsupportedFrame(stream_id, type_number, ignorable):
            return _head(stream_id, type_number, _IGNORE * ignorable)


def _encode_setup(setup: Setup) -> bytes:
    flags = _LEASE * setup.lease | _METADATA * (setup.metadata is not None)
    resume = b""
    if setup.resume_token is not None:
        flags |= _RESUME
        resume = struct.pack(">H", len(setup.resume_token)) + setup.resume_token
    types = b"".join(
        bytes([len(mime_type)]) + mime_type.encode("ascii")
        for mime_type in (setup.metadata_mime_type, setup.data_mime_type)
    )
    numbers = struct.pack(">HHII", setup.major, setup.minor, setup.keepalive_ms, setup.lifetime_ms)
    return _head(0, FrameType.SETUP, flags) + numbers + resume + types + _sized(setup.metadata) + setup.data


def _head(stream_id: int, type_number: int, flags: int = 0) -> bytes:
    return struct.pack(">IH", stream_id, type_number << 10 | flags)


def _sized(metadata: bytes | None) -> bytes:
    """Metadata behind its length in 24 bits, or nothing."""
    return b"" if metadata is None else len(metadata).to_bytes(3, "big") + metadata
