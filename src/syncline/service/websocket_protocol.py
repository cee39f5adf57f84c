"""uvicorn's WebSocket protocol, made fit for many streams: compression that costs an idle stream nothing, and bounds on what arrives.

- Each message is compressed by itself, so that nothing is kept between two (RFC 7692, 7.1.1: no context takeover), and by isal, which
  is about ten times as fast as zlib. Short messages go as they are.
- What was received is inflated in small steps, and not before the app has taken what came out of the last one: a few bytes may
  inflate to a thousand times as many.
- The first message, which has to show a token, may be FIRST_MESSAGE_BYTES_MAX long; later ones what uvicorn's `ws_max_size` says. An
  incomplete message is kept in pieces: there may be FRAGMENTS_MAX of them.
- Pings are answered while there is room: who sends them and reads nothing gets no answers that wait.
- A client that takes not a byte for SEND_TIMEOUT_S is cut, and so is one that does not take what is left when the app has ended.
- Headers are not kept: an open connection has no more use for them.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, cast

from isal import isal_zlib
from uvicorn.config import Config
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol

from syncline.api.limits import SEND_TIMEOUT_S
from syncline.protocol.rsocket.limits import RSocketLimits

__all__ = ["StreamWebSocketProtocol"]

FIRST_MESSAGE_BYTES_MAX = (
    RSocketLimits().setup_bytes_max + 1024
)  # bytes, inflated: SETUP, and room to say that it is too long
FRAGMENTS_MAX = 10_000  # pieces of one message; a piece may be empty, so that bytes alone are no bound
COMPRESSION_LEVEL = 1  # of isal; the higher ones are slower and gain little here
COMPRESSED_BYTES_MIN = 256  # bytes of a message from which on compression is worth its while without a context
INFLATED_STEP_BYTES = (
    4 * 1024
)  # received bytes that are inflated before the app has taken them: at most about 4 MB come of them
LINGER_S = 10.0  # seconds that a client gets to take what is still to be sent when the app has ended
_EVENTS_BEFORE_TRUST = 2  # the connection itself and the first message: an app that asks for more has accepted it
_EMPTY_BLOCK = b"\x00\x00\xff\xff"  # at the end of each message; left out on the wire (RFC 7692, 7.2.1)


def _compressed(data: Any, *, window_bits: int) -> bytes:
    """A raw deflate stream, complete up to here."""
    compressor: Any = isal_zlib.compressobj(COMPRESSION_LEVEL, isal_zlib.DEFLATED, -window_bits)  # pyright: ignore[reportUnknownMemberType]  # its stubs leave buffers open
    return compressor.compress(data) + compressor.flush(isal_zlib.Z_SYNC_FLUSH)


class _FastDeflate(PerMessageDeflate):
    """permessage-deflate whose outgoing messages are independent of each other."""

    def encode(self, frame: Frame) -> Frame:
        """Compress a message, if that is worth its while. We send each in one frame."""
        if frame.opcode is not Opcode.BINARY or not frame.fin or len(frame.data) < COMPRESSED_BYTES_MIN:
            return frame
        data = _compressed(frame.data, window_bits=self.local_max_window_bits)
        assert data.endswith(_EMPTY_BLOCK), "a sync flush ends with an empty block"
        return Frame(frame.opcode, data[: -len(_EMPTY_BLOCK)], frame.fin, rsv1=True)


class _FastDeflateFactory(ServerPerMessageDeflateFactory):
    """Negotiates it: no context takeover in either direction."""

    def __init__(self) -> None:
        super().__init__(server_no_context_takeover=True, client_no_context_takeover=True)

    def process_request_params(
        self, params: Any, accepted_extensions: Any
    ) -> tuple[list[tuple[str, str | None]], PerMessageDeflate]:
        """Accept an offer as the library does, with our encoder. Raises NegotiationError."""
        accepted, extension = super().process_request_params(params, accepted_extensions)
        return accepted, _FastDeflate(
            extension.remote_no_context_takeover,
            extension.local_no_context_takeover,
            extension.remote_max_window_bits,
            extension.local_max_window_bits,
        )


class StreamWebSocketProtocol(WebSocketsSansIOProtocol):
    """One WebSocket connection of the server; hand the class to uvicorn as `ws`."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.conn = ServerProtocol(
            extensions=[_FastDeflateFactory()] if config.ws_per_message_deflate else [],
            max_size=min(config.ws_max_size, FIRST_MESSAGE_BYTES_MAX),
            logger=logging.getLogger("uvicorn.error"),
        )
        self._received = bytearray()  # and not yet inflated
        self._events_taken = 0  # by the app, up to _EVENTS_BEFORE_TRUST

    def data_received(self, data: bytes) -> None:
        """Bytes have arrived."""
        self._received += data
        self._inflate()

    async def receive(self) -> Any:
        """The app's next event."""
        if self._events_taken < _EVENTS_BEFORE_TRUST:
            self._events_taken += 1
        else:
            self.conn.max_message_size = self.config.ws_max_size
        event = await super().receive()
        self._inflate()
        return event

    async def send(self, message: Any) -> None:
        """The app's next message. Waits for room, and cuts a client that takes nothing of what is there already."""
        while not (self.writable.is_set() or self.disconnected):
            await self._wait_for_room()
        await super().send(message)
        if message["type"] == "websocket.accept":
            self.request.headers.clear()  # a parser's frame keeps the request itself
            del self.request, self.response
        elif message["type"] == "websocket.close":
            self._inflate()  # nothing is taken any more: the client's own close may be among it

    async def _wait_for_room(self) -> None:
        unsent = self._unsent
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await self.writable.wait()
        except TimeoutError:
            if self._unsent >= unsent:
                cast("asyncio.WriteTransport", self.transport).abort()
                raise ClientDisconnected from None

    @property
    def _unsent(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return cast("asyncio.WriteTransport", self.transport).get_write_buffer_size()

    def _inflate(self) -> None:
        """Go on with what was received, unless the app has events to take: `read_paused` is set with each message."""
        while self._received and not (self.read_paused or self.transport.is_closing()):
            step = bytes(self._received[:INFLATED_STEP_BYTES])
            del self._received[:INFLATED_STEP_BYTES]
            super().data_received(step)

    def handle_cont(self, event: Frame) -> None:
        """The next piece of a message has arrived."""
        if len(self.frames) >= FRAGMENTS_MAX:
            cast("asyncio.WriteTransport", self.transport).abort()
            return
        super().handle_cont(event)

    def handle_ping(self) -> None:
        """A ping has arrived; the library has its answer ready."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()  # the answer goes nowhere (RFC 6455, 5.5.3: only the newest ping has to be answered)

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        """The app has ended."""
        super().on_task_complete(task)
        if self._unsent:
            self.loop.call_later(LINGER_S, cast("asyncio.WriteTransport", self.transport).abort)
