"""PURE: the streams of one connection: requests that are still incomplete, and credits of those that are open."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from syncline.protocol.rsocket.frames import REQUEST_N_MAX, ErrorCode, Payload, Request
from syncline.protocol.rsocket.limits import RSocketLimits

__all__ = ["Problem", "RequestedStreams"]


class Problem(NamedTuple):
    """Why a request is refused."""

    message: str
    error: ErrorCode


@dataclass(slots=True)
class _Incomplete:
    """What has come of a request that is sent in fragments."""

    metadata: bytearray | None
    data: bytearray
    credits: int

    @property
    def size(self) -> int:
        return len(self.data) + len(self.metadata or b"")


@dataclass(slots=True)
class RequestedStreams:
    """Every stream of a connection, from its request's first fragment to its end."""

    limits: RSocketLimits
    _credits: dict[int, int] = field(default_factory=dict[int, int])  # of open streams
    _incomplete: dict[int, _Incomplete] = field(default_factory=dict[int, _Incomplete])
    _last_id: int = 0

    @property
    def count(self) -> int:
        """Streams and incomplete requests."""
        return len(self._credits) + len(self._incomplete)

    def ids(self) -> list[int]:
        """The ids of all of them."""
        return [*self._credits, *self._incomplete]

    def is_open(self, stream_id: int) -> bool:
        """Whether its request is complete and it has not ended."""
        return stream_id in self._credits

    def is_incomplete(self, stream_id: int) -> bool:
        """Whether more fragments of its request are to come."""
        return stream_id in self._incomplete

    def credits(self, stream_id: int) -> int:
        """Lines that may be sent; REQUEST_N_MAX means any number."""
        return self._credits.get(stream_id, 0)

    def problem_with(self, request: Request) -> Problem | None:
        """Why this request cannot be served, or None."""
        if request.stream_id % 2 == 0:
            return Problem("Streams of clients have odd ids.", ErrorCode.INVALID)
        if request.stream_id <= self._last_id:
            return Problem("The id of a stream must be above those before it.", ErrorCode.INVALID)
        if self.count >= self.limits.streams_max:
            return Problem(f"A connection may have {self.limits.streams_max} streams.", ErrorCode.REJECTED)
        if request.follows and not self._has_room(len(request.data) + len(request.metadata or b"")):
            room = self.limits.fragments_bytes_max
            return Problem(f"Incomplete requests may have {room} bytes in all.", ErrorCode.INVALID)
        return None

    def begin(self, request: Request) -> tuple[bytes | None, bytes] | None:
        """Take a request without problems. Its metadata and data when it is complete, else None."""
        self._last_id = request.stream_id
        if not request.follows:
            self._credits[request.stream_id] = min(request.initial_n, REQUEST_N_MAX)
            return request.metadata, request.data
        metadata = None if request.metadata is None else bytearray(request.metadata)
        self._incomplete[request.stream_id] = _Incomplete(metadata, bytearray(request.data), request.initial_n)
        return None

    def has_room_for(self, fragment: Payload) -> bool:
        """Whether a further fragment stays within `fragments_bytes_max`."""
        return self._has_room(len(fragment.data) + len(fragment.metadata or b""))

    def extend(self, fragment: Payload) -> tuple[bytes | None, bytes] | None:
        """Take a further fragment. The request's metadata and data when it was the last, else None."""
        incomplete = self._incomplete[fragment.stream_id]
        if fragment.metadata is not None:
            incomplete.metadata = (incomplete.metadata or bytearray()) + fragment.metadata
        incomplete.data += fragment.data
        if fragment.follows:
            return None
        del self._incomplete[fragment.stream_id]
        self._credits[fragment.stream_id] = min(incomplete.credits, REQUEST_N_MAX)
        return None if incomplete.metadata is None else bytes(incomplete.metadata), bytes(incomplete.data)

    def grant(self, stream_id: int, n: int) -> bool:
        """Allow so many more lines; sums above REQUEST_N_MAX mean any number. True when the stream had none before."""
        incomplete = self._incomplete.get(stream_id)
        if incomplete is not None:
            incomplete.credits = min(incomplete.credits + n, REQUEST_N_MAX)
        before = self._credits.get(stream_id)
        if before is None or n == 0:
            return False
        self._credits[stream_id] = min(before + n, REQUEST_N_MAX)
        return before == 0

    def spend(self, stream_id: int) -> bool:
        """Use one credit. False when there is none."""
        left = self._credits[stream_id]
        if left == 0:
            return False
        if left < REQUEST_N_MAX:
            self._credits[stream_id] = left - 1
        return True

    def forget(self, stream_id: int) -> bool:
        """A stream has ended. False when there was none of this id."""
        incomplete, left = self._incomplete.pop(stream_id, None), self._credits.pop(stream_id, None)
        return incomplete is not None or left is not None

    def forget_all(self) -> None:
        """The connection has ended."""
        self._incomplete.clear()
        self._credits.clear()

    def _has_room(self, size: int) -> bool:
        held = sum(incomplete.size for incomplete in self._incomplete.values())
        return held + size <= self.limits.fragments_bytes_max
