"""uvicorn's HTTP protocol with bounds on a request that is still arriving: the library waits for it as long as a client likes.

    head    HEAD_BYTES_MAX bytes within HEAD_TIMEOUT_S, counted from the connection or from the request's first byte
    whole   REQUEST_BYTES_MAX bytes within BODY_TIMEOUT_S after the head: chunk sizes, trailers and what the app has refused already count

What exceeds a bound is answered with 431, 408 or 413 where no answer has begun, and closed: first the sending side only, for to close
while bytes still come resets the connection, which takes the answer from the client (RFC 9112, 9.6). A token is checked behind all
this, so that these are the limits for everybody who can connect.

What an idle connection takes is made smaller too: for tasks that may wait until a client reads on, for tasks that may wait for a request,
and for requests that may come before an answer, the library keeps a queue of 760 bytes each.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from syncline.api.limits import BODY_BYTES_MAX
from syncline.sync.light_event import LightEvent

__all__ = [
    "BODY_TIMEOUT_S",
    "HEAD_BYTES_MAX",
    "HEAD_TIMEOUT_S",
    "LINGER_BYTES_MAX",
    "LINGER_S",
    "REQUEST_BYTES_MAX",
    "StreamHttpProtocol",
]

HEAD_BYTES_MAX = 128 * 1024  # bytes of a request's line and headers: the largest token, and room for as much again
REQUEST_BYTES_MAX = 2 * BODY_BYTES_MAX  # bytes of a request on the wire: the largest body in small chunks
HEAD_TIMEOUT_S = 10.0  # seconds until a request's head must have come
BODY_TIMEOUT_S = 60.0  # seconds until its body must have come: the largest one at 70 kB/s
LINGER_S = 1.0  # seconds for which a refused client's bytes are still taken, and thrown away
LINGER_BYTES_MAX = 16 * 1024 * 1024  # bytes of them; then they wait in the network for the end
_TOO_SLOW = b"408 Request Timeout"
_HEAD_TOO_LARGE = b"431 Request Header Fields Too Large"
_TOO_LARGE = b"413 Content Too Large"


class StreamHttpProtocol(HttpToolsProtocol):
    """One HTTP connection of the server; hand the class to uvicorn as `http`."""

    # Slots, because the library has 28 attributes and Python shares the names of 30: with more, each connection has a dictionary of 1.6 KB.
    __slots__ = ("_in_head", "_in_request", "_received_bytes", "_refused", "_timer")

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the library has it
        """A client has connected, and has to say something."""
        self._timer: asyncio.TimerHandle | None = None
        self._received_bytes = 0  # of the request that is arriving
        self._in_head = True
        self._in_request = False
        self._refused = False
        super().connection_made(transport)
        self.flow = _LazyFlowControl(transport)
        self.pipeline = _Pipeline()  # pyright: ignore[reportAttributeAccessIssue]  # in the place of the library's own
        self._wait(HEAD_TIMEOUT_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes have arrived."""
        if self._refused:
            self._received_bytes += len(data)
            if self._received_bytes > LINGER_BYTES_MAX:
                self.transport.pause_reading()
            return
        super().data_received(data)
        self._received_bytes += len(data)  # afterwards: a request that begins in them begins to count
        if self._in_request and self._received_bytes > (HEAD_BYTES_MAX if self._in_head else REQUEST_BYTES_MAX):
            self._refuse(_HEAD_TOO_LARGE if self._in_head else _TOO_LARGE)

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._in_head = self._in_request = True
        self._received_bytes = 0
        self._wait(HEAD_TIMEOUT_S)

    def on_headers_complete(self) -> None:
        """Its head is there."""
        self._in_head = False
        self._wait(BODY_TIMEOUT_S)
        before = self._newest_cycle
        super().on_headers_complete()
        if (cycle := self._newest_cycle) is not None and cycle is not before:
            # Its task has not begun yet. Of an app of ours only one task receives.
            cycle.message_event = LightEvent()  # pyright: ignore[reportAttributeAccessIssue]  # in the place of the library's own

    def on_message_complete(self) -> None:
        """It is there whole."""
        self._in_request = False
        self._stop_waiting()
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """Another protocol takes over the connection."""
        self._in_request = False
        self._stop_waiting()
        super().handle_websocket_upgrade()

    def _wait(self, seconds: float) -> None:
        self._stop_waiting()
        self._timer = self.loop.call_later(seconds, self._refuse, _TOO_SLOW)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, status: bytes) -> None:
        """Close; with an answer where the client has said something and none has begun, of this request or the one before."""
        self._in_request = False
        self._stop_waiting()
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        cycle = self._newest_cycle
        is_answered = cycle is not None and cycle.response_complete
        is_free = cycle is None or (is_answered if self._in_head else not cycle.response_started)
        if is_free and self._received_bytes:
            self.transport.write(b"HTTP/1.1 " + status + b"\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
        if (is_free or is_answered) and self.transport.can_write_eof():  # TLS cannot close one side
            self._linger()
        else:
            self.transport.close()

    @property
    def _newest_cycle(self) -> RequestResponseCycle | None:
        """Of the newest request whose head is there; None before the first, which the library's types do not say."""
        return self.cycle

    def _linger(self) -> None:
        """End the sending side; close when the client has had the time to read what was said."""
        cycle = self._newest_cycle
        if cycle is not None:
            cycle.disconnected = True  # whatever the app still says goes nowhere
            cycle.message_event.set()
        self.transport.write_eof()
        self._received_bytes = 0
        self.transport.resume_reading()
        self._timer = self.loop.call_later(LINGER_S, self.transport.close)


class _LazyFlowControl(FlowControl):
    """Makes its event when a client is behind for the first time: hardly any ever is."""

    def __init__(self, transport: asyncio.Transport) -> None:
        # Not the library's, which makes the event at once.
        self._transport = transport
        self.read_paused = False
        self.write_paused = False

    def pause_writing(self) -> None:
        if not self.write_paused:
            self._is_writable_event = asyncio.Event()
        super().pause_writing()


class _Pipeline(list[Any]):
    """Requests that came before the one ahead of them was answered, the newest first: a list, for it is nearly always empty."""

    __slots__ = ()

    def appendleft(self, request: Any) -> None:
        self.insert(0, request)
