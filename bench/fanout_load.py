"""Clients that hold streams open and look at nothing: a process of their own for `bench.fanout`, without an event loop's cost.

`python -m bench.fanout_load PORT STREAMS FIRST ENCODING` opens one stream for each of the users `user-FIRST` and on. It writes
`open SECONDS` once every stream has had its first checkpoint; after that it reads whatever comes and throws it away. It ends with its
input.
"""

from __future__ import annotations

import resource
import selectors
import socket
import sys
import time

from bench.rig import token

__all__ = ["main"]

_BODY = b'{"raw_data":true}'
OPENING_MAX = 64  # streams that are being opened at the same time
PIECE_BYTES = 256 * 1024


def main() -> None:
    """Open, report, read until the input ends."""
    port, count, first, encoding = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    raise_file_limit()
    selector = selectors.DefaultSelector()
    started = time.perf_counter()
    waiting = list(range(first, first + count))
    opening: set[socket.socket] = set()
    buffer = bytearray(PIECE_BYTES)
    opened = 0
    selector.register(sys.stdin.buffer.fileno(), selectors.EVENT_READ, None)
    while True:
        while waiting and len(opening) < OPENING_MAX:
            connection = _open(port, f"user-{waiting.pop(0)}", encoding)
            opening.add(connection)
            selector.register(connection, selectors.EVENT_READ, connection)
        for key, _ in selector.select():
            connection = key.data
            if connection is None:
                return
            size = connection.recv_into(buffer)
            if not size:
                print("closed by the service", flush=True)
                return
            if connection in opening and _is_open(connection, bytes(buffer[:size])):
                opening.remove(connection)
                opened += 1
                if opened == count:
                    print(f"open {time.perf_counter() - started}", flush=True)


def raise_file_limit() -> None:
    """Allow as many files as the system lets this process have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


_answers: dict[socket.socket, bytes] = {}


def _is_open(connection: socket.socket, part: bytes) -> bool:
    """Whether the first checkpoint is there."""
    text = _answers.pop(connection, b"") + part
    head, _, body = text.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200") and len(head) > 12:
        sys.exit(f"the service answered {head[:200]!r}")
    # What is compressed counts once something came: the service sends a small checkpoint in one or two parts.
    done = bool(body) if b"content-encoding" in head.lower() else b'{"checkpoint_complete"' in body
    if not done:
        _answers[connection] = text
    return done


def _open(port: int, user_id: str, encoding: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    head = (
        f"POST /sync/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Token {token(user_id)}\r\n"
        f"Content-Type: application/json\r\nAccept-Encoding: {encoding}\r\nContent-Length: {len(_BODY)}\r\n\r\n"
    )
    connection.sendall(head.encode() + _BODY)
    return connection


if __name__ == "__main__":
    main()
