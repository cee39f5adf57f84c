"""A TCP proxy that fails on demand: between a client and a server, on real sockets.

Tests of recovery need a connection that breaks at a chosen byte, a peer that falls silent, a network that loses everything without
telling anybody, or a port that refuses. `FaultyProxy` gives each of them and remembers what passed.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType

__all__ = ["RECORDED_BYTES_MAX", "Direction", "FaultyProxy", "ProxiedConnection"]

RECORDED_BYTES_MAX = (
    1 << 20
)  # bytes kept per connection and direction: the first ones; more is forwarded, not remembered
READ_BYTES_MAX = 64 * 1024  # bytes forwarded at a time
CONNECT_TIMEOUT_S = 10.0  # seconds for the target to accept a connection


class Direction(enum.Enum):
    """Which way bytes go."""

    TO_SERVER = "client->server"
    TO_CLIENT = "server->client"


@dataclass(slots=True, eq=False)
class ProxiedConnection:
    """One connection: what passed each way. `sent` and `received` hold the first `RECORDED_BYTES_MAX` bytes of it."""

    sent: bytearray = field(default_factory=bytearray)
    received: bytearray = field(default_factory=bytearray)
    bytes_sent: int = 0
    bytes_received: int = 0
    bytes_lost: int = 0  # swallowed by `drop`, both ways
    gaps: set[Direction] = field(default_factory=set[Direction])  # ways on which bytes were lost
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    writers: list[asyncio.StreamWriter] = field(default_factory=list[asyncio.StreamWriter], repr=False)

    def note(self, direction: Direction, data: bytes) -> None:
        """Record bytes that were forwarded."""
        recorded = self.sent if direction is Direction.TO_SERVER else self.received
        recorded += data[: max(0, RECORDED_BYTES_MAX - len(recorded))]
        if direction is Direction.TO_SERVER:
            self.bytes_sent += len(data)
        else:
            self.bytes_received += len(data)

    def cut(self, *, spare: asyncio.StreamWriter | None = None) -> None:
        """Reset both sides (but for `spare`) at once: what is in the proxy's buffers is lost, as when a machine dies."""
        for writer in self.writers:
            if writer is spare:
                continue
            with contextlib.suppress(OSError):  # the peer may have closed it already
                sock: socket.socket = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            writer.transport.abort()


@dataclass(slots=True)
class _Trigger:
    """A cut that waits for its moment. `tail` is the end of what passed, for markers that stand across two reads."""

    direction: Direction
    marker: bytes | None
    bytes_left: int | None
    forward: bool
    fired: asyncio.Event = field(default_factory=asyncio.Event)
    tails: dict[int, bytes] = field(default_factory=dict[int, bytes])

    def split(self, connection_id: int, data: bytes) -> int | None:
        """How many of these bytes still pass before the cut; None while its moment has not come."""
        if self.marker is not None:
            tail = self.tails.get(connection_id, b"")
            at = (tail + data).find(self.marker)
            if at < 0:
                keep = len(self.marker) - 1
                self.tails[connection_id] = (tail + data)[-keep:] if keep else b""
                return None
            return max(0, at - len(tail) + (len(self.marker) if self.forward else 0))
        assert self.bytes_left is not None
        if len(data) < self.bytes_left:
            self.bytes_left -= len(data)
            return None
        return self.bytes_left if self.forward else 0


class FaultyProxy:
    """Listens on a port of 127.0.0.1 and forwards to one target, until told to fail. Use as an async context manager."""

    def __init__(self, target_host: str, target_port: int) -> None:
        self._target = (target_host, target_port)
        self._server: asyncio.Server | None = None
        self._open: set[ProxiedConnection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._triggers: list[_Trigger] = []
        self._flowing = {direction: asyncio.Event() for direction in Direction}
        self._dropping: set[Direction] = set()
        self._gaps_are_bridged = False
        self.connections: list[ProxiedConnection] = []
        self.refuse = False
        """While true, a new connection is reset at once."""
        self.port = 0

    @property
    def url(self) -> str:
        """`http://127.0.0.1:port`."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def open_connections(self) -> int:
        """How many connections are open now."""
        return len(self._open)

    async def __aenter__(self) -> FaultyProxy:
        for event in self._flowing.values():
            event.set()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> int:
        """Reset all connections that are open now; new ones are welcome. Return how many there were."""
        cut = list(self._open)
        for connection in cut:
            connection.cut()
        return len(cut)

    def cut_after(
        self,
        direction: Direction,
        *,
        marker: bytes | None = None,
        bytes_count: int | None = None,
        forward: bool = True,
    ) -> asyncio.Event:
        """Reset the connection on which `marker`, or the `bytes_count`-th byte from now on all connections, goes `direction`; once.

        Give one of the two. With `forward` the bytes up to the end of the marker (or of the count) still pass; without, the marker (or
        the last read of the count) does not. The event is set when it has happened.
        """
        if (marker is None) == (bytes_count is None):
            raise ValueError("give either marker or bytes_count")
        if marker == b"" or (bytes_count is not None and bytes_count < 1):
            raise ValueError("marker and bytes_count must not be empty")
        trigger = _Trigger(direction, marker, bytes_count, forward)
        self._triggers.append(trigger)
        return trigger.fired

    def stall(self, direction: Direction | None = None) -> None:
        """Forward nothing in this direction (both by default) until `resume`; connections stay open."""
        for one in _either(direction):
            self._flowing[one].clear()

    def resume(self, direction: Direction | None = None) -> None:
        """End a stall; what was held back goes on its way."""
        for one in _either(direction):
            self._flowing[one].set()

    def drop(self, direction: Direction | None = None, *, gaps_are_bridged: bool = False) -> None:
        """Swallow whatever goes in this direction (both by default) until `heal`, ends of connections too; nobody is told.

        A connection that has lost bytes stays silent that way after the heal, as TCP never delivers what lies behind a gap: only new
        connections work. With `gaps_are_bridged` it carries on with what comes then, as behind a broken middlebox.
        """
        self._dropping |= set(_either(direction))
        self._gaps_are_bridged = gaps_are_bridged

    def heal(self) -> None:
        """End a `drop`."""
        self._dropping.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        connection = ProxiedConnection(writers=[writer])
        if self.refuse:
            connection.cut()
            return
        try:
            target_reader, target_writer = await asyncio.wait_for(
                asyncio.open_connection(*self._target), CONNECT_TIMEOUT_S
            )
        except OSError:  # as a direct connection would learn it: by a reset
            connection.cut()
            return
        connection.writers.append(target_writer)
        for one in connection.writers:
            one.transport.set_write_buffer_limits(high=0)  # `drain` then means: all is with the kernel
        self.connections.append(connection)
        self._open.add(connection)
        try:
            await asyncio.gather(
                self._pump(connection, Direction.TO_SERVER, reader, target_writer),
                self._pump(connection, Direction.TO_CLIENT, target_reader, writer),
            )
        except asyncio.CancelledError:  # the proxy is leaving; asyncio's server would report the task as failed
            pass
        finally:
            self._open.discard(connection)
            connection.closed.set()
            for one in connection.writers:
                one.close()

    async def _pump(
        self,
        connection: ProxiedConnection,
        direction: Direction,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        try:
            while data := await reader.read(READ_BYTES_MAX):
                await self._flowing[direction].wait()
                if self._swallows(connection, direction):
                    connection.gaps.add(direction)
                    connection.bytes_lost += len(data)
                    continue
                trigger, length = self._due(connection, direction, data)
                if trigger is not None:
                    data = data[:length]
                connection.note(direction, data)
                writer.write(data)
                await writer.drain()
                if trigger is not None:
                    writer.close()  # not a reset: it could overtake the bytes that shall still arrive
                    connection.cut(spare=writer)
                    trigger.fired.set()
                    return
            if not self._swallows(connection, direction):
                writer.write_eof()  # the other direction may still have something to say
        except OSError:  # one peer has reset the connection, which is then over for both
            connection.cut()

    def _swallows(self, connection: ProxiedConnection, direction: Direction) -> bool:
        return direction in self._dropping or (direction in connection.gaps and not self._gaps_are_bridged)

    def _due(self, connection: ProxiedConnection, direction: Direction, data: bytes) -> tuple[_Trigger | None, int]:
        """The cut whose moment has come with these bytes, and how many of them pass."""
        for trigger in self._triggers:
            if trigger.direction is direction:
                length = trigger.split(id(connection), data)
                if length is not None:
                    self._triggers.remove(trigger)
                    return trigger, length
        return None, 0


def _either(direction: Direction | None) -> Iterator[Direction]:
    yield from Direction if direction is None else (direction,)
