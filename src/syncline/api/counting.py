"""Counts open streams and the bytes that they send, around the whole app: there they are as they go out, compressed or not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from syncline.api.answers import Receive, Scope, Send
from syncline.metrics import ServiceMetrics

__all__ = ["CountedApp"]

App = Callable[[Scope, Receive, Send], Awaitable[None]]
STREAM_PATHS = frozenset({"/sync/stream"})


class CountedApp:
    """An ASGI app whose sync streams are counted: those of HTTP from a 200 on, WebSockets from when they are accepted."""

    def __init__(self, app: App, metrics: ServiceMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        is_stream = scope["type"] == "websocket" or (scope["type"] == "http" and scope["path"] in STREAM_PATHS)
        if not is_stream:
            await self._app(scope, receive, send)
            return
        metrics, opened = self._metrics, False

        async def counted(message: MutableMapping[str, Any]) -> None:
            nonlocal opened
            await send(message)
            kind = message["type"]
            if kind == "http.response.body" or kind == "websocket.send":
                if opened:
                    metrics.data_sent(len(message.get("body") or message.get("bytes") or message.get("text") or b""))
            elif kind == "websocket.accept" or (kind == "http.response.start" and message["status"] == 200):
                opened = True
                metrics.stream_opened()

        try:
            await self._app(scope, receive, counted)
        finally:
            if opened:
                metrics.stream_closed()
