"""What the processes on one file tell each other about its sync: the owner its status, anybody whether sync is switched on.

It is kept in a small SQLite file beside the database, not in the database: a status that changes would wake every watch of the others.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import apsw

from syncline.client.core.status import Progress, Role, SyncStatus
from syncline.errors import ClientError

__all__ = [
    "SHARE_POLL_S",
    "STATUS_FILE_SUFFIX",
    "OwnerError",
    "SharedState",
    "SharedStateFile",
    "SyncSharing",
    "shown_of_owner",
]

STATUS_FILE_SUFFIX = "-sync-status"
SHARE_POLL_S = 0.2  # seconds between two looks at the file: so late is a peer's picture of the owner's status at most
BUSY_TIMEOUT_MS = 2_000  # milliseconds; every write is one small row

_log = logging.getLogger(__name__)
_FLAGS = ("connected", "connecting", "uploading", "caught_up")
_ERRORS = ("download_error", "upload_error", "stalled")


class OwnerError(ClientError):
    """An error that the process which syncs has told of; its type is known there only."""


@dataclass(frozen=True, slots=True)
class SharedState:
    """The file's content: fields of the owner's status (empty before the first), and whether anybody may sync."""

    status: dict[str, Any]
    enabled: bool


class SharedStateFile:
    """The file itself. All calls in one thread. Raises apsw.Error."""

    def __init__(self, database_path: str) -> None:
        self._path = database_path + STATUS_FILE_SUFFIX
        self._connection: apsw.Connection | None = None

    def exchange(self, *, status: dict[str, Any] | None = None, enabled: bool | None = None) -> SharedState:
        """Write what is given, and read all."""
        connection = self._open()
        if status is not None:
            self._put("status", json.dumps(status))
        if enabled is not None:
            self._put("enabled", json.dumps(enabled))
        found = {
            str(key): json.loads(str(value))
            for key, value in connection.execute("SELECT key, value FROM shared").fetchall()
        }
        return SharedState(found.get("status") or {}, found.get("enabled") is not False)

    def close(self) -> None:
        """Close it. Can be called again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close(True)

    def _put(self, key: str, value: str) -> None:
        self._open().execute("INSERT OR REPLACE INTO shared(key, value) VALUES (?, ?)", (key, value)).fetchall()

    def _open(self) -> apsw.Connection:
        if self._connection is None:
            connection = apsw.Connection(self._path)
            connection.set_busy_timeout(BUSY_TIMEOUT_MS)
            # Nothing in it has to survive a power cut.
            for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=OFF"):
                connection.execute(statement).fetchall()
            connection.execute(
                "CREATE TABLE IF NOT EXISTS shared(key TEXT PRIMARY KEY, value TEXT NOT NULL)"
            ).fetchall()
            self._connection = connection
        return self._connection


class SyncSharing:
    """Tells and hears of the shared state, from `start` to `stop`."""

    def __init__(
        self,
        database_path: str,
        *,
        status: Callable[[], SyncStatus],
        heard: Callable[[SharedState], None],
        poll_s: float = SHARE_POLL_S,
    ) -> None:
        self._file = SharedStateFile(database_path)
        self._status = status
        self._heard = heard
        self._poll_s = poll_s
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="syncline-sharing")
        self._task: asyncio.Task[None] | None = None
        self._told: dict[str, Any] | None = None
        self._known: SharedState | None = None

    async def start(self, *, enable: bool) -> None:
        """Begin; with `enable` sync is switched on, whoever had switched it off."""
        await self._try_exchange(enabled=True if enable else None)
        self._task = asyncio.create_task(self._run())

    async def set_enabled(self, enabled: bool) -> None:
        """Switch sync on or off for all processes. Raises apsw.Error where the file cannot be written."""
        await self._exchange(enabled=enabled)

    async def stop(self) -> None:
        """End. Can be called again."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.wait([task])
        await asyncio.get_running_loop().run_in_executor(self._executor, self._file.close)
        self._executor.shutdown(wait=False)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._poll_s)
            await self._try_exchange()

    async def _try_exchange(self, *, enabled: bool | None = None) -> None:
        try:
            await self._exchange(enabled=enabled)
        except apsw.Error as exc:  # busy for a moment, or a folder that went away: sync itself is not concerned
            _log.warning("The shared status cannot be read: %s", exc, extra={"event": "sync_sharing_failed"})

    async def _exchange(self, *, enabled: bool | None = None) -> None:
        current = self._status()
        shown = _shown(current) if current.role is Role.OWNER else None
        new = shown if shown != self._told else None
        loop = asyncio.get_running_loop()
        state = await loop.run_in_executor(self._executor, lambda: self._file.exchange(status=new, enabled=enabled))
        self._told = shown
        if state != self._known:
            self._known = state
            self._heard(state)


def shown_of_owner(state: SharedState) -> dict[str, Any]:
    """The fields of a peer's status that are the owner's."""
    fields: dict[str, Any] = {name: bool(state.status.get(name)) for name in _FLAGS}
    for name in _ERRORS:
        message = state.status.get(name)
        fields[name] = OwnerError(str(message)) if message else None
    progress = state.status.get("progress")
    fields["progress"] = None if progress is None else Progress(tuple((p, done, total) for p, done, total in progress))
    return fields


def _shown(status: SyncStatus) -> dict[str, Any]:
    fields: dict[str, Any] = {name: getattr(status, name) for name in _FLAGS}
    for name in _ERRORS:
        error: Exception | None = getattr(status, name)
        fields[name] = None if error is None else getattr(error, "message", type(error).__name__)
    fields["progress"] = None if status.progress is None else [list(entry) for entry in status.progress.by_priority]
    return fields
