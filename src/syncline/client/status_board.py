"""The current status, and everybody who waits for another one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace

from syncline.client.core.status import SyncStatus

__all__ = ["StatusBoard"]

_log = logging.getLogger(__name__)


class StatusBoard:
    """Holds the newest status; lives in the event loop. The download side and the upload side write fields of their own."""

    def __init__(self) -> None:
        self.current = SyncStatus()
        self._listeners: list[Callable[[SyncStatus], None]] = []
        self._wakes: set[asyncio.Event] = set()

    def publish_download(self, status: SyncStatus) -> None:
        """Take a status from the sync machine, which knows nothing of uploads."""
        self._set(replace(status, uploading=self.current.uploading, upload_error=self.current.upload_error))

    def publish_upload(self, *, uploading: bool, error: Exception | None) -> None:
        """Take the state of the uploader."""
        self._set(replace(self.current, uploading=uploading, upload_error=error))

    def listen(self, listener: Callable[[SyncStatus], None]) -> Callable[[], None]:
        """Call `listener` with every new status; returns what ends it. An exception in a listener is logged."""
        self._listeners.append(listener)

        def dispose() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return dispose

    async def changes(self) -> AsyncGenerator[SyncStatus]:
        """The current status, then each newer one; a slow reader sees the latest only."""
        wake = asyncio.Event()
        self._wakes.add(wake)
        try:
            while True:
                wake.clear()
                yield self.current
                await wake.wait()
        finally:
            self._wakes.discard(wake)

    async def wait_for(self, predicate: Callable[[SyncStatus], bool], *, timeout_s: float | None) -> SyncStatus:
        """Wait for a status that fits. Raises TimeoutError."""
        wake = asyncio.Event()
        self._wakes.add(wake)
        try:
            async with asyncio.timeout(timeout_s):
                while not predicate(status := self.current):
                    wake.clear()
                    await wake.wait()
                return status
        finally:
            self._wakes.discard(wake)

    def _set(self, status: SyncStatus) -> None:
        if status == self.current:
            return
        self.current = status
        for listener in list(self._listeners):
            try:
                listener(status)
            except Exception:
                _log.exception("A status listener failed.", extra={"event": "status_listener_failed"})
        for wake in self._wakes:
            wake.set()
