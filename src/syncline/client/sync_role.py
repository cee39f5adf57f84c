"""Which of several processes on one file syncs it (Python client reference, 3: the sync role).

The holder of the role keeps an exclusive transaction open in a small SQLite file beside the database. SQLite's own file locks are there on
every platform, and the operating system drops them when a process ends in whatever way: no lock is left behind that has to be judged.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import apsw

from syncline.client.core.status import Role

__all__ = ["ROLE_FILE_SUFFIX", "ROLE_POLL_S", "RoleKeeper", "RoleLock"]

ROLE_FILE_SUFFIX = "-sync-role"
ROLE_POLL_S = 0.5  # seconds after which a peer tries again to take the role: so long nobody syncs when its holder dies

_log = logging.getLogger(__name__)


class RoleLock:
    """The lock file of one database. All calls in one thread."""

    def __init__(self, database_path: str) -> None:
        self._path = database_path + ROLE_FILE_SUFFIX
        self._connection: apsw.Connection | None = None

    def take(self) -> bool:
        """Try to get the role, without waiting; says whether this process has it now. Raises apsw.Error where the file cannot be made."""
        if self._connection is not None:
            return True
        connection = apsw.Connection(self._path)
        try:
            # Nothing is ever written into it: the file stays empty, and no journal appears.
            connection.execute("BEGIN EXCLUSIVE").fetchall()
        except (apsw.BusyError, apsw.LockedError):
            connection.close()
            return False
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return True

    def release(self) -> None:
        """Give the role back. Can be called again. The file stays: removing it would let two processes hold two files of one name."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close(True)


class RoleKeeper:
    """Takes the role as soon as it is free, and then calls `start` once."""

    def __init__(
        self,
        database_path: str,
        *,
        start: Callable[[], None],
        tell: Callable[[Role | None], None],
        poll_s: float = ROLE_POLL_S,
    ) -> None:
        self._lock = RoleLock(database_path)
        self._start = start
        self._tell = tell
        self._poll_s = poll_s
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="syncline-role")
        self._waiting: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Take the role now, or wait for it in the background."""
        if not await self._try():
            self._tell(Role.PEER)
            _log.info(
                "Another process syncs this database; this one reads and writes it.", extra={"event": "sync_role_peer"}
            )
            self._waiting = asyncio.create_task(self._wait())

    async def stop_waiting(self) -> None:
        """From now on `start` is not called any more."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.cancel()
            await asyncio.wait([waiting])

    async def release(self) -> None:
        """Give the role back, after what it allowed has ended."""
        await self.stop_waiting()
        await asyncio.get_running_loop().run_in_executor(self._executor, self._lock.release)
        self._executor.shutdown(wait=False)
        self._tell(None)

    async def _wait(self) -> None:
        while True:
            await asyncio.sleep(self._poll_s)
            try:
                if await self._try():
                    return
            except apsw.Error:
                _log.exception("The sync role could not be asked for.", extra={"event": "sync_role_failed"})

    async def _try(self) -> bool:
        if not await asyncio.get_running_loop().run_in_executor(self._executor, self._lock.take):
            return False
        self._tell(Role.OWNER)
        self._start()
        return True
