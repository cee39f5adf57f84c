"""The wall of replication: the bare walsender, drained through libpq without decoding a byte of a row."""

from __future__ import annotations

import select
import struct
import time
from types import TracebackType

import psycopg
from psycopg import pq

__all__ = ["BareWalsender"]

_HEADER_BYTES = 25  # kind, start, end, time (streaming replication protocol, XLogData)


class BareWalsender:
    """A temporary slot, and from `start` on its stream. `received` counts row messages.

    Started after the commits, it shows what the walsender alone takes to decode and send them.
    """

    def __init__(self, dsn: str, *, slot: str = "bench_wall") -> None:
        self._connection = psycopg.connect(dsn, autocommit=True, replication="database")  # type: ignore[call-overload]
        self._pgconn = self._connection.pgconn
        self._slot = slot
        self.received = 0

    def __enter__(self) -> BareWalsender:
        self._connection.execute(f'CREATE_REPLICATION_SLOT "{self._slot}" TEMPORARY LOGICAL pgoutput'.encode())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connection.close()

    def start(self) -> None:
        """Begin to stream from where the slot was made."""
        command = (
            f'START_REPLICATION SLOT "{self._slot}" LOGICAL 0/0 '
            "(proto_version '1', publication_names 'powersync', messages 'true')"
        )
        self._pgconn.send_query(command.encode())
        result = self._pgconn.get_result()
        if result is None or result.status != pq.ExecStatus.COPY_BOTH:
            raise RuntimeError("the bare walsender did not start")
        self._pgconn.nonblocking = 1

    def drain_commits(self, commits: int, *, timeout_s: float = 60.0) -> float:
        """Read until so many commits have passed; return the time (perf_counter seconds) at which the last one came."""
        deadline = time.perf_counter() + timeout_s
        while commits:
            size, view = self._pgconn.get_copy_data(1)
            if size > 0:
                commits -= self._take(bytes(view))
                continue
            if size < 0:
                raise RuntimeError("the bare walsender ended its stream")
            if not select.select([self._pgconn.socket], [], [], max(0.0, deadline - time.perf_counter()))[0]:
                raise TimeoutError("the bare walsender sent no commit")
            self._pgconn.consume_input()
        return time.perf_counter()

    def _take(self, data: bytes) -> bool:
        """Count a message; True for a commit."""
        if data[0] == ord("k"):
            if data[17]:  # a reply is asked for
                position = struct.unpack_from(">Q", data, 1)[0]
                self._pgconn.put_copy_data(struct.pack(">cQQQQB", b"r", position, position, position, 0, 0))
                self._pgconn.flush()
            return False
        kind = data[_HEADER_BYTES : _HEADER_BYTES + 1]
        self.received += kind in (b"I", b"U", b"D")
        return kind == b"C"
