"""Notices commits of other connections: other processes, other SDKs, a database browser (Python client reference, 11).

SQLite's hooks see the writes of their own connection only. `PRAGMA data_version` of the write connection moves with every commit that
somebody else made, so it is asked from time to time while anybody here wants to know.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import apsw

from syncline.client.errors import DatabaseClosed
from syncline.client.threads import Writer

__all__ = ["POLL_S", "ForeignWriters"]

POLL_S = 0.1  # seconds between two looks, while somebody waits for changes: so late is a change by another process noticed at most

_log = logging.getLogger(__name__)


class ForeignWriters:
    """Calls `changed` in the event loop after commits of others, as long as `wanted` says so."""

    def __init__(
        self, writer: Writer, *, wanted: Callable[[], bool], changed: Callable[[], None], poll_s: float = POLL_S
    ) -> None:
        self._writer = writer
        self._wanted = wanted
        self._changed = changed
        self._poll_s = poll_s
        self._seen = 0
        self._asked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin: every commit of others after this call is told, as soon as somebody wants to know."""
        self._seen = await self._writer.run(_data_version)
        self._task = asyncio.create_task(self._run())

    def wake(self) -> None:
        """Somebody may want to know now."""
        self._asked.set()

    async def stop(self) -> None:
        """End. Can be called again."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _run(self) -> None:
        while True:
            self._asked.clear()
            if not self._wanted():
                await self._asked.wait()
                continue
            try:
                await self._follow()
            except DatabaseClosed:
                return
            except apsw.Error as exc:  # interrupted, or a file that is locked as a whole for a moment
                _log.warning("The file's version cannot be read: %s", exc, extra={"event": "data_version_failed"})
                await asyncio.sleep(self._poll_s)

    async def _follow(self) -> None:
        # At once, and against what was seen last, however long ago: who has just begun to wait may have read before a commit.
        while self._wanted():
            current = await self._writer.run(_data_version)
            if current != self._seen:
                self._seen = current
                self._changed()
            await asyncio.sleep(self._poll_s)


def _data_version(connection: apsw.Connection) -> int:
    [(version,)] = connection.execute("PRAGMA data_version").fetchall()
    return int(str(version))
