"""The first contact with the source: logged as proof that the address and the password are right, and what the startup probe waits for."""

from __future__ import annotations

import asyncio
import logging

from syncline.errors import SynclineError
from syncline.replication.source import SourceHead
from syncline.service.addresses import DatabaseAddress

__all__ = ["SourceContact"]

log = logging.getLogger(__name__)

RETRY_DELAY_S = (
    1.0  # seconds until the first new attempt; replication reports why the source cannot be reached, so this is quiet
)
RETRY_DELAY_MAX_S = 30.0  # seconds: servers lock out who knocks often with a wrong password


class SourceContact:
    """Asks the source for its position until it answers once. `reached` says whether it did."""

    def __init__(self, head: SourceHead, address: DatabaseAddress) -> None:
        self._head = head
        self._address = address
        self.reached = False

    async def run(self) -> None:
        """Return when the source has answered; says so in one line with its masked address."""
        delay_s = RETRY_DELAY_S
        while True:
            try:
                position = await self._head.head()
            except SynclineError as exc:
                log.debug("The source does not answer yet: %s", exc.message, extra={"event": "service.source_wait"})
            else:
                break
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, RETRY_DELAY_MAX_S)
        self.reached = True
        log.info(
            "Connected to the source %s, whose log is at %s",
            self._address.masked,
            position,
            extra={"event": "service.source_connected", "position": position},
        )
