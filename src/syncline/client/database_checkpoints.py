"""Methods of the database that bring the service's present state here, at once and once."""

from __future__ import annotations

import asyncio
from typing import Any

from syncline.client.checkpoint_requests import CheckpointRequest
from syncline.client.connector import BackendConnector
from syncline.client.core.status import SyncStatus
from syncline.client.database_sync import SyncMethods
from syncline.client.errors import Disconnected

__all__ = ["SYNC_ONCE_TIMEOUT_S", "CheckpointMethods"]

SYNC_ONCE_TIMEOUT_S = 60.0  # seconds for everything that `sync_once` does


class CheckpointMethods(SyncMethods):
    """`trigger_sync`, `request_checkpoint`, `sync_once` and `notify_online`."""

    async def request_checkpoint(self) -> CheckpointRequest:
        """Ask the service to tell when it is past this moment; `wait_for_sync()` of the result waits for that.

        Raises Disconnected before `connect()`, and AuthFailed, ServiceError or ConnectionFailed where the service cannot be asked.
        """
        self._open_parts()
        if self._connection is None:
            raise Disconnected
        return await self._connection.request_checkpoint()

    async def trigger_sync(self, timeout: float | None = None) -> None:
        """Pull to refresh: returns when what the source holds now is in the app's tables, local writes uploaded before.

        Reconnects at once where the client waits for its next try. Raises Disconnected before `connect()`, TimeoutError, and what goes
        wrong meanwhile (the client goes on trying).
        """
        async with asyncio.timeout(timeout):
            request = await self.request_checkpoint()
            await request.wait_for_sync()

    async def sync_once(
        self, connector: BackendConnector, *, timeout: float = SYNC_ONCE_TIMEOUT_S, **options: Any
    ) -> SyncStatus:
        """Connect, upload what waits, download the service's present state, disconnect: for background jobs and small batteries.

        `options` are those of `connect()`. A database that is connected already stays so, with the connector that it has. Returns the
        last status of the connection. Raises TimeoutError, and the first thing that goes wrong: run it again later.
        """
        connects = self._connection is None
        try:
            async with asyncio.timeout(timeout):
                if connects:
                    await self.connect(connector, **options)
                await self.trigger_sync()
                if self._pending is not None:
                    await self._pending.now()
                return self.current_status
        finally:
            if connects:
                await self.disconnect()

    def notify_online(self) -> None:
        """Say that the network may be back: what waits for its next try is tried now. Does nothing while not connected to a service."""
        if self._connection is not None:
            self._connection.notify_online()
