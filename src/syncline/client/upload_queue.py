"""Handing out queued local writes, and taking them off the queue."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice, takewhile
from typing import Literal

import apsw

from syncline.client.core.status import time_of
from syncline.client.core.upload_stats import HeadClock, UploadQueueStats
from syncline.client.crud import CrudEntry, QueuedTransaction
from syncline.client.dead_letters import Refusal, Refused, store_dead_letters
from syncline.client.local.connection import write_transaction
from syncline.client.local.crud_queue import TARGET_DIRTY, CrudQueue
from syncline.client.rows import Parameters, bind
from syncline.client.threads import ReaderPool, Writer
from syncline.errors import ClientError

__all__ = ["CRUD_TRANSACTIONS_PAGE", "CrudTransaction", "Decision", "UploadQueue", "UploadQueueStats"]

CRUD_TRANSACTIONS_PAGE = 50  # transactions read at a time; also what one request to a backend may hold

Decision = Literal["retry", "discard", "replace"]
"""What an app can do with a transaction that its backend has left to it."""

BOUNDARIES_MAX = 1000  # noted ends of pages that still separate entries of one transaction id; the oldest go first

_DURABLE_KEY = (
    "py_queue_durable"  # crud ids, ascending: the last one is the newest durable entry, all are ends of transactions
)
_SHARED_ID = """
SELECT 1 FROM ps_crud a JOIN ps_crud b ON b.id = (SELECT min(id) FROM ps_crud WHERE id > a.id)
WHERE a.id = ? AND a.tx_id = b.tx_id
"""
_HEAD_KEY = "py_queue_head"  # "<crud id> <microseconds since 1970>": since when the oldest entry has been the oldest


class CrudTransaction:
    """One local transaction that waits for its upload."""

    def __init__(self, queue: UploadQueue, queued: QueuedTransaction) -> None:
        self._queue = queue
        self.transaction_id = queued.transaction_id
        self.crud: list[CrudEntry] = queued.entries

    @property
    def first_crud_id(self) -> int:
        """Crud id of its first entry."""
        return self.crud[0].client_id

    @property
    def last_crud_id(self) -> int:
        """Crud id of its last entry."""
        return self.crud[-1].client_id

    async def complete(self, write_checkpoint: int | None = None, *, refused: Sequence[Refused] = ()) -> None:
        """Take this and every earlier transaction off the queue: the backend has them for good. Returns after the commit.

        `write_checkpoint` is for backends that make write checkpoints of their own; `refused` are parts of the queue that become dead
        letters in the same commit. Raises DeadLettersFull.
        """
        await self._queue.complete(self.last_crud_id, write_checkpoint, refused=refused)

    async def reject(self, refusal: Refusal) -> None:
        """Make a dead letter of this transaction, and take it and every earlier one off the queue, in one commit.

        For a backend that has refused it for good and keeps no record of it. Raises DeadLettersFull.
        """
        refused = Refused(self.first_crud_id, self.last_crud_id, refusal)
        await self._queue.complete(self.last_crud_id, refused=[refused])


class UploadQueue:
    """The queue as connectors and the uploader see it; for apps, `db.upload_queue`.

    Whatever is handed out is durable first (design decision 12): ids of entries that a power cut took back would come again with other
    content, and the backend would take the new content for a repeat. And what was handed out as a transaction never grows: commits of
    writers that know nothing of us may share a transaction id, and the second may come while the answer about the first is under way.
    Where a handed-out page ended is noted in the file, and transactions are cut there.
    """

    def __init__(
        self, writer: Writer, readers: ReaderPool, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._writer = writer
        self._readers = readers
        self._now = now
        self._durable_up_to = 0  # crud id
        self._head: HeadClock | None = None  # None: the file was not asked yet
        self._wake: Callable[[], None] | None = None

    async def transactions(self, after: int = 0, limit: int = CRUD_TRANSACTIONS_PAGE) -> list[CrudTransaction]:
        """Up to `limit` transactions behind crud id `after`, oldest first."""
        newest = await self._readers.call(_newest)
        if newest > self._durable_up_to:
            await self._make_durable()
        up_to = self._durable_up_to

        def read(connection: apsw.Connection) -> list[QueuedTransaction]:
            boundaries = _boundaries(connection)
            queued = CrudQueue(connection).transactions(limit, after=after)
            parts = (part for whole in queued for part in _split(whole, boundaries))
            return list(islice(takewhile(lambda part: part.last_crud_id <= up_to, parts), limit))

        return [CrudTransaction(self, queued) for queued in await self._readers.call(read)]

    async def iterate(self) -> AsyncGenerator[CrudTransaction]:
        """Every queued transaction in order; each should be completed before the next is asked for."""
        after = 0
        while page := await self.transactions(after):
            for transaction in page:
                yield transaction
            after = page[-1].last_crud_id

    async def complete(
        self, last_crud_id: int, write_checkpoint: int | None = None, *, refused: Sequence[Refused] = ()
    ) -> None:
        """Remove a prefix; what the backend refused of it becomes dead letters in the same transaction. Raises DeadLettersFull."""
        now = self._now()

        def remove(connection: apsw.Connection) -> None:
            with write_transaction(connection, local_writes=False):
                store_dead_letters(connection, refused, now_us=_microseconds(now))
                CrudQueue(connection).complete(last_crud_id, write_checkpoint)
                _keep_head(connection, now)

        await self._writer.call(remove)

    async def resolve(
        self,
        transaction: CrudTransaction,
        decision: Decision,
        *,
        statements: Iterable[tuple[str, Parameters | None]] = (),
    ) -> None:
        """Decide about a transaction that the backend has left to the app (UploadRejected in `upload_error`).

        `retry` sends it again at once. `discard` gives it up: its rows go back to the server's at the next checkpoint. `replace` gives it
        up and runs `statements` in its place, in one commit: their writes go behind everything that is queued, so a correction that
        later writes build on belongs into them too.
        """
        if decision != "replace" and (corrections := list(statements)):
            raise ClientError(f"{len(corrections)} statements were given with {decision!r}.", hint='Use "replace".')
        if decision == "retry":
            self.wake()
            return
        bound = [(sql, bind(parameters)) for sql, parameters in statements]

        def release(connection: apsw.Connection) -> None:
            with write_transaction(connection):
                # This range and nothing before it: the app decided about one transaction.
                CrudQueue(connection).remove(transaction.first_crud_id, transaction.last_crud_id)
                for sql, parameters in bound:
                    connection.execute(sql, parameters).fetchall()

        await self._writer.call(release)
        self.wake()

    def on_wake(self, wake: Callable[[], None] | None) -> None:
        """What to call when the app wants the queue to be looked at now; None for nothing."""
        self._wake = wake

    def wake(self) -> None:
        """Look at the queue now, whatever pause the uploader makes."""
        if self._wake is not None:
            self._wake()

    @property
    def head_since(self) -> datetime | None:
        """Since when the oldest entry has been the oldest, as of the last look; None for an empty queue."""
        return None if self._head is None else self._head.since

    def written(self) -> None:
        """A commit has touched the queue: lets the age of its head be exact."""
        if self._head is not None:
            self._head.written(self._now())

    async def stats(self) -> UploadQueueStats:
        """Entries and bytes that wait, and since when the oldest entry has been the oldest. Reads the whole queue."""
        (count, size), head, kept = await self._readers.call(
            lambda connection: (CrudQueue(connection).stats(), _head(connection), _kept_head(connection))
        )
        return UploadQueueStats(count, size, self._observe(head, kept))

    async def head(self) -> int | None:
        """Crud id of the oldest entry, None for an empty queue."""
        head, kept = await self._readers.call(lambda connection: (_head(connection), _kept_head(connection)))
        self._observe(head, kept)
        return head

    def _observe(self, head: int | None, kept: HeadClock) -> datetime | None:
        if self._head is None:
            self._head = kept
        return self._head.observe(head, self._now())

    async def sequence_to_acknowledge(self) -> int | None:
        """The newest crud id ever given, where a write checkpoint has to be asked for; None where not."""
        return await self._readers.call(_sequence_to_acknowledge)

    async def awaited_write_checkpoint(self) -> int | None:
        """The write checkpoint that was requested and that no checkpoint has brought yet; None for none."""
        return await self._readers.call(_awaited_write_checkpoint)

    async def sequence(self) -> int | None:
        """The newest crud id ever given; None before the first."""
        return await self._readers.call(lambda connection: CrudQueue(connection).sequence())

    async def set_target(self, write_checkpoint: int, *, sequence: int) -> bool:
        """Store the write checkpoint to wait for, unless something was written since `sequence` was read; says whether."""

        def store(connection: apsw.Connection) -> bool:
            queue = CrudQueue(connection)
            with write_transaction(connection, local_writes=False):
                if not queue.is_empty() or queue.sequence() != sequence:
                    return False
                queue.set_target(write_checkpoint)
                return True

        return await self._writer.call(store)

    async def _make_durable(self) -> None:
        """Put everything that is queued on disk: one commit for a long queue, not one for each page of it."""
        await self.head()
        since = self.head_since

        def commit(connection: apsw.Connection) -> int:
            connection.execute("PRAGMA synchronous=FULL").fetchall()
            try:
                # A FULL commit syncs the whole write-ahead log, with all commits before it; it has to write something.
                with write_transaction(connection, local_writes=False):
                    newest = _newest(connection)
                    _add_boundary(connection, newest)
                    _keep_head(connection, since)
            finally:
                connection.execute("PRAGMA synchronous=NORMAL").fetchall()
            return newest

        newest = await self._writer.call(commit)
        self._durable_up_to = max(self._durable_up_to, newest)


def _newest(connection: apsw.Connection) -> int:
    [(newest,)] = connection.execute("SELECT ifnull(max(id), 0) FROM ps_crud").fetchall()
    return int(str(newest))


def _boundaries(connection: apsw.Connection) -> list[int]:
    rows = connection.execute("SELECT value FROM ps_kv WHERE key = ?", (_DURABLE_KEY,)).fetchall()
    return [int(text) for text in str(rows[0][0]).split() if text.isdecimal()] if rows else []


def _add_boundary(connection: apsw.Connection, crud_id: int) -> None:
    """Note the end of what may be handed out now; earlier ends stay while the entries on both sides share a transaction id."""
    kept = [
        boundary
        for boundary in _boundaries(connection)
        if boundary < crud_id and connection.execute(_SHARED_ID, (boundary,)).fetchall()
    ]
    _put(connection, _DURABLE_KEY, " ".join(map(str, [*kept, crud_id][-BOUNDARIES_MAX:])))


def _split(whole: QueuedTransaction, boundaries: list[int]) -> Iterator[QueuedTransaction]:
    """Cut entries of one transaction id where pages ended that were handed out before all of them were there."""
    start = 0
    inside = [boundary for boundary in boundaries if whole.entries[0].client_id <= boundary < whole.last_crud_id]
    for boundary in inside:
        end = next(i for i, entry in enumerate(whole.entries) if entry.client_id > boundary)
        if end > start:
            yield QueuedTransaction(whole.transaction_id, whole.entries[start:end])
            start = end
    yield QueuedTransaction(whole.transaction_id, whole.entries[start:])


def _head(connection: apsw.Connection) -> int | None:
    rows = connection.execute("SELECT id FROM ps_crud ORDER BY id LIMIT 1").fetchall()
    return int(str(rows[0][0])) if rows else None


def _sequence_to_acknowledge(connection: apsw.Connection) -> int | None:
    queue = CrudQueue(connection)
    # A write may have come since the queue was found empty: it is uploaded first, and a request now would be one too many.
    return queue.sequence() if queue.target() == TARGET_DIRTY and queue.is_empty() else None


def _awaited_write_checkpoint(connection: apsw.Connection) -> int | None:
    queue = CrudQueue(connection)
    target = queue.target()
    if target is None or target == TARGET_DIRTY or target <= (queue.last_seen() or 0):
        return None
    return target


def _keep_head(connection: apsw.Connection, since: datetime | None) -> None:
    """Note since when the oldest entry has been the oldest, for the next process."""
    head = _head(connection)
    if head is not None and since is not None:
        _put(connection, _HEAD_KEY, f"{head} {_microseconds(since)}")


def _put(connection: apsw.Connection, key: str, value: apsw.SQLiteValue) -> None:
    connection.execute("INSERT OR REPLACE INTO ps_kv(key, value) VALUES (?, ?)", (key, value))


def _kept_head(connection: apsw.Connection) -> HeadClock:
    """What an earlier process noted about the head."""
    for (value,) in connection.execute("SELECT value FROM ps_kv WHERE key = ?", (_HEAD_KEY,)):
        crud_id, _, since_us = str(value).partition(" ")
        if crud_id.isdecimal() and since_us.isdecimal():
            return HeadClock(int(crud_id), time_of(int(since_us)))
    return HeadClock()


def _microseconds(time: datetime) -> int:
    return int(time.timestamp() * 1_000_000)
