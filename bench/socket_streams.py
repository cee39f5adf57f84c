"""Many streams on plain sockets, read by one selector: a client so cheap that what is measured is the service.

The event loop and the parser of a client library cost about as much for each stream as the service does, on the same two cores.
"""

from __future__ import annotations

import selectors
import socket
import time
import zlib
from collections.abc import Callable, Sequence
from types import TracebackType

from bench.rig import token

__all__ = ["SocketStreams"]

_REQUEST = b'{"raw_data":true,"streams":{"include_defaults":true,"subscriptions":[]}}'
_PIECE_BYTES = 256 * 1024
_KEPT_BYTES = 200  # of what came before: a mark may be cut in two
TIMEOUT_S = 60.0  # seconds without a byte after which a measurement is given up


class SocketStreams:
    """One stream for each user, all of them opened at once by `open`. Tokens are signed before that, so that no clock counts them."""

    def __init__(
        self, port: int, user_ids: Sequence[str], *, accept: str = "application/x-ndjson", encoding: str = "identity"
    ) -> None:
        self._port = port
        head = (
            f"POST /sync/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nAccept: {accept}\r\n"
            f"Accept-Encoding: {encoding}\r\nContent-Length: {len(_REQUEST)}\r\nAuthorization: Token "
        ).encode()
        self._requests = [b"%b%b\r\n\r\n%b" % (head, token(user_id).encode(), _REQUEST) for user_id in user_ids]
        self._selector = selectors.DefaultSelector()
        self._bodies: dict[socket.socket, _Body] = {}
        self._buffer = bytearray(_PIECE_BYTES)

    def open(self, mark: bytes = b"checkpoint_complete") -> float:
        """Connect and ask, all at once; seconds until each stream has brought `mark`."""
        started = time.perf_counter()
        self._connect()
        self.until(mark)
        return time.perf_counter() - started

    def download(self, upto: bytes) -> tuple[float, bytes]:
        """Open the only stream and read it to the line with `upto`; the seconds, and everything that came."""
        started = time.perf_counter()
        self._connect()
        [(connection, body)] = self._bodies.items()
        parts: list[bytes] = []
        text = b""
        while upto not in text:
            text = self._read(connection)
            parts.append(text[len(text) - body.new_bytes :])
        return time.perf_counter() - started, b"".join(parts)

    def _connect(self) -> None:
        for request in self._requests:
            connection = socket.create_connection(("127.0.0.1", self._port))
            connection.sendall(request)
            self._bodies[connection] = _Body()
            self._selector.register(connection, selectors.EVENT_READ)

    def until(self, mark: bytes) -> None:
        """Read until each stream has brought `mark`, from now on."""
        waiting = set(self._bodies)
        while waiting:
            ready = self._selector.select(TIMEOUT_S)
            if not ready:
                raise TimeoutError(f"{len(waiting)} streams brought nothing for {TIMEOUT_S:.0f} s")
            for key, _ in ready:
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                if mark in self._read(connection):
                    waiting.discard(connection)

    def fan_out(self, commit: Callable[[], object], mark: bytes) -> float:
        """Milliseconds from before `commit` until each stream has brought `mark`."""
        started = time.perf_counter()
        commit()
        self.until(mark)
        took_ms = (time.perf_counter() - started) * 1000
        self._settle()
        return took_ms

    def _settle(self) -> None:
        """Take what is still under way of the same checkpoint: it must not be found by the next look."""
        while ready := self._selector.select(0.2):
            for key, _ in ready:
                assert isinstance(key.fileobj, socket.socket)
                self._read(key.fileobj)

    def _read(self, connection: socket.socket) -> bytes:
        size = connection.recv_into(self._buffer)
        if not size:
            raise ConnectionError("the service ended the stream")
        return self._bodies[connection].feed(bytes(memoryview(self._buffer)[:size]))

    def __enter__(self) -> SocketStreams:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._selector.close()
        for connection in self._bodies:
            connection.close()


class _Body:
    """The body of one answer, without its chunks' frames and its compression. Raises ConnectionError where it is none."""

    def __init__(self) -> None:
        self._raw = b""
        self._in_body = False
        self._left = 0  # bytes of the chunk at hand, its line end included
        self._inflate: Callable[[bytes], bytes] | None = None
        self.text = b""  # what was read last, and a little before
        self.new_bytes = 0  # of `text`

    def feed(self, data: bytes) -> bytes:
        """Take bytes from the socket; return the newest text, with a little of what came before."""
        self._raw += data
        if not self._in_body:
            head, found, rest = self._raw.partition(b"\r\n\r\n")
            self.new_bytes = 0
            if not found:
                return b""
            if not head.startswith(b"HTTP/1.1 200"):
                raise ConnectionError(f"the service answered {head[:200]!r}")
            self._in_body, self._raw = True, rest
            if b"content-encoding: gzip" in head.lower():
                self._inflate = zlib.decompressobj(31).decompress
        new = b"".join(self._chunks())
        if self._inflate is not None:
            new = self._inflate(new)
        self.new_bytes = len(new)
        self.text = self.text[-_KEPT_BYTES:] + new
        return self.text

    def _chunks(self) -> list[bytes]:
        """The parts of chunks that have come."""
        found: list[bytes] = []
        raw, start = self._raw, 0
        while True:
            if self._left:
                part = raw[start : start + self._left]
                start += len(part)
                self._left -= len(part)
                found.append(part if self._left >= 2 else part[: len(part) - 2 + self._left])
                if self._left:
                    break
            end = raw.find(b"\r\n", start)
            if end < 0:
                break
            self._left = int(raw[start:end], 16) + 2
            start = end + 2
        self._raw = raw[start:]
        return found
