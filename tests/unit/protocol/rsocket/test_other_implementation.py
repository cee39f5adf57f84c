"""Our frames and those of the Python package `rsocket`: what one writes, the other reads, and writes again byte for byte."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from rsocket.frame import (
    CancelFrame,
    ErrorFrame,
    KeepAliveFrame,
    MetadataPushFrame,
    PayloadFrame,
    RequestChannelFrame,
    RequestFireAndForgetFrame,
    RequestNFrame,
    RequestResponseFrame,
    RequestStreamFrame,
    SetupFrame,
    parse_or_ignore,
)

from syncline.protocol.rsocket.frames import (
    Cancel,
    Error,
    Frame,
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
)
from tests.unit.protocol.rsocket.strategies import frames

REQUESTS: dict[FrameType, Any] = {
    FrameType.REQUEST_RESPONSE: RequestResponseFrame,
    FrameType.REQUEST_FNF: RequestFireAndForgetFrame,
    FrameType.REQUEST_STREAM: RequestStreamFrame,
    FrameType.REQUEST_CHANNEL: RequestChannelFrame,
}


def theirs(frame: Frame) -> Any:
    """The same frame as an object of the other package."""
    match frame:
        case Setup():
            made: Any = SetupFrame()
            made.major_version, made.minor_version = frame.major, frame.minor
            made.keep_alive_milliseconds, made.max_lifetime_milliseconds = frame.keepalive_ms, frame.lifetime_ms
            made.metadata_encoding = frame.metadata_mime_type.encode()
            made.data_encoding = frame.data_mime_type.encode()
            made.metadata, made.data, made.flags_lease = frame.metadata, frame.data, frame.lease
            if frame.resume_token is not None:
                made.flags_resume = True
                made.token_length, made.resume_identification_token = len(frame.resume_token), frame.resume_token
        case Keepalive(respond, data, position):
            made = KeepAliveFrame(data)
            made.flags_respond, made.last_received_position = respond, position
        case Request():
            made = REQUESTS[frame.kind]()
            made.stream_id, made.metadata, made.data = frame.stream_id, frame.metadata, frame.data
            made.flags_follows, made.flags_complete = frame.follows, frame.complete
            if frame.kind in (FrameType.REQUEST_STREAM, FrameType.REQUEST_CHANNEL):
                made.initial_request_n = frame.initial_n
        case RequestN(stream_id, n):
            made = RequestNFrame()
            made.stream_id, made.request_n = stream_id, n
        case Cancel(stream_id):
            made = CancelFrame()
            made.stream_id = stream_id
        case Payload():
            made = PayloadFrame()
            made.stream_id, made.metadata, made.data = frame.stream_id, frame.metadata, frame.data
            made.flags_follows, made.flags_complete, made.flags_next = frame.follows, frame.complete, frame.next
        case Error(stream_id, code, message):
            made = ErrorFrame()
            made.stream_id, made.error_code, made.data = stream_id, code, message.encode()
        case MetadataPush(metadata):
            made = MetadataPushFrame()
            made.metadata = metadata
        case UnsupportedFrame():
            raise AssertionError("we never send these")
    return made


@given(frames)
def test_what_the_other_implementation_writes_is_what_we_write_and_read(frame: Frame) -> None:
    if isinstance(frame, Request) and frame.complete:
        frame = replace(frame, complete=False)  # which it forgets to write for channels
    message = theirs(frame).serialize()
    assert message == encode_frame(frame)
    assert decode_frame(message) == frame


@given(frames)
def test_the_other_implementation_reads_what_we_write(frame: Frame) -> None:
    read: Any = parse_or_ignore(encode_frame(frame))
    assert read is not None
    wanted = theirs(frame)
    assert type(read) is type(wanted)
    for name in ("stream_id", "metadata", "data", "flags_follows", "flags_complete", "flags_next", "initial_request_n"):
        assert (getattr(read, name, None) or None) == (getattr(wanted, name, None) or None), name
    for name in ("request_n", "error_code", "keep_alive_milliseconds", "max_lifetime_milliseconds", "flags_respond"):
        assert getattr(read, name, None) == getattr(wanted, name, None), name
