"""Decides which transfers run: those whose turn it is, a few at a time, and none that nobody wants any more."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable

from syncline.client.attachments.limits import ATTEMPTS_MAX
from syncline.client.attachments.model import Attachment, AttachmentState
from syncline.client.attachments.store import AttachmentStore
from syncline.client.attachments.transfers import Transfers
from syncline.client.errors import DatabaseClosed

__all__ = ["Dispatcher"]

_log = logging.getLogger(__name__)


class Dispatcher:
    """The one task that starts and ends transfers. It looks again after every change of the table, and every `interval_s`."""

    def __init__(
        self,
        store: AttachmentStore,
        transfers: Transfers,
        *,
        changes: Callable[[], AsyncIterator[set[str]]],
        archived_max: int,
        transfers_max: int,
        interval_s: float,
    ) -> None:
        self._store = store
        self._transfers = transfers
        self._changes = changes
        self._archived_max = archived_max
        self._transfers_max = transfers_max
        self._interval_s = interval_s
        self._running: dict[str, tuple[AttachmentState, asyncio.Task[None]]] = {}
        self._wake = asyncio.Event()
        self._idle = asyncio.Condition()
        self._is_idle = False

    def wake(self) -> None:
        """Look at the queue now."""
        self._is_idle = False
        self._wake.set()

    async def wait_idle(self) -> None:
        """Return when nothing is under way and nothing's turn has come, or `run` has ended."""
        async with self._idle:
            await self._idle.wait_for(lambda: self._is_idle)

    async def run(self) -> None:
        """Carry files until cancelled; then no transfer runs any more."""
        following = asyncio.create_task(self._follow_changes(), name="attachment changes")
        try:
            while True:
                self._wake.clear()
                pause_s = self._interval_s
                try:
                    pause_s = await self._look()
                except DatabaseClosed:
                    return
                except Exception:
                    _log.exception("The attachments cannot be looked at.", extra={"event": "attachment_queue_failed"})
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await self._wake.wait()
        finally:
            tasks = [following, *(task for _, task in self._running.values())]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._running.clear()
            await self._tell_idle()

    async def _follow_changes(self) -> None:
        async for _ in self._changes():
            self.wake()

    async def _look(self) -> float:
        """Cancel, start, tidy up; returns the seconds until there may be more to do."""
        await self._cancel_unwanted()
        free = self._transfers_max - len(self._running)
        if free > 0:
            for attachment in await self._store.due(
                limit=free, attempts_max=ATTEMPTS_MAX, without=self._running.keys()
            ):
                self._start(attachment)
        await self._remove(await self._store.superfluous(archived_max=self._archived_max))
        retry_s = await self._store.next_retry_s(attempts_max=ATTEMPTS_MAX)
        if not self._running and not self._wake.is_set():
            await self._tell_idle()
        # Where transfers run, the end of the first one wakes this task.
        return self._interval_s if retry_s is None or self._running else min(self._interval_s, retry_s)

    async def _tell_idle(self) -> None:
        async with self._idle:
            self._is_idle = True
            self._idle.notify_all()

    async def _remove(self, attachments: list[Attachment]) -> None:
        try:
            await self._transfers.remove(attachments)
        except OSError:
            # Of no use to anybody; the next look tries again.
            _log.exception("Archived files cannot be deleted.", extra={"event": "attachment_failed"})

    def _start(self, attachment: Attachment) -> None:
        task = asyncio.create_task(self._transfers.perform(attachment), name=f"attachment {attachment.state.name}")
        self._running[attachment.id] = (attachment.state, task)
        task.add_done_callback(lambda done: self._ended(attachment.id, done))

    def _ended(self, attachment_id: str, task: asyncio.Task[None]) -> None:
        running = self._running.get(attachment_id)
        if running is not None and running[1] is task:
            del self._running[attachment_id]
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, DatabaseClosed):
            _log.error("A transfer could not be recorded.", exc_info=error, extra={"event": "attachment_failed"})
        self.wake()

    async def _cancel_unwanted(self) -> None:
        """End transfers whose record has gone (the account was cleared) or has another state (deleted meanwhile)."""
        if not self._running:
            return
        states = await self._store.states(self._running)
        for attachment_id, (state, task) in list(self._running.items()):
            if states.get(attachment_id) is not state:
                task.cancel()
