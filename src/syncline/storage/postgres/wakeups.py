"""Wake-ups over LISTEN: that there may be a new checkpoint, and nothing else.

A notification can be lost with its connection, so what changed is always read by query, and every new connection counts as a wake-up.
Readers look by themselves each second as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

import psycopg

from syncline.errors import StorageError
from syncline.storage.postgres.connection import connect_async
from syncline.storage.postgres.errors import storage_errors
from syncline.storage.postgres.statements import SchemaSql

__all__ = ["PostgresWakeups"]

log = logging.getLogger(__name__)

RETRY_DELAY_S = 1.0  # seconds until a lost connection is made again


class PostgresWakeups:
    """Listens for the checkpoints of a replicator in any process."""

    def __init__(self, conninfo: str, sql: SchemaSql) -> None:
        self._conninfo = conninfo
        self._sql = sql

    async def run(self, on_wakeup: Callable[[], None]) -> None:
        """Call `on_wakeup` for each wake-up, until cancelled; several at once may come as one."""
        while True:
            try:
                await self._listen(on_wakeup)
            except StorageError as exc:
                log.warning("Wake-ups of the storage are lost: %s", exc, extra={"event": "storage.wakeups_lost"})
            await asyncio.sleep(RETRY_DELAY_S)

    async def _listen(self, on_wakeup: Callable[[], None]) -> None:
        connection = await connect_async(self._conninfo, application_name="syncline wake-ups")
        try:
            with storage_errors():
                await connection.execute(f"LISTEN {self._sql.channel}".encode())
                on_wakeup()
                async for _ in connection.notifies():
                    on_wakeup()
        finally:
            with contextlib.suppress(psycopg.Error):
                await connection.close()
