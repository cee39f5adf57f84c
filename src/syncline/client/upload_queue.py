"""Handing out queued local writes, and taking them off the queue."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from itertools import islice

import apsw

from syncline.client.crud import CrudEntry, QueuedTransaction
from syncline.client.local.connection import write_transaction
from syncline.client.local.crud_queue import TARGET_DIRTY, CrudQueue
from syncline.client.threads import ReaderPool, Writer

__all__ = ["CRUD_TRANSACTIONS_PAGE", "CrudTransaction", "UploadQueue", "UploadQueueStats"]

CRUD_TRANSACTIONS_PAGE = 50  # transactions read at a time; also what one request to a backend may hold

_DURABLE_KEY = "py_queue_durable"


@dataclass(frozen=True, slots=True)
class UploadQueueStats:
    """How much waits: entries, and their size in bytes."""

    count: int
    size_bytes: int


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

    async def complete(self, write_checkpoint: int | None = None) -> None:
        """Take this and every earlier transaction off the queue: the backend has them for good. Returns after the commit.

        `write_checkpoint` is for backends that make write checkpoints of their own.
        """
        await self._queue.complete(self.last_crud_id, write_checkpoint)


class UploadQueue:
    """The queue as connectors and the uploader see it.

    Whatever is handed out is durable first (design decision 12): ids of entries that a power cut took back would come again with other
    content, and the backend would take the new content for a repeat.
    """

    def __init__(self, writer: Writer, readers: ReaderPool) -> None:
        self._writer = writer
        self._readers = readers
        self._durable_up_to = 0  # crud id

    async def transactions(self, after: int = 0, limit: int = CRUD_TRANSACTIONS_PAGE) -> list[CrudTransaction]:
        """Up to `limit` transactions behind crud id `after`, oldest first."""

        def read(connection: apsw.Connection) -> list[QueuedTransaction]:
            queued = CrudQueue(connection).transactions(sys.maxsize)
            return list(islice((found for found in queued if found.last_crud_id > after), limit))

        found = [CrudTransaction(self, queued) for queued in await self._readers.call(read)]
        if found and found[-1].last_crud_id > self._durable_up_to:
            await self._make_durable(found[-1].last_crud_id)
        return found

    async def iterate(self) -> AsyncGenerator[CrudTransaction]:
        """Every queued transaction in order; each should be completed before the next is asked for."""
        after = 0
        while page := await self.transactions(after):
            for transaction in page:
                yield transaction
            after = page[-1].last_crud_id

    async def complete(self, last_crud_id: int, write_checkpoint: int | None = None) -> None:
        """Remove a prefix, in one transaction."""

        def remove(connection: apsw.Connection) -> None:
            with write_transaction(connection, local_writes=False):
                CrudQueue(connection).complete(last_crud_id, write_checkpoint)

        await self._writer.call(remove)

    async def stats(self) -> UploadQueueStats:
        """Entries and bytes that wait."""
        count, size = await self._readers.call(lambda connection: CrudQueue(connection).stats())
        return UploadQueueStats(count, size)

    async def head(self) -> int | None:
        """Crud id of the oldest entry, None for an empty queue."""
        return await self._readers.call(_head)

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

    async def _make_durable(self, crud_id: int) -> None:
        def commit(connection: apsw.Connection) -> None:
            connection.execute("PRAGMA synchronous=FULL").fetchall()
            try:
                # A FULL commit syncs the whole write-ahead log, with all commits before it; it has to write something.
                with write_transaction(connection, local_writes=False):
                    connection.execute(
                        "INSERT OR REPLACE INTO ps_kv(key, value) VALUES (?, ?)", (_DURABLE_KEY, crud_id)
                    )
            finally:
                connection.execute("PRAGMA synchronous=NORMAL").fetchall()

        await self._writer.call(commit)
        self._durable_up_to = max(self._durable_up_to, crud_id)


def _head(connection: apsw.Connection) -> int | None:
    rows = connection.execute("SELECT id FROM ps_crud ORDER BY id LIMIT 1").fetchall()
    return int(str(rows[0][0])) if rows else None


def _sequence_to_acknowledge(connection: apsw.Connection) -> int | None:
    queue = CrudQueue(connection)
    return queue.sequence() if queue.target() == TARGET_DIRTY else None


def _awaited_write_checkpoint(connection: apsw.Connection) -> int | None:
    queue = CrudQueue(connection)
    target = queue.target()
    if target is None or target == TARGET_DIRTY or target <= (queue.last_seen() or 0):
        return None
    return target
