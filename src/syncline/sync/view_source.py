"""One per process: where sessions read their buckets and totals, many sessions in one reading.

Wishes that come in the same turn of the event loop, or while readings are under way, are gathered: 500 streams that open at once are
some ten transactions of storage and as many hops into its threads. Each reading is bounded, and they run in the order in which the
wishes came: a connection with very many buckets holds up nobody for longer than it takes to read them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from syncline.errors import SynclineError
from syncline.storage.base import CheckpointView, StorageReader, WriteCheckpoints
from syncline.sync.checkpoint_watcher import CheckpointWatcher, Inbox
from syncline.sync.limits import VIEW_BUCKETS_MAX, VIEW_READS_MAX, VIEWS_MAX
from syncline.sync_config.plan import BucketQuery

__all__ = ["ViewSource"]

_Answer = tuple[CheckpointView | None, int | None]


@dataclass(slots=True, eq=False)
class _Wish:
    """What one session waits for."""

    inbox: Inbox
    version: int
    start_query: Callable[[], BucketQuery]
    buckets_expected: int
    with_write_checkpoint: bool
    answer: asyncio.Future[_Answer]


class ViewSource:
    """Reads through one reader, and tells the watcher what each session listens to as soon as that is known."""

    def __init__(self, reader: StorageReader, write_checkpoints: WriteCheckpoints, watcher: CheckpointWatcher) -> None:
        self._reader = reader
        self._write_checkpoints = write_checkpoints
        self._watcher = watcher
        self._waiting: deque[_Wish] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._starts = False
        self._buckets_typical = 1  # of a session in the newest reading

    async def read(
        self,
        inbox: Inbox,
        version: int,
        start_query: Callable[[], BucketQuery],
        *,
        buckets_expected: int,
        with_write_checkpoint: bool,
    ) -> _Answer:
        """A session's view at the newest checkpoint and the write checkpoint that was reached there; its inbox is settled then.

        The inbox is registered and unsettled before. `start_query` may be called more than once. `buckets_expected` is how many buckets
        the session is known to have; 0 where nothing is known, then it is taken for one like those read last. (None, None) when the
        version has no checkpoint any more. Raises StorageUnavailable, and what the query raises (LimitExceeded).
        """
        loop = asyncio.get_running_loop()
        wish = _Wish(inbox, version, start_query, buckets_expected, with_write_checkpoint, loop.create_future())
        self._waiting.append(wish)
        if not self._starts and len(self._running) < VIEW_READS_MAX:
            self._starts = True
            loop.call_soon(self._start)  # what is asked for until then comes along
        return await wish.answer

    def _start(self) -> None:
        """Begin as many readings as may run."""
        self._starts = False
        while len(self._running) < VIEW_READS_MAX and (wishes := self._next_wishes()):
            task = asyncio.create_task(self._read_all(wishes))
            self._running.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._start()

    def _next_wishes(self) -> list[_Wish]:
        """The first of those that wait, as many as one reading may hold: of one version, and at least one."""
        wishes: list[_Wish] = []
        buckets = 0
        while self._waiting and len(wishes) < VIEWS_MAX:
            wish = self._waiting[0]
            buckets += wish.buckets_expected or self._buckets_typical
            if wishes and (buckets > VIEW_BUCKETS_MAX or wish.version != wishes[0].version):
                break
            self._waiting.popleft()
            if not wish.answer.done():  # its session may have gone
                wishes.append(wish)
        return wishes

    async def _read_all(self, wishes: Sequence[_Wish]) -> None:
        try:
            await self._read(wishes)
        except Exception as exc:
            if len(wishes) > 1 and not isinstance(exc, SynclineError):
                # Not a matter of storage. Each by itself, so that it fails only the one whom it is about.
                for wish in wishes:
                    if not wish.answer.done():
                        await self._read_all([wish])
                return
            for wish in wishes:
                if not wish.answer.done():
                    wish.answer.set_exception(exc)

    async def _read(self, wishes: Sequence[_Wish]) -> None:
        views = await self._reader.views(wishes[0].version, [wish.start_query() for wish in wishes])
        found: list[tuple[_Wish, CheckpointView]] = []
        for wish, view in zip(wishes, views or [None] * len(wishes), strict=True):
            if wish.answer.done():
                continue
            if isinstance(view, CheckpointView):
                # Before anything else is waited for: until it is told, every change makes the session read again.
                buckets = tuple(bucket.name for bucket in view.resolved.buckets)
                self._watcher.settle(wish.inbox, buckets=buckets, lookups=view.resolved.lookups)
                found.append((wish, view))
            elif view is None:
                wish.answer.set_result((None, None))
            else:
                wish.answer.set_exception(view)
        if not found:
            return
        self._buckets_typical = max(1, sum(len(view.resolved.buckets) for _, view in found) // len(found))
        user_keys = {wish.inbox.user_key for wish, _ in found if wish.with_write_checkpoint}
        position = found[0][1].checkpoint.position  # the same of all: they were read in one transaction
        reached = await self._write_checkpoints.reached_all(user_keys, position) if user_keys else {}
        for wish, view in found:
            if not wish.answer.done():
                key = wish.inbox.user_key
                wish.answer.set_result((view, reached.get(key) if wish.with_write_checkpoint else None))
