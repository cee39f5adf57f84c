"""What the processes on one file tell each other about its sync: the owner its status, anybody whether sync is switched on.

It is kept in a small SQLite file beside the database, not in the database: a status that changes would wake every watch of the others.
That file is never encrypted. Beside an encrypted database it holds nothing but flags, numbers and names of our own: no text of an error,
for such texts name buckets, parameters of streams and users.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

import apsw

from syncline.client.core.status import Progress, Role, SyncStatus, is_network_away
from syncline.client.errors import ConnectionFailed
from syncline.errors import ClientError

__all__ = [
    "SHARE_POLL_S",
    "STATUS_FILE_SUFFIX",
    "OwnerError",
    "OwnerOffline",
    "SharedState",
    "SharedStateFile",
    "SyncSharing",
    "owner_blocked_by",
    "shown_of_owner",
]

STATUS_FILE_SUFFIX = "-sync-status"
SHARE_POLL_S = 0.2  # seconds between two looks at the file: so late is a peer's picture of the owner's status at most
BUSY_TIMEOUT_MS = 2_000  # milliseconds; every write is one small row

_log = logging.getLogger(__name__)
_FLAGS = ("connected", "connecting", "uploading", "caught_up")
_ERRORS = ("download_error", "upload_error", "stalled")


class OwnerError(ClientError):
    """An error that the process which syncs has told of: its text, or its kind alone where the database is encrypted."""


class OwnerOffline(OwnerError, ConnectionFailed):
    """The process which syncs cannot reach the service, or nobody is signed in there: no failure that has to be shown as one."""


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
            for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=OFF", "PRAGMA secure_delete=ON"):
                connection.execute(statement).fetchall()
            connection.execute(
                "CREATE TABLE IF NOT EXISTS shared(key TEXT PRIMARY KEY, value TEXT NOT NULL)"
            ).fetchall()
            self._connection = connection
        return self._connection


class SyncSharing:
    """Tells and hears of the shared state, from `start` to `stop`. `with_texts` False tells of errors without their texts."""

    def __init__(
        self,
        database_path: str,
        *,
        status: Callable[[], SyncStatus],
        heard: Callable[[SharedState], None],
        with_texts: bool,
        poll_s: float = SHARE_POLL_S,
    ) -> None:
        self._file = SharedStateFile(database_path)
        self._status = status
        self._heard = heard
        self._with_texts = with_texts
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
        shown = _shown(current, with_texts=self._with_texts) if current.role is Role.OWNER else None
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
        fields[name] = _error_of_owner(state.status.get(name))
    progress = state.status.get("progress")
    fields["progress"] = None if progress is None else Progress(tuple((p, done, total) for p, done, total in progress))
    return fields


def owner_blocked_by(state: SharedState) -> str | None:
    """Why the owner does not show yet what it has downloaded (`BlockedBy`); None where nothing holds it back, or no owner has told."""
    reason = state.status.get("blocked_by")
    return reason if isinstance(reason, str) else None


def _error_of_owner(told: Any) -> OwnerError | None:
    if not isinstance(told, dict):  # None, or the text alone that earlier versions told
        return OwnerError(str(told)) if told else None
    error = cast("dict[str, Any]", told)
    message = error.get("text") or f"{error.get('kind')}: the process that syncs knows more."
    return OwnerOffline(message) if error.get("network_away") else OwnerError(message)


def _shown(status: SyncStatus, *, with_texts: bool) -> dict[str, Any]:
    fields: dict[str, Any] = {name: getattr(status, name) for name in _FLAGS}
    for name in _ERRORS:
        error: Exception | None = getattr(status, name)
        fields[name] = None if error is None else _shown_error(error, with_texts=with_texts)
    fields["progress"] = None if status.progress is None else [list(entry) for entry in status.progress.by_priority]
    fields["blocked_by"] = status.blocked_by
    return fields


def _shown_error(error: Exception, *, with_texts: bool) -> dict[str, Any]:
    told: dict[str, Any] = {"kind": type(error).__name__, "network_away": is_network_away(error)}
    if with_texts:
        told["text"] = getattr(error, "message", type(error).__name__)
    return told
