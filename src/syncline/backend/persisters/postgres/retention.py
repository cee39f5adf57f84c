"""How long verdicts are kept (write path reference, 3): UPLOADS_KEPT_DAYS, and of each device the last UPLOADS_KEPT_MAX.

A device repeats what it has sent last, and only that: its queue goes on when the answer has come. So the last verdicts are the ones that
are asked for, and an eager device cannot fill the database.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool

from syncline.backend.limits import DEVICES_COUNTED_MAX, UPLOADS_BETWEEN_PRUNINGS, UPLOADS_KEPT_DAYS, UPLOADS_KEPT_MAX
from syncline.backend.persisters.base import UploadIdentity

__all__ = ["VerdictRetention", "drop_old_uploads"]

log = logging.getLogger(__name__)

Connection = psycopg.AsyncConnection[Any]

_OLD = "DELETE FROM syncline_uploads WHERE created_at < now() - make_interval(days => %s)"
_SURPLUS = """
DELETE FROM syncline_uploads
 WHERE user_id = %(user_id)s AND client_id = %(client_id)s
   AND first_crud_id <= (SELECT first_crud_id FROM syncline_uploads WHERE user_id = %(user_id)s AND client_id = %(client_id)s
                          ORDER BY first_crud_id DESC OFFSET %(kept)s LIMIT 1)
"""


async def drop_old_uploads(connection: psycopg.AsyncConnection[Any]) -> None:
    """Forget verdicts that no device will ask for any more, by their age."""
    await connection.execute(_OLD, (UPLOADS_KEPT_DAYS,))


class VerdictRetention:
    """Counts the verdicts that this process stores, and forgets in time: the surplus of a device, and all old ones.

    What it does not count (before a restart, in other processes) is counted by its successors: a device that goes on comes to its turn.
    """

    def __init__(self, pool: AsyncConnectionPool[Connection], *, seconds_max: float) -> None:
        self._pool = pool
        self._seconds_max = seconds_max
        self._stored: dict[tuple[str, str], int] = {}  # by device, since its last pruning
        self._stored_by_all = 0

    async def stored(self, identity: UploadIdentity | None, verdicts: int) -> None:
        """Count verdicts of a device, and drop what is too many by now. A failure is logged: it can wait."""
        if identity is None:
            return
        device = (identity.user_id, identity.client_id)
        self._stored_by_all += verdicts
        if device not in self._stored and len(self._stored) >= DEVICES_COUNTED_MAX:
            self._stored.clear()
        count = self._stored.get(device, 0) + verdicts
        self._stored[device] = count
        if count < UPLOADS_BETWEEN_PRUNINGS:
            return
        del self._stored[device]
        try:
            async with asyncio.timeout(self._seconds_max), self._pool.connection() as connection:
                await self._prune(connection, device)
        except (psycopg.Error, TimeoutError) as exc:
            log.warning("Old verdicts were not dropped: %s", exc, extra={"event": "backend.pruning_failed"})

    async def _prune(self, connection: psycopg.AsyncConnection[Any], device: tuple[str, str]) -> None:
        user_id, client_id = device
        await connection.execute(_SURPLUS, {"user_id": user_id, "client_id": client_id, "kept": UPLOADS_KEPT_MAX})
        if self._stored_by_all >= UPLOADS_KEPT_MAX:
            self._stored_by_all = 0
            await drop_old_uploads(connection)
