from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.errors import RemoteProtocolError
from syncline.protocol.rsocket.client_connection import (
    LINES_AHEAD,
    ClientConnection,
    LineReceived,
    SendMessage,
    StreamEnded,
    StreamRefused,
)
from syncline.protocol.rsocket.connection import MessageReceived as ServerReceived
from syncline.protocol.rsocket.connection import OpenStream, ServerConnection, SetupAccepted
from syncline.protocol.rsocket.frames import (
    Cancel,
    Error,
    ErrorCode,
    Frame,
    Keepalive,
    Payload,
    Request,
    RequestN,
    Setup,
    decode_frame,
    encode_frame,
)
from syncline.protocol.rsocket.limits import RSocketLimits


def opened(**options: int) -> ClientConnection:
    connection = ClientConnection(keepalive_s=5, line_bytes_max=options.pop("line_bytes_max", 1000), **options)
    connection.open(token="jwt", user_agent="test", path="/sync/stream", request=b"{}")
    return connection


def receive(connection: ClientConnection, frame: Frame) -> list[object]:
    return list(connection.receive(encode_frame(frame)))


def sent(instructions: list[object]) -> list[Frame]:
    return [decode_frame(todo.message) for todo in instructions if isinstance(todo, SendMessage)]


def test_the_first_messages_are_those_of_the_protocol() -> None:
    connection = ClientConnection(keepalive_s=5, line_bytes_max=1000)
    setup, request = map(
        decode_frame, connection.open(token="jwt", user_agent="test/1", path="/sync/stream", request=b'{"a":1}')
    )
    assert isinstance(setup, Setup)
    assert json.loads(setup.metadata or b"") == {"token": "Token jwt", "user_agent": "test/1"}
    assert (setup.keepalive_ms, setup.lifetime_ms, setup.lease, setup.resume_token) == (5000, 90_000, False, None)
    assert isinstance(request, Request)
    assert (request.stream_id, request.initial_n, request.data) == (1, LINES_AHEAD, b'{"a":1}')
    assert json.loads(request.metadata or b"") == {"path": "/sync/stream"}


def test_the_service_understands_them() -> None:
    connection = ClientConnection(keepalive_s=5, line_bytes_max=1000)
    server = ServerConnection(RSocketLimits(), now_s=0)
    setup, request = connection.open(token="jwt", user_agent="test", path="/sync/stream", request=b"{}")
    server.receive(ServerReceived(setup, now_s=0))
    server.receive(SetupAccepted(now_s=0))
    [stream] = server.receive(ServerReceived(request, now_s=0))
    assert isinstance(stream, OpenStream)
    assert server.credits(stream.stream_id) == LINES_AHEAD


@given(st.lists(st.integers(1, 30), max_size=20), st.integers(1, 20))
def test_what_is_under_way_is_bounded_and_never_dries_up(batches: list[int], lines_ahead: int) -> None:
    connection = opened(lines_ahead=lines_ahead)
    allowed = lines_ahead
    for batch in batches:
        for _ in range(batch):
            assert 1 <= allowed <= lines_ahead
            allowed -= 1
            receive(connection, Payload(1, data=b"x", next=True))
            for frame in sent(list(connection.lines_taken())):
                assert isinstance(frame, RequestN)
                allowed += frame.n


def test_fragments_are_put_together_up_to_the_limit() -> None:
    connection = opened(line_bytes_max=5)
    assert receive(connection, Payload(1, data=b"ab", next=True, follows=True)) == []
    assert receive(connection, Payload(1, data=b"cde")) == [LineReceived(b"abcde")]
    assert receive(connection, Payload(1, data=b"12345", next=True)) == [LineReceived(b"12345")]
    receive(connection, Payload(1, data=b"abc", next=True, follows=True))
    with pytest.raises(RemoteProtocolError, match="longer than 5"):
        receive(connection, Payload(1, data=b"def"))
    assert receive(connection, Payload(1, data=b"x", next=True)) == []


def test_the_end_can_come_with_the_last_line_or_alone() -> None:
    assert receive(opened(), Payload(1, data=b"x", next=True, complete=True)) == [LineReceived(b"x"), StreamEnded()]
    connection = opened()
    assert not connection.is_open
    receive(connection, Payload(1, data=b"x", next=True))
    assert connection.is_open
    assert receive(connection, Payload(1, complete=True)) == [StreamEnded()]
    assert not connection.is_open
    assert connection.lines_taken(LINES_AHEAD) == connection.keepalive(now_s=1) == connection.cancel() == []


@pytest.mark.parametrize(
    ("frame", "is_setup"),
    [
        (Error(0, ErrorCode.REJECTED_SETUP, "[PSYNC_S2103] expired"), True),
        (Error(0, ErrorCode.CONNECTION_CLOSE, "[PSYNC_S2003] stopping"), False),
        (Error(1, ErrorCode.APPLICATION_ERROR, "[PSYNC_S2305] too many"), False),
    ],
)
def test_a_refusal_ends_the_connection(frame: Error, is_setup: bool) -> None:
    connection = opened()
    [refused] = receive(connection, frame)
    assert isinstance(refused, StreamRefused)
    assert (refused.code, refused.message, refused.is_setup) == (frame.code, frame.message, is_setup)
    assert receive(connection, Payload(1, data=b"x", next=True)) == []


def test_signs_of_life_are_counted_until_one_comes_back() -> None:
    connection = opened()
    assert connection.unanswered_s(now_s=1) == 0
    assert sent(list(connection.keepalive(now_s=1))) == [Keepalive(respond=True)]
    connection.keepalive(now_s=6)
    assert connection.unanswered_s(now_s=8) == 7
    assert receive(connection, Keepalive(respond=False)) == []
    assert connection.unanswered_s(now_s=9) == 0
    assert sent(receive(connection, Keepalive(respond=True, data=b"you?"))) == [Keepalive(respond=False, data=b"you?")]


def test_a_stream_that_is_not_wanted_is_cancelled_once() -> None:
    connection = opened()
    assert sent(list(connection.cancel())) == [Cancel(1)]
    assert connection.cancel() == []


@given(st.binary(max_size=60))
def test_any_message_is_taken_or_refused(message: bytes) -> None:
    connection = opened()
    try:
        connection.receive(message)
    except RemoteProtocolError:
        return
