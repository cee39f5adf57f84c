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
        counted = _CountedSend(send, self._metrics)
        try:
            await self._app(scope, receive, counted)
        finally:
            if counted.opened:
                self._metrics.stream_closed()


class _CountedSend:
    """`send` of one stream. No closure: that takes five times as much, for as long as a stream is open."""

    __slots__ = ("_metrics", "_send", "opened")

    def __init__(self, send: Send, metrics: ServiceMetrics) -> None:
        self._send = send
        self._metrics = metrics
        self.opened = False

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        await self._send(message)
        kind = message["type"]
        if kind == "http.response.body" or kind == "websocket.send":
            if self.opened:
                self._metrics.data_sent(len(message.get("body") or message.get("bytes") or message.get("text") or b""))
        elif kind == "websocket.accept" or (kind == "http.response.start" and message["status"] == 200):
            self.opened = True
            self._metrics.stream_opened()
