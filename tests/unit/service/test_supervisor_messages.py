"""The codec between supervisor and children: every cut of the byte stream, every limit, and a reader that reads nothing."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.metrics import MetricsSnapshot
from syncline.service.supervisor_messages import (
    ERROR_CHARACTERS_MAX,
    MESSAGE_BYTES_MAX,
    Alive,
    CheckpointMade,
    Deployed,
    FrameReader,
    Message,
    MessageInvalid,
    Outbox,
    Peers,
    Replication,
    Started,
    Stop,
    encode,
)

NUMBERS = st.integers(0, 2**53)
REPLICATIONS = st.builds(
    Replication,
    active=st.booleans(),
    touched_s=st.floats(0, 1e10),
    last_error=st.text(max_size=200),
    checkpoint_ms=st.dictionaries(NUMBERS, NUMBERS, max_size=2),
)
SNAPSHOTS = st.builds(MetricsSnapshot, operations_synced=NUMBERS, replication_lag_s=st.none() | st.floats(0, 1e6))
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.just(Started()),
    st.just(Deployed()),
    st.just(Stop()),
    st.builds(CheckpointMade, NUMBERS, NUMBERS),
    st.builds(
        Alive,
        touched_s=st.floats(0, 1e10),
        ready=st.booleans(),
        metrics=SNAPSHOTS,
        replication=st.none() | REPLICATIONS,
    ),
    st.builds(Peers, touched_s=st.floats(0, 1e10), replication=st.none() | REPLICATIONS),
)


@given(st.lists(MESSAGES, max_size=6), st.lists(st.integers(1, 40), min_size=1))
def test_messages_arrive_as_they_were_sent_however_the_bytes_are_cut(messages: list[Message], cuts: list[int]) -> None:
    data = b"".join(map(encode, messages))
    reader = FrameReader()
    heard: list[Message] = []
    at = 0
    while at < len(data):
        size = cuts[at % len(cuts)]
        heard += reader.feed(data[at : at + size])
        at += size
    assert heard == messages


@given(st.binary(max_size=300))
def test_any_bytes_are_messages_or_refused(data: bytes) -> None:
    with contextlib.suppress(MessageInvalid):
        FrameReader().feed(data)


def test_an_announced_length_above_the_limit_is_refused_before_it_is_read() -> None:
    at_the_limit = FrameReader()
    assert at_the_limit.feed(MESSAGE_BYTES_MAX.to_bytes(4, "big")) == []
    with pytest.raises(MessageInvalid, match="65537 bytes"):
        FrameReader().feed((MESSAGE_BYTES_MAX + 1).to_bytes(4, "big"))


def test_the_longest_error_fits_into_a_message() -> None:
    replication = Replication(last_error="\N{SNOWMAN}" * ERROR_CHARACTERS_MAX)
    message = Peers(touched_s=1.0, replication=replication)
    assert FrameReader().feed(encode(message)) == [message]


def test_an_outbox_keeps_the_newest_of_each_kind_and_never_cuts_a_frame_under_way() -> None:
    outbox = Outbox()
    assert not outbox
    outbox.put(CheckpointMade(1, 1))
    outbox.sent(3)  # nothing was taken yet: there is no frame under way
    first = outbox.next_bytes()
    outbox.sent(3)
    for op_id in range(2, 1000):
        outbox.put(CheckpointMade(1, op_id))
        outbox.put(Deployed())
    sent = first[:3]
    while outbox:
        part = outbox.next_bytes()[:5]
        sent += part
        outbox.sent(len(part))
    assert FrameReader().feed(sent) == [CheckpointMade(1, 1), CheckpointMade(1, 999), Deployed()]
    assert outbox.next_bytes() == b""
