"""What the streaming transports share: their options, and the requests beside the stream, which go over HTTP for both."""

from __future__ import annotations

import ssl
from collections.abc import Callable

from syncline.client.connector import Credentials
from syncline.client.transport.base import Transport, TransportLimits
from syncline.client.transport.http_requests import ServiceRequests, is_loopback

__all__ = ["ServiceTransport"]


class ServiceTransport(Transport):
    """A transport to a sync service.

    `ssl_context` is for certificates of an authority of your own, `proxy` the URL of an HTTP proxy, `headers` go along with every
    request (what a gateway in front of the service asks for). `compression` None: unless the endpoint is this machine.
    """

    def __init__(
        self,
        limits: TransportLimits | None = None,
        *,
        compression: bool | None = None,
        ssl_context: ssl.SSLContext | None = None,
        proxy: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        self._limits = limits or TransportLimits()
        self._compression = compression
        self._headers = headers or {}
        self._requests = ServiceRequests(self._limits, ssl_context=ssl_context, proxy=proxy, headers=headers)

    async def write_checkpoint(self, client_id: str, credentials: Credentials) -> int:
        """Ask for a write checkpoint: the number that the stream reports once the source's present state is replicated."""
        return await self._requests.write_checkpoint(client_id, credentials)

    async def request_checkpoint(self, client_id: str, request_id: int, credentials: Credentials) -> int:
        """Ask for a checkpoint under a number of the client's own; returns the number that counts."""
        return await self._requests.request_checkpoint(client_id, request_id, credentials)

    async def close(self) -> None:
        """Close all connections. Can be called again."""
        await self._requests.close()

    def on_recovered(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever the way to the service is open again after it was found closed."""
        self._requests.on_recovered(listener)

    def _is_compressed(self, endpoint: str) -> bool:
        return not is_loopback(endpoint) if self._compression is None else self._compression
