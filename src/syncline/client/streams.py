"""Sync streams as the app subscribes to them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Protocol

from syncline.client.core.status import StreamStatus
from syncline.client.core.subscriptions import encode_params
from syncline.client.subscription_store import SubscriptionStore
from syncline.errors import ClientError

__all__ = ["StreamSubscriptionHandle", "SubscriptionRegistry", "SyncStream"]

PRIORITY_MAX = 3

_log = logging.getLogger(__name__)


class _Database(Protocol):
    async def change_subscriptions(self, change: Callable[[SubscriptionStore, int], None]) -> None: ...
    async def wait_for_stream(self, name: str, parameters: dict[str, Any] | None, timeout_s: float | None) -> None: ...
    def stream_status(self, name: str, parameters: dict[str, Any] | None) -> StreamStatus | None: ...


class SubscriptionRegistry:
    """Counts the handles that the app holds; a stream with a handle never expires."""

    def __init__(self) -> None:
        self._handles: Counter[tuple[str, str]] = Counter()
        self.is_open = True
        """False once the database is closed: handles are nobody's concern any more."""

    def active(self) -> tuple[tuple[str, str], ...]:
        """(stream, parameters text) of everything held."""
        return tuple(self._handles)

    def add(self, stream: str, params_text: str) -> None:
        """One more handle."""
        self._handles[stream, params_text] += 1

    def remove(self, stream: str, params_text: str) -> None:
        """One handle less."""
        self._handles[stream, params_text] -= 1
        if self._handles[stream, params_text] <= 0:
            del self._handles[stream, params_text]

    def remove_all(self, stream: str, params_text: str) -> None:
        """The app wants this stream no more."""
        self._handles.pop((stream, params_text), None)


class StreamSubscriptionHandle:
    """One use of a stream. The subscription is in the file: it outlives the handle by its ttl, and the process too."""

    def __init__(
        self, database: _Database, registry: SubscriptionRegistry, name: str, parameters: dict[str, Any] | None
    ) -> None:
        self._database = database
        self._registry = registry
        self.name = name
        self.parameters = parameters
        self._held = True

    @property
    def status(self) -> StreamStatus | None:
        """Its part of the status; `unknown` is set where the service has no such stream."""
        return self._database.stream_status(self.name, self.parameters)

    async def wait_for_first_sync(self, timeout: float | None = None) -> None:
        """Wait until all of its rows were on this device once. Raises TimeoutError."""
        await self._database.wait_for_stream(self.name, self.parameters, timeout)

    def unsubscribe(self) -> None:
        """Give up this handle. With the last one the ttl begins to run."""
        if self._held:
            self._held = False
            self._registry.remove(self.name, encode_params(self.parameters))

    async def __aenter__(self) -> StreamSubscriptionHandle:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.unsubscribe()

    def __del__(self) -> None:
        # Not unsubscribed here: when the collector runs is chance, and data must not come and go with it.
        if self._held and self._registry.is_open:
            _log.warning(
                "A subscription to the sync stream %r was lost without unsubscribe(); it stays until the database closes.",
                self.name,
                extra={"event": "stream_handle_lost"},
            )


class _Subscribing:
    """Both `await stream.subscribe()` and `async with stream.subscribe() as handle`."""

    def __init__(self, start: Callable[[], Awaitable[StreamSubscriptionHandle]]) -> None:
        self._start = start
        self._handle: StreamSubscriptionHandle | None = None

    def __await__(self) -> Any:
        return self._start().__await__()

    async def __aenter__(self) -> StreamSubscriptionHandle:
        self._handle = await self._start()
        return self._handle

    async def __aexit__(self, *_: object) -> None:
        if self._handle is not None:
            self._handle.unsubscribe()


class SyncStream:
    """A stream of the sync config with parameters, whether subscribed or not. Works offline."""

    def __init__(
        self, database: _Database, registry: SubscriptionRegistry, name: str, parameters: dict[str, Any] | None
    ) -> None:
        self._database = database
        self._registry = registry
        self.name = name
        self.parameters = parameters

    def subscribe(self, *, ttl: timedelta | float | None = None, priority: int | None = None) -> _Subscribing:
        """Subscribe, or renew. `ttl` (seconds or timedelta, default a day) is how long it lives on after the last handle.

        Raises ClientError for a priority outside of 0 to 3.
        """
        if priority is not None and not 0 <= priority <= PRIORITY_MAX:
            raise ClientError(f"Priority {priority} does not exist.", hint="Use 0 (most urgent) to 3.")
        ttl_s = None if ttl is None else int(ttl.total_seconds() if isinstance(ttl, timedelta) else ttl)

        async def start() -> StreamSubscriptionHandle:
            text = encode_params(self.parameters)
            self._registry.add(self.name, text)
            try:
                await self._database.change_subscriptions(
                    lambda store, now_us: store.subscribe(
                        self.name, text, ttl_s=ttl_s, priority=priority, now_us=now_us
                    )
                )
            except BaseException:
                self._registry.remove(self.name, text)
                raise
            return StreamSubscriptionHandle(self._database, self._registry, self.name, self.parameters)

        return _Subscribing(start)

    async def unsubscribe_all(self) -> None:
        """End the subscription now, whatever handles there are."""
        text = encode_params(self.parameters)
        self._registry.remove_all(self.name, text)
        await self._database.change_subscriptions(lambda store, _: store.unsubscribe(self.name, text))
