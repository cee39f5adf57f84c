from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from syncline.protocol.rsocket.connection import (
    ConnectionInstruction,
    OpenStream,
)
from syncline.protocol.rsocket.frames import (
    Cancel,
    ErrorCode,
    Payload,
    RequestN,
)
from syncline.protocol.rsocket.limits import RSocketLimits
from tests.unit.protocol.rsocket.peer import Peer, refused


@given(st.binary(max_size=50), st.binary(max_size=50), st.lists(st.integers(1, 20), max_size=10))
def test_a_request_in_fragments_is_the_request(metadata: bytes, data: bytes, sizes: list[int]) -> None:
    peer = Peer()
    parts = split(metadata, data, sizes)
    instructions: list[ConnectionInstruction] = []
    for index, (some_metadata, some_data) in enumerate(parts):
        assert instructions == []
        follows = index < len(parts) - 1
        if index == 0:
            instructions = peer.requests(1, 3, metadata=some_metadata, data=some_data, follows=follows)
        else:
            fragment = Payload(1, some_metadata, some_data, follows=follows, next=True)
            instructions = peer.sends(fragment)
    assert instructions == [OpenStream(1, metadata, data)]
    assert peer.machine.credits(1) == 3


def split(metadata: bytes, data: bytes, sizes: list[int]) -> list[tuple[bytes | None, bytes]]:
    """Metadata first, then data, as fragmentation has it."""
    parts: list[tuple[bytes | None, bytes]] = []
    for size in sizes:
        if metadata:
            parts.append((metadata[:size], b""))
            metadata = metadata[size:]
        else:
            parts.append((None if parts else b"", data[:size]))
            data = data[size:]
    return [*parts, (metadata if metadata or not parts else None, data)]


def test_credits_that_come_before_the_last_fragment_count() -> None:
    peer = Peer()
    peer.requests(1, 1, data=b"a", follows=True)
    assert peer.sends(RequestN(1, 4)) == []
    assert peer.machine.credits(1) == 0
    assert peer.sends(Payload(1, data=b"b")) == [OpenStream(1, None, b"ab")]
    assert peer.machine.credits(1) == 5


def test_a_cancelled_request_takes_no_more_fragments() -> None:
    peer = Peer()
    peer.requests(1, 1, data=b"a", follows=True)
    assert peer.sends(Cancel(1)) == []
    assert peer.sends(Payload(1, data=b"b")) == []


def test_incomplete_requests_have_a_limit_in_all() -> None:
    peer = Peer(RSocketLimits(fragments_bytes_max=100))
    peer.requests(1, 1, metadata=b"m" * 10, data=b"a" * 40, follows=True)
    peer.requests(3, 1, data=b"a" * 40, follows=True)
    assert refused(peer.requests(5, 1, data=b"a" * 11, follows=True), 5) is ErrorCode.INVALID
    assert refused(peer.sends(Payload(3, data=b"b" * 11, follows=True)), 3) is ErrorCode.INVALID
    assert peer.sends(Payload(3, data=b"c", follows=False)) == []  # refused: what still comes is ignored
    assert peer.sends(Payload(1, data=b"b" * 50)) == [OpenStream(1, b"m" * 10, b"a" * 40 + b"b" * 50)]
