"""Keeps the number of local writes that wait for their upload in the status, connected or not."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import apsw

from syncline.client.errors import DatabaseClosed
from syncline.client.status_board import StatusBoard
from syncline.client.threads import ReaderPool

__all__ = ["COUNT_INTERVAL_S", "PendingChanges"]

COUNT_INTERVAL_S = 0.05  # seconds between two counts: a burst of writes is counted once, at its end

_log = logging.getLogger(__name__)


class PendingChanges:
    """Counts the entries of the upload queue whenever they may have changed. Lives in the event loop."""

    def __init__(self, readers: ReaderPool, status: StatusBoard, *, interval_s: float = COUNT_INTERVAL_S) -> None:
        self._readers = readers
        self._status = status
        self._interval_s = interval_s
        self._changed = False
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def changed(self) -> None:
        """The queue may be another one now; returns at once."""
        self._changed = True
        if self._task is None and not self._closed:
            self._task = asyncio.create_task(self._count())

    async def now(self) -> int:
        """Count, publish, and say how many there are."""
        count = await self._readers.call(_count)
        self._status.publish_pending_changes(count)
        return count

    async def close(self) -> None:
        """End a count that is under way."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _count(self) -> None:
        try:
            while self._changed:
                self._changed = False
                with contextlib.suppress(DatabaseClosed):
                    await self.now()
                await asyncio.sleep(self._interval_s)
        except apsw.Error as exc:
            _log.warning("The upload queue cannot be counted: %s", exc, extra={"event": "upload_queue_unreadable"})
        finally:
            self._task = None


def _count(connection: apsw.Connection) -> int:
    [(count,)] = connection.execute("SELECT count(*) FROM ps_crud").fetchall()
    return int(str(count))
