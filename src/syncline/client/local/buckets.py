"""Downloaded operations by bucket, and their way into the app's tables (client SQLite reference, 8 to 10).

`ps_oplog` holds the live PUTs only; everything else is folded into two running checksums per bucket. The app's tables change
in one place, `BucketStore.apply`, after all checksums were compared.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import apsw
import orjson

from syncline.client.core.checkpoint import Applied, ApplyResult, Blocked, LocalCheckpoint, Mismatch
from syncline.client.local.bucket_writer import FRESH_KEYS_MAX, BucketWriter
from syncline.client.local.crud_queue import CrudQueue
from syncline.client.local.local_connection import sync_writes
from syncline.client.local.row_writer import RowWriter
from syncline.protocol.lines import BucketChecksum, DataBatch
from syncline.protocol.ops import to_unsigned32
from syncline.protocol.requests import BucketPosition

__all__ = [
    "FULL_SYNC_PRIORITY",
    "Applied",
    "ApplyResult",
    "BlockReason",
    "Blocked",
    "BucketCounts",
    "BucketStore",
    "Mismatch",
]

FULL_SYNC_PRIORITY = 2**31 - 1  # the row of ps_sync_state for "everything is synced"

_NAMED = "name IN (SELECT value FROM json_each(?))"


class BlockReason(enum.StrEnum):
    """What a validated checkpoint waits for."""

    PENDING_UPLOADS = "pending_uploads"  # local writes wait for their upload
    WRITE_CHECKPOINT = "write_checkpoint"  # uploaded, but the checkpoint does not contain them yet


@dataclass(frozen=True, slots=True)
class BucketCounts:
    """Operations of a bucket: at the last full apply, and downloaded since. They survive a restart."""

    at_last: int
    since_last: int


class BucketStore:
    """Buckets of one database. Every method that writes is called inside a write transaction of the caller."""

    __slots__ = ("_connection", "_queue", "_writer")

    def __init__(self, connection: apsw.Connection, *, fresh_keys_max: int = FRESH_KEYS_MAX) -> None:
        self._connection = connection
        self._queue = CrudQueue(connection)
        self._writer = BucketWriter(connection, fresh_keys_max=fresh_keys_max)

    def positions(self) -> list[BucketPosition]:
        """What the stream request lists: every stored bucket and the op id that it is complete up to."""
        return [
            BucketPosition(name=str(name), after=str(last_op))
            for name, last_op in self._connection.execute(
                "SELECT name, last_op FROM ps_buckets WHERE pending_delete = 0 ORDER BY id"
            )
        ]

    def counts(self) -> dict[str, BucketCounts]:
        """Operation counts by bucket, for download progress."""
        return {
            str(name): BucketCounts(int(str(at_last)), int(str(since_last)))
            for name, at_last, since_last in self._connection.execute(
                "SELECT name, count_at_last, count_since_last FROM ps_buckets WHERE pending_delete = 0"
            )
        }

    def reset_counts(self) -> None:
        """Start the progress of all buckets from zero: the service has fewer operations than we counted (10)."""
        self._connection.execute("UPDATE ps_buckets SET count_since_last = 0, count_at_last = 0")

    def store(self, batch: DataBatch, line_bytes: int) -> None:
        """Store the operations of one data line; `line_bytes` is the length of the whole line.

        Raises RemoteProtocolError for an op id or checksum that is not a number.
        """
        self._writer.store(batch, line_bytes)

    def gathering(self) -> AbstractContextManager[None]:
        """Inside, `store` may hold operations back until the end; everything else of this object knows of them."""
        return self._writer.gathering()

    def delete_buckets(self, names: Iterable[str]) -> None:
        """Forget buckets; their rows leave the app's tables at the next full apply, unless another bucket has them."""
        wanted = list(names)
        for name in wanted:
            for (bucket,) in self._connection.execute("SELECT id FROM ps_buckets WHERE name = ?", (name,)).fetchall():
                self._writer.forget_rows(int(str(bucket)))
            self._connection.execute("DELETE FROM ps_buckets WHERE name = ?", (name,))

    def apply(self, checkpoint: LocalCheckpoint, *, priority: int | None, now_us: int) -> ApplyResult:
        """Compare the checksums, and bring the app's tables to the checkpoint if local writes allow it.

        `priority` None is `checkpoint_complete`; a number is `partial_checkpoint_complete`, which concerns buckets of this
        and of more urgent priorities. `now_us` is the time in microseconds since 1970. All of it happens in the caller's one
        transaction, which has to be committed with any result.
        """
        self._writer.write_gathered()
        buckets = {
            name: bucket
            for name, bucket in checkpoint.buckets.items()
            if priority is None or bucket.priority <= priority
        }
        wrong = self._mismatches(buckets)
        if wrong:
            self.delete_buckets(wrong)
            return Mismatch(wrong)
        names = orjson.dumps(list(buckets)).decode()
        self._connection.execute(f"UPDATE ps_buckets SET last_op = ? WHERE {_NAMED}", (checkpoint.last_op_id, names))  # noqa: S608 - our own text
        if priority is None and checkpoint.write_checkpoint is not None:
            self._put_kv("last_seen_checkpoint_request_id", checkpoint.write_checkpoint)
        # Priority 0 is more urgent than local writes, by definition (protocol reference, 2.4).
        reason = None if priority == 0 else self._blocked()
        if reason is not None:
            return Blocked(reason)
        if priority is None:
            self._apply_full(checkpoint, now_us)
        else:
            self._apply_partial(names, priority, now_us)
        return Applied()

    def sync_state(self) -> list[tuple[int, int]]:
        """(priority, time of the last sync in microseconds since 1970), most urgent first; FULL_SYNC_PRIORITY is everything."""
        return [
            (int(str(priority)), int(str(last_synced_at)))
            for priority, last_synced_at in self._connection.execute(
                "SELECT priority, last_synced_at FROM ps_sync_state ORDER BY priority"
            )
        ]

    def _mismatches(self, buckets: dict[str, BucketChecksum]) -> list[str]:
        stored = {
            str(name): int(str(total))
            for name, total in self._connection.execute("SELECT name, add_checksum + op_checksum FROM ps_buckets")
        }
        return [
            name
            for name, bucket in buckets.items()
            if to_unsigned32(stored.get(name, 0)) != to_unsigned32(int(bucket.checksum))
        ]

    def _blocked(self) -> BlockReason | None:
        if not self._queue.is_empty():
            return BlockReason.PENDING_UPLOADS
        if (self._queue.target() or 0) > (self._queue.last_seen() or 0):
            return BlockReason.WRITE_CHECKPOINT
        return None

    def _apply_full(self, checkpoint: LocalCheckpoint, now_us: int) -> None:
        with sync_writes(self._connection):
            RowWriter(self._connection).write_all()
        self._connection.execute("UPDATE ps_buckets SET last_applied_op = last_op WHERE last_applied_op <> last_op")
        self._connection.execute("DELETE FROM ps_updated_rows")
        self._connection.executemany(
            "UPDATE ps_buckets SET count_since_last = 0, count_at_last = ? WHERE name = ?",
            [(bucket.count, name) for name, bucket in checkpoint.buckets.items()],
        )
        if checkpoint.write_checkpoint is not None:
            self._put_kv("last_applied_checkpoint_request_id", checkpoint.write_checkpoint)
        self._record_sync(FULL_SYNC_PRIORITY, now_us)
        self._writer.forget_keys()

    def _apply_partial(self, names: str, priority: int, now_us: int) -> None:
        with sync_writes(self._connection):
            RowWriter(self._connection).write_buckets(names)
        self._connection.execute(f"UPDATE ps_buckets SET last_applied_op = last_op WHERE {_NAMED}", (names,))  # noqa: S608 - our own text
        self._record_sync(priority, now_us)

    def _record_sync(self, priority: int, now_us: int) -> None:
        # What is less is contained in this one.
        self._connection.execute("DELETE FROM ps_sync_state WHERE priority < ?", (priority,))
        self._connection.execute(
            "INSERT OR REPLACE INTO ps_sync_state(priority, last_synced_at) VALUES (?, ?)", (priority, now_us)
        )

    def _put_kv(self, key: str, value: int) -> None:
        self._connection.execute("INSERT OR REPLACE INTO ps_kv(key, value) VALUES (?, ?)", (key, value))
