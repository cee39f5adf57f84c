"""The current status, and everybody who waits for another one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

from syncline.client.core.status import BlockedBy, PriorityStatus, Role, SyncStatus

__all__ = ["StatusBoard", "StatusGate", "StatusSink"]

_log = logging.getLogger(__name__)

_OF_DOWNLOAD = (
    "connected",
    "connecting",
    "has_synced",
    "streams",
    "progress",
    "download_error",
    "caught_up",
    "applied_write_checkpoint",
    "retries",
)
"""Fields that the sync machine decides about; all others are kept when it publishes. Two more are merged: priorities and blocked_by."""


class StatusSink(Protocol):
    """Where the parts of a connection publish what they know."""

    @property
    def current(self) -> SyncStatus:
        """The newest status."""
        ...

    def publish_download(self, status: SyncStatus) -> None:
        """Take a status from the sync machine, which knows nothing of uploads."""

    def publish_upload(self, *, uploading: bool, error: Exception | None, queue_since: datetime | None = None) -> None:
        """Take the state of the uploader."""

    def publish_stalled(self, error: Exception | None) -> None:
        """Take what the connection has waited for too long; None when all is well."""


class StatusBoard:
    """Holds the newest status; lives in the event loop. Each side of the client writes fields of its own."""

    def __init__(self) -> None:
        self._current = SyncStatus()
        self._listeners: list[Callable[[SyncStatus], None]] = []
        self._wakes: set[asyncio.Event] = set()
        self._download_blocked_by: str | None = None
        self._owner_blocked_by: str | None = None
        self._open_transaction = False

    @property
    def current(self) -> SyncStatus:
        """The newest status."""
        return self._current

    def publish_download(self, status: SyncStatus) -> None:
        """Take a status from the sync machine, which knows nothing of uploads."""
        # An open transaction is told by `publish_open_transaction` alone, also where a whole status comes back to us.
        self._download_blocked_by = None if status.blocked_by == BlockedBy.OPEN_TRANSACTION else status.blocked_by
        fields = {name: getattr(status, name) for name in _OF_DOWNLOAD}
        priorities = _never_earlier(status.priorities, self.current.priorities)
        self._set(replace(self.current, **fields, priorities=priorities, blocked_by=self._blocked_by()))

    def publish_upload(self, *, uploading: bool, error: Exception | None, queue_since: datetime | None = None) -> None:
        """Take the state of the uploader."""
        self._set(replace(self.current, uploading=uploading, upload_error=error, upload_queue_since=queue_since))

    def publish_pending_changes(self, count: int) -> None:
        """Take the number of crud entries in the upload queue."""
        self._set(replace(self.current, pending_changes=count))

    def publish_stalled(self, error: Exception | None) -> None:
        """Take what the connection has waited for too long; None when all is well."""
        self._set(replace(self.current, stalled=error))

    def publish_disconnected(self) -> None:
        """Nobody syncs any more: only what is known of the file remains."""
        self._download_blocked_by = None
        self._owner_blocked_by = None
        self._set(
            replace(
                self.current,
                connected=False,
                connecting=False,
                uploading=False,
                caught_up=False,
                streams=tuple(replace(stream, progress=None) for stream in self.current.streams),
                progress=None,
                blocked_by=self._blocked_by(),
                download_error=None,
                upload_error=None,
                stalled=None,
                applied_write_checkpoint=None,
                retries=0,
            )
        )

    def publish_open_transaction(self, is_open: bool) -> None:
        """Say whether a write transaction of the app is open for so long that it holds sync up."""
        self._open_transaction = is_open
        self._set(replace(self.current, blocked_by=self._blocked_by()))

    def publish_shown(self, fields: dict[str, Any], *, blocked_by: str | None) -> None:
        """Take what the process that syncs has told of itself; for its peers. Its `blocked_by` counts where this process has none."""
        self._owner_blocked_by = blocked_by
        self._set(replace(self.current, **fields, blocked_by=self._blocked_by()))

    def publish_role(self, role: Role | None) -> None:
        """Take this process' part in the sync of the file."""
        if role is not Role.PEER:  # what held back another process says nothing of this one
            self._owner_blocked_by = None
        self._set(replace(self.current, role=role, blocked_by=self._blocked_by()))

    def listen(self, listener: Callable[[SyncStatus], None]) -> Callable[[], None]:
        """Call `listener` with every new status; returns what ends it. An exception in a listener is logged."""
        entry: Callable[[SyncStatus], None] = lambda status: listener(status)  # noqa: E731 - one entry for each call
        self._listeners.append(entry)

        def dispose() -> None:
            if entry in self._listeners:
                self._listeners.remove(entry)

        return dispose

    async def changes(self) -> AsyncGenerator[SyncStatus]:
        """The current status, then each newer one; a slow reader sees the latest only."""
        wake = asyncio.Event()
        self._wakes.add(wake)
        try:
            while True:
                wake.clear()
                yield self.current
                await wake.wait()
        finally:
            self._wakes.discard(wake)

    async def wait_for(self, predicate: Callable[[SyncStatus], bool], *, timeout_s: float | None) -> SyncStatus:
        """Wait for a status that fits; looks at every status, also at one that is replaced at once. Raises TimeoutError."""
        if predicate(self.current):
            return self.current
        found: asyncio.Future[SyncStatus] = asyncio.get_running_loop().create_future()

        def look(status: SyncStatus) -> None:
            if found.done():
                return
            try:
                if predicate(status):
                    found.set_result(status)
            except Exception as exc:
                found.set_exception(exc)

        dispose = self.listen(look)
        try:
            async with asyncio.timeout(timeout_s):
                return await found
        finally:
            dispose()

    def _blocked_by(self) -> str | None:
        if self._open_transaction:
            return BlockedBy.OPEN_TRANSACTION
        return self._download_blocked_by or self._owner_blocked_by

    def _set(self, status: SyncStatus) -> None:
        if status == self._current:
            return
        self._current = status
        for listener in list(self._listeners):
            try:
                listener(status)
            except Exception:
                _log.exception("A status listener failed.", extra={"event": "status_listener_failed"})
            if self._current is not status:
                return  # the listener has published something, and everybody has heard of that
        for wake in self._wakes:
            wake.set()


class StatusGate:
    """The board as one connection sees it: once it is closed, nothing that is left of the connection can publish any more."""

    def __init__(self, board: StatusBoard) -> None:
        self._board = board
        self._open = True

    @property
    def current(self) -> SyncStatus:
        """The newest status, whoever published it."""
        return self._board.current

    def publish_download(self, status: SyncStatus) -> None:
        """As `StatusBoard.publish_download`."""
        if self._open:
            self._board.publish_download(status)

    def publish_upload(self, *, uploading: bool, error: Exception | None, queue_since: datetime | None = None) -> None:
        """As `StatusBoard.publish_upload`."""
        if self._open:
            self._board.publish_upload(uploading=uploading, error=error, queue_since=queue_since)

    def publish_stalled(self, error: Exception | None) -> None:
        """As `StatusBoard.publish_stalled`."""
        if self._open:
            self._board.publish_stalled(error)

    def close(self) -> None:
        """Let nothing through any more, and say that nobody syncs."""
        self._open = False
        self._board.publish_disconnected()


def _never_earlier(
    priorities: tuple[PriorityStatus, ...], before: tuple[PriorityStatus, ...]
) -> tuple[PriorityStatus, ...]:
    """The times of the last syncs, none of which goes back when the device's clock does; those that were cleared are gone."""
    times = {entry.priority: entry.last_synced_at for entry in before}
    return tuple(
        PriorityStatus(entry.priority, max(entry.last_synced_at, times.get(entry.priority, entry.last_synced_at)))
        for entry in priorities
    )
