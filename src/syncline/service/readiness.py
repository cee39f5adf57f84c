"""Whether streams could be served, as a process sees it that serves none: for its readiness probe."""

from __future__ import annotations

import asyncio
import logging

from syncline.errors import SynclineError
from syncline.storage.base import StorageReader

__all__ = ["ServingLook"]

log = logging.getLogger(__name__)

LOOK_INTERVAL_S = 1.0  # seconds between two looks at storage


class ServingLook:
    """Looks now and then whether a version is active. `is_serving` is the newest answer."""

    def __init__(self, reader: StorageReader) -> None:
        self._reader = reader
        self.is_serving = False

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                self.is_serving = await self._reader.active_version() is not None
            except SynclineError as exc:
                log.debug("Bucket storage cannot be read: %s", exc, extra={"event": "service.look_error"})
            await asyncio.sleep(LOOK_INTERVAL_S)
