"""Sync streams over a WebSocket (protocol reference, 4): an ASGI app of type `websocket`, on any path.

Each connection is run by a `WebSocketConnection`; here is what they have in common: how many there may be, and their end.
"""

from __future__ import annotations

import asyncio
import logging

from syncline.api.answers import Receive, Scope, Send
from syncline.api.limits import SETUPS_MAX
from syncline.api.requests import header
from syncline.api.stream_registry import StreamRegistry
from syncline.api.websocket_connection import WebSocketConnection
from syncline.api.websocket_stream import Places, Shared
from syncline.auth.verifier import TokenVerifier
from syncline.protocol.rsocket.limits import RSocketLimits
from syncline.sync.stream import StreamContext

__all__ = ["WebSocketApp"]

log = logging.getLogger(__name__)

CLOSE_TIMEOUT_S = 5.0  # seconds that connections get to take their last frames when the service stops


class WebSocketApp:
    """Serves sync streams over WebSockets. `close` completes all of them; new ones are then refused with PSYNC_S2003.

    Open streams are in `registry`, from which those of a user can be ended. Connections are counted apart from streams over HTTP,
    and have the same limit.
    """

    def __init__(
        self,
        context: StreamContext,
        verifier: TokenVerifier,
        limits: RSocketLimits | None = None,
        *,
        registry: StreamRegistry | None = None,
    ) -> None:
        places = Places(context.limits.connections_max)
        self._shared = Shared(
            context, verifier, limits or RSocketLimits(), places, StreamRegistry() if registry is None else registry
        )
        self._connections: set[WebSocketConnection] = set()
        self._closing = False

    @property
    def connection_count(self) -> int:
        """Open WebSockets, set up or not."""
        return len(self._connections)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run one connection to its end."""
        await receive()  # websocket.connect
        if sum(not connection.is_set_up for connection in self._connections) >= SETUPS_MAX:
            log.warning("WebSocket refused: too many wait for SETUP", extra={"event": "api.refused"})
            await _refuse_upgrade(send)
            return
        await send({"type": "websocket.accept"})
        agent = header(scope, b"x-user-agent") or header(scope, b"user-agent") or ""
        connection = WebSocketConnection(self._shared, receive, send, agent=agent, stopping=self._closing)
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)

    async def close(self) -> None:
        """End all connections; their streams are completed."""
        self._closing = True
        await asyncio.gather(*(connection.stop(timeout_s=CLOSE_TIMEOUT_S) for connection in self._connections))


async def _refuse_upgrade(send: Send) -> None:
    """As over HTTP: 429 with an empty body. Official clients retry after a delay."""
    await send({"type": "websocket.http.response.start", "status": 429, "headers": [(b"retry-after", b"5")]})
    await send({"type": "websocket.http.response.body", "body": b""})
