from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.protocol.rsocket.frames import (
    Error,
    Frame,
    FrameMalformed,
    FrameType,
    Payload,
    Request,
    UnsupportedFrame,
    decode_frame,
    encode_frame,
    encode_line_frame,
    stream_id_of,
)
from tests.unit.protocol.rsocket.strategies import data, frames, stream_ids


@given(frames)
def test_every_frame_is_read_as_it_was_written(frame: Frame) -> None:
    assert decode_frame(encode_frame(frame)) == frame


@given(st.binary(max_size=200))
def test_any_bytes_are_a_frame_or_refused(message: bytes) -> None:
    refused_for = stream_id_of(message)
    try:
        decode_frame(message)
    except FrameMalformed as exc:
        refused_for = exc.stream_id
    assert refused_for == stream_id_of(message)  # so that the refusal finds its stream


@given(frames, st.data())
def test_a_frame_that_was_cut_is_shorter_or_refused_but_never_another(frame: Frame, drawn: st.DataObject) -> None:
    message = encode_frame(frame)
    cut = message[: drawn.draw(st.integers(0, len(message) - 1))]
    try:
        found = decode_frame(cut)
    except FrameMalformed:
        return
    assert type(found) is type(frame)
    if not isinstance(found, Error):  # whose text may be cut inside a character
        assert encode_frame(found) == cut  # what was left out is the end of the data, which has no length of its own


@given(stream_ids, data)
def test_lines_are_payload_frames(stream_id: int, line: bytes) -> None:
    assert encode_line_frame(stream_id, line) == encode_frame(Payload(stream_id, data=line, next=True))


@pytest.mark.parametrize(
    ("message", "stream_id", "problem"),
    [
        (b"", None, "at least 6 bytes"),
        (b"\0\0\0\1\x18", None, "at least 6 bytes"),
        (bytes.fromhex("00000001 1800 0000"), 1, "the number of payloads"),
        (bytes.fromhex("00000001 1900 0000000a 00ff"), 1, "metadata"),
        (bytes.fromhex("00000001 1900 0000000a 0000ff 7b7d"), 1, "metadata"),
        (bytes.fromhex("00000000 0400 0001 0000 00004e20 00015f90 10 6170"), 0, "the metadata type"),
        (bytes.fromhex("00000000 0400 0001 0000 00004e20 00015f90 01ff 01ff"), 0, "not ASCII"),
        (bytes.fromhex("00000000 0480 0001 0000 00004e20 00015f90 0003 0102"), 0, "the resume token"),
        (bytes.fromhex("00000000 0c00 000000000000"), 0, "the position"),
        (bytes.fromhex("00000001 2000 0000"), 1, "the number of payloads"),
        (bytes.fromhex("00000001 2c00 0002"), 1, "the error code"),
        (bytes.fromhex("00000000 1800 00000001"), 0, "belongs to a stream"),
        (bytes.fromhex("00000003 0c80 0000000000000000"), 3, "belongs to stream 0"),
    ],
)
def test_malformed_frames_say_where_they_end(message: bytes, stream_id: int | None, problem: str) -> None:
    with pytest.raises(FrameMalformed, match=problem) as raised:
        decode_frame(message)
    assert raised.value.stream_id == stream_id


@pytest.mark.parametrize("kind", [FrameType.LEASE, FrameType.RESUME, FrameType.RESUME_OK, FrameType.EXT, 0x1F])
@pytest.mark.parametrize("ignorable", [True, False])
def test_leases_resumption_and_extensions_are_known_for_what_they_are(kind: int, *, ignorable: bool) -> None:
    frame = UnsupportedFrame(0, kind, ignorable)
    assert decode_frame(encode_frame(frame) + b"whatever they hold") == frame


def test_the_reserved_bit_of_a_stream_id_is_ignored() -> None:
    message = bytearray(encode_frame(Request(7, FrameType.REQUEST_STREAM, 1)))
    message[0] |= 0x80
    assert decode_frame(bytes(message)) == Request(7, FrameType.REQUEST_STREAM, 1)
