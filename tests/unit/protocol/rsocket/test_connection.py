from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.errors import LocalProtocolError
from syncline.protocol.rsocket.connection import (
    CheckSetup,
    Close,
    GoOn,
    LineProduced,
    OpenStream,
    SendFrame,
    SetupAccepted,
    SetupRefused,
    Stopping,
    StopStream,
    StreamCompleted,
    StreamFailed,
    TextReceived,
)
from syncline.protocol.rsocket.frames import (
    REQUEST_N_MAX,
    Cancel,
    Error,
    ErrorCode,
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
from syncline.protocol.rsocket.limits import RSocketLimits
from tests.unit.protocol.rsocket.peer import JSON, LIMITS, SETUP, Peer, ended, refused, sent
from tests.unit.protocol.rsocket.strategies import frames


def test_a_stream_goes_from_setup_to_its_end() -> None:
    peer = Peer()
    assert peer.requests(1, 2, metadata=b"m", data=b"d") == [OpenStream(1, b"m", b"d")]
    assert sent(peer.machine.receive(LineProduced(1, b"line"))) == [Payload(1, data=b"line", next=True)]
    assert peer.machine.credits(1) == 1
    assert sent(peer.machine.receive(StreamCompleted(1, peer.now_s))) == [Payload(1, complete=True)]
    assert peer.machine.receive(StreamCompleted(1, peer.now_s)) == []
    assert peer.requests(3, 1) == [OpenStream(3, None, b"")]
    assert sent(peer.machine.receive(StreamFailed(3, "[PSYNC_S2302] no", peer.now_s))) == [
        Error(3, ErrorCode.APPLICATION_ERROR, "[PSYNC_S2302] no")
    ]


# Credits


def test_a_line_without_credit_is_never_sent() -> None:
    peer = Peer()
    peer.requests(1, 0)
    assert peer.machine.credits(1) == 0
    with pytest.raises(LocalProtocolError):
        peer.machine.receive(LineProduced(1, b"line"))
    assert peer.sends(RequestN(1, 1)) == [GoOn(1)]
    assert len(sent(peer.machine.receive(LineProduced(1, b"line")))) == 1
    with pytest.raises(LocalProtocolError):
        peer.machine.receive(LineProduced(1, b"line"))


@given(st.lists(st.integers(0, 20) | st.none(), max_size=60), st.integers(0, 5))
def test_the_lines_sent_are_never_more_than_were_asked_for(steps: list[int | None], initial_n: int) -> None:
    peer = Peer()
    peer.requests(1, initial_n)
    asked, given_out = initial_n, 0
    for n in steps:
        if n is not None:  # the client asks for more
            instructions = peer.sends(RequestN(1, n))
            assert instructions == ([GoOn(1)] if asked == given_out and n else [])
            asked += n
        elif peer.machine.credits(1):
            peer.machine.receive(LineProduced(1, b""))
            given_out += 1
        assert peer.machine.credits(1) == asked - given_out >= 0


@pytest.mark.parametrize(
    "grants", [[REQUEST_N_MAX], [REQUEST_N_MAX - 1, 1], [5, REQUEST_N_MAX - 3], [2**32 - 1], [2**31, 2**31]]
)
def test_credits_that_reach_the_maximum_mean_any_number(grants: list[int]) -> None:
    peer = Peer()
    peer.requests(1, grants[0])
    for n in grants[1:]:
        peer.sends(RequestN(1, n))
    for _ in range(5):
        assert peer.machine.credits(1) == REQUEST_N_MAX
        assert peer.machine.receive(LineProduced(1, b"x"))


def test_below_the_maximum_every_line_is_counted() -> None:
    peer = Peer()
    peer.requests(1, REQUEST_N_MAX - 1)
    peer.machine.receive(LineProduced(1, b"x"))
    assert peer.machine.credits(1) == REQUEST_N_MAX - 2


def test_credits_for_streams_that_are_not_there_are_ignored() -> None:
    assert Peer().sends(RequestN(9, 1)) == []


# Ends


def test_a_cancelled_stream_is_stopped_and_what_it_still_makes_goes_nowhere() -> None:
    peer = Peer()
    peer.requests(1, 5)
    peer.requests(3, 5)
    assert peer.sends(Cancel(1)) == [StopStream(1)]
    assert peer.sends(Cancel(1)) == []
    assert peer.machine.receive(LineProduced(1, b"late")) == []
    assert peer.machine.receive(StreamCompleted(1, peer.now_s)) == []
    assert len(peer.machine.receive(LineProduced(3, b"line"))) == 1


def test_a_client_may_end_a_stream_or_the_connection_with_an_error() -> None:
    peer = Peer()
    peer.requests(1, 5)
    assert peer.sends(Error(1, ErrorCode.CANCELED, "")) == [StopStream(1)]
    peer.requests(3, 5)
    assert [type(instruction) for instruction in peer.sends(Error(0, 0x101, ""))] == [StopStream, Close]
    assert peer.machine.is_closed
    assert peer.sends(Keepalive(respond=True)) == []


def test_a_stopping_service_completes_streams_and_says_goodbye() -> None:
    peer = Peer()
    peer.requests(1, 5)
    peer.requests(3, 0, follows=True)
    instructions = peer.machine.receive(Stopping())
    assert instructions[0] == StopStream(1)
    assert Payload(1, complete=True) in sent(instructions)
    assert ended(instructions) is ErrorCode.CONNECTION_CLOSE
    assert "[PSYNC_S2003]" in str(sent(instructions)[-1])
    assert peer.machine.receive(Stopping()) == []


def test_a_stopping_service_rejects_connections_that_are_being_set_up() -> None:
    for set_up in (False, True):
        peer = Peer(set_up=False)
        if set_up:
            peer.sends(SETUP)
        assert ended(peer.machine.receive(Stopping())) is ErrorCode.REJECTED_SETUP
        assert peer.machine.receive(SetupAccepted(peer.now_s)) == []


# Setup


@pytest.mark.parametrize(
    ("first", "code"),
    [
        (Keepalive(respond=True), ErrorCode.INVALID_SETUP),
        (Request(1, FrameType.REQUEST_STREAM, 1), ErrorCode.INVALID_SETUP),
        (b"\0\0", ErrorCode.INVALID_SETUP),
        (encode_frame(SETUP)[:10], ErrorCode.INVALID_SETUP),
        (Setup(0, 90_000, JSON, JSON), ErrorCode.INVALID_SETUP),
        (Setup(20_000, 0, JSON, JSON), ErrorCode.INVALID_SETUP),
        (Setup(20_000, 90_000, JSON, JSON, major=2), ErrorCode.UNSUPPORTED_SETUP),
        (Setup(20_000, 90_000, JSON, JSON, major=0, minor=2), ErrorCode.UNSUPPORTED_SETUP),
        (Setup(20_000, 90_000, JSON, JSON, lease=True), ErrorCode.REJECTED_SETUP),
        (Setup(20_000, 90_000, JSON, JSON, resume_token=b"t"), ErrorCode.REJECTED_SETUP),
        (UnsupportedFrame(0, FrameType.RESUME, ignorable=False), ErrorCode.REJECTED_RESUME),
        (UnsupportedFrame(0, FrameType.LEASE, ignorable=False), ErrorCode.INVALID_SETUP),
        (encode_frame(SETUP) + b"x" * LIMITS.setup_bytes_max, ErrorCode.INVALID_SETUP),
    ],
)
def test_connections_that_begin_wrong_are_told_why(first: Frame | bytes, code: ErrorCode) -> None:
    peer = Peer(set_up=False)
    assert ended(peer.sends(first)) is code
    assert peer.sends(SETUP) == []


def test_a_refused_setup_is_told_and_closes() -> None:
    peer = Peer(set_up=False)
    peer.sends(SETUP)
    instructions = peer.machine.receive(SetupRefused("[PSYNC_S2103] The token has expired."))
    assert sent(instructions) == [Error(0, ErrorCode.REJECTED_SETUP, "[PSYNC_S2103] The token has expired.")]
    assert isinstance(instructions[-1], Close)


def test_setup_must_come_in_time() -> None:
    peer = Peer(set_up=False)
    assert peer.machine.next_tick_s == peer.now_s + LIMITS.setup_timeout_s
    assert peer.waits(LIMITS.setup_timeout_s - 0.1) == []
    assert ended(peer.waits(0.1)) is ErrorCode.INVALID_SETUP


def test_checking_a_setup_may_take_its_time() -> None:
    peer = Peer(set_up=False)
    peer.sends(SETUP)
    assert peer.waits(1000) == []
    peer.machine.receive(SetupAccepted(peer.now_s))
    assert peer.machine.next_tick_s > peer.now_s


# Keepalives


def test_keepalives_are_echoed_when_the_client_asks_for_it() -> None:
    peer = Peer()
    answer = sent(peer.sends(Keepalive(respond=True, data=b"ping", position=7)))
    assert answer == [Keepalive(respond=False, data=b"ping", position=0)]
    assert peer.sends(Keepalive(respond=False)) == []


def test_a_client_that_says_nothing_for_its_lifetime_is_gone() -> None:
    peer = Peer()
    peer.requests(1, 5)
    for _ in range(20):
        assert peer.waits(89) == []
        peer.sends(Keepalive(respond=True))
        assert peer.machine.next_tick_s == peer.now_s + 90
    instructions = peer.waits(90)
    assert ended(instructions) is ErrorCode.CONNECTION_ERROR
    assert StopStream(1) in instructions


def test_no_client_may_ask_for_a_longer_lifetime_than_the_limit() -> None:
    peer = Peer(set_up=False)
    peer.sends(Setup(20_000, 2**31 - 1, JSON, JSON))
    peer.machine.receive(SetupAccepted(peer.now_s))
    peer.requests(1, 1)
    assert peer.machine.next_tick_s == peer.now_s + LIMITS.lifetime_s_max


def test_a_connection_without_streams_is_closed_after_a_while() -> None:
    peer = Peer()
    peer.requests(1, 5)
    peer.waits(80)
    peer.sends(Keepalive(respond=False))
    peer.machine.receive(StreamCompleted(1, peer.now_s))
    assert peer.machine.next_tick_s == peer.now_s + LIMITS.idle_s_max
    assert peer.waits(LIMITS.idle_s_max - 1) == []
    peer.sends(Keepalive(respond=False))
    assert ended(peer.waits(1)) is ErrorCode.CONNECTION_CLOSE


def test_a_keepalive_that_carries_too_much_is_not_echoed() -> None:
    peer = Peer()
    assert sent(peer.sends(Keepalive(respond=True, data=b"x" * LIMITS.keepalive_bytes_max)))
    instructions = peer.sends(Keepalive(respond=True, data=b"x" * (LIMITS.keepalive_bytes_max + 1)))
    assert ended(instructions) is ErrorCode.CONNECTION_ERROR


# What is refused on its stream only


def with_an_open_stream() -> Peer:
    peer = Peer()
    assert peer.requests(1, 5)
    return peer


def test_only_request_stream_is_served() -> None:
    peer = with_an_open_stream()
    for stream_id, kind in ((3, FrameType.REQUEST_RESPONSE), (5, FrameType.REQUEST_CHANNEL)):
        assert refused(peer.sends(Request(stream_id, kind)), stream_id) is ErrorCode.INVALID
    assert peer.sends(Request(7, FrameType.REQUEST_FNF)) == []  # nobody waits for an answer
    assert peer.machine.credits(1) == 5


@pytest.mark.parametrize("stream_id", [2, 4, 1])
def test_stream_ids_are_odd_and_rise(stream_id: int) -> None:
    peer = Peer()
    peer.requests(1, 1)
    peer.machine.receive(StreamCompleted(1, peer.now_s))
    assert refused(peer.requests(stream_id, 1), stream_id) is ErrorCode.INVALID


def test_a_second_request_on_an_open_stream_ends_that_stream() -> None:
    peer = with_an_open_stream()
    peer.requests(3, 5)
    instructions = peer.requests(3, 5)
    assert instructions[0] == StopStream(3)
    assert refused(instructions, 3) is ErrorCode.INVALID
    assert peer.machine.credits(1) == 5


def test_streams_above_the_limit_are_rejected_and_a_place_is_free_again_after_an_end() -> None:
    peer = Peer(RSocketLimits(streams_max=2))
    peer.requests(1, 1)
    peer.requests(3, 1, follows=True)
    assert refused(peer.requests(5, 1), 5) is ErrorCode.REJECTED
    peer.sends(Cancel(3))
    assert peer.requests(7, 1) == [OpenStream(7, None, b"")]


def test_an_oversized_frame_ends_its_stream_only() -> None:
    peer = with_an_open_stream()
    peer.requests(3, 5)
    instructions = peer.sends(encode_frame(RequestN(3, 1)) + b"x" * LIMITS.frame_bytes_max)
    assert instructions[0] == StopStream(3)
    assert refused(instructions, 3) is ErrorCode.INVALID
    assert len(peer.machine.receive(LineProduced(1, b"line"))) == 1


def test_a_malformed_frame_ends_its_stream_only() -> None:
    peer = with_an_open_stream()
    assert refused(peer.sends(encode_frame(Request(3, FrameType.REQUEST_STREAM, 1))[:8]), 3) is ErrorCode.INVALID
    assert refused(peer.sends(UnsupportedFrame(5, 0x1F, ignorable=False)), 5) is ErrorCode.INVALID
    assert peer.sends(UnsupportedFrame(5, 0x1F, ignorable=True)) == []
    assert peer.sends(Payload(9, data=b"for nobody")) == []
    assert peer.machine.credits(1) == 5


def test_too_many_wrong_frames_end_the_connection() -> None:
    peer = with_an_open_stream()
    for _ in range(LIMITS.refusals_max):
        assert refused(peer.requests(2, 1), 2) is ErrorCode.INVALID
    instructions = peer.requests(2, 1)
    assert ended(instructions) is ErrorCode.CONNECTION_ERROR
    assert StopStream(1) in instructions


@pytest.mark.parametrize(
    "message",
    [
        b"\0",
        encode_frame(SETUP),
        encode_frame(UnsupportedFrame(0, FrameType.LEASE, ignorable=False)),
        encode_frame(UnsupportedFrame(0, 0x1F, ignorable=False)),
        encode_frame(Keepalive(respond=True))[:9],
        encode_frame(Keepalive(respond=True)) + b"x" * LIMITS.frame_bytes_max,
    ],
)
def test_wrong_frames_that_name_no_stream_end_the_connection(message: bytes) -> None:
    peer = with_an_open_stream()
    instructions = peer.sends(message)
    assert ended(instructions) is ErrorCode.CONNECTION_ERROR
    assert StopStream(1) in instructions


def test_text_is_no_frame() -> None:
    instructions = Peer().machine.receive(TextReceived())
    assert ended(instructions) is ErrorCode.CONNECTION_ERROR
    assert instructions[-1] == Close(1003, instructions[-1].reason if isinstance(instructions[-1], Close) else "")


def test_pushed_metadata_is_of_no_use_and_ignored() -> None:
    assert Peer().sends(MetadataPush(b"x")) == []


# Anything


def on_few_streams(frame: Frame) -> Frame:
    stream_id = getattr(frame, "stream_id", 0)
    return replace(frame, stream_id=stream_id % 8 + 1) if stream_id else frame


@given(
    messages=st.lists(frames.map(on_few_streams).map(encode_frame) | st.binary(max_size=60), max_size=40),
    set_up=st.booleans(),
)
def test_no_sequence_of_messages_breaks_the_machine(messages: list[bytes], *, set_up: bool) -> None:
    peer = Peer(RSocketLimits(streams_max=3, fragments_bytes_max=100, refusals_max=5), set_up=set_up)
    open_streams: set[int] = set()
    for message in messages:
        peer.now_s += 1
        for instruction in peer.sends(message):
            match instruction:
                case OpenStream(stream_id):
                    assert stream_id not in open_streams
                    open_streams.add(stream_id)
                case GoOn(stream_id):
                    assert stream_id in open_streams
                case StopStream(stream_id):
                    open_streams.remove(stream_id)
                case CheckSetup():
                    peer.machine.receive(SetupAccepted(peer.now_s))
                case SendFrame(answer):
                    decode_frame(answer)
                case Close():
                    assert peer.machine.is_closed
        assert len(open_streams) <= 3
    assert not (peer.machine.is_closed and open_streams), "whoever closes stops the streams first"
