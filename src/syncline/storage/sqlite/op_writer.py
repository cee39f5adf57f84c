"""Flush and commit: the part of the SQLite writer that every change of the source goes through."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from syncline.failpoints import failpoint
from syncline.storage.model import OP_CODES, Checkpoint, CurrentRow, FlushBatch, VersionState
from syncline.storage.sqlite.stored_rows import current_row_columns, current_row_from_row
from syncline.storage.sqlite.writer_connection import WriterConnection

__all__ = ["OpWriter"]

# Slot 1 moves to slot 0 only where it is visible already; see the comment at the table.
_ADD_TO_BUCKET = """
INSERT INTO bucket (version, name, op, checksum, op_count) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (name) DO UPDATE SET
  old_op = iif(op <= ?6, op, old_op),
  old_checksum = iif(op <= ?6, checksum, old_checksum),
  old_op_count = iif(op <= ?6, op_count, old_op_count),
  op = excluded.op,
  checksum = (checksum + excluded.checksum) & 4294967295,
  op_count = op_count + excluded.op_count
RETURNING id
"""

# Of each user, what lies below the newest visible value is never read again.
_FORGET_CUSTOM_WRITE_CHECKPOINTS = """
DELETE FROM custom_write_checkpoint WHERE version = ?1 AND user_key = ?2 AND op_id < (
  SELECT max(op_id) FROM custom_write_checkpoint WHERE version = ?1 AND user_key = ?2 AND op_id <= ?3
)
"""


class OpWriter(WriterConnection):
    """Operations, lookups, current rows and checkpoints. Contract: `syncline.storage.base.StorageWriter`."""

    def current_rows(self, table_id: int, keys: Collection[bytes]) -> dict[bytes, CurrentRow]:
        """What is remembered of these rows."""
        sql = "SELECT memberships, lookups, row_values FROM current_row WHERE table_id = ? AND row_key = ?"
        found: dict[bytes, CurrentRow] = {}
        with self._reading():
            for key in keys:
                for row in self._connection.execute(sql, (table_id, key)):
                    found[key] = current_row_from_row(*row)
        return found

    def table_rows(self, table_id: int, *, after: bytes, limit: int) -> list[tuple[bytes, CurrentRow]]:
        """All remembered rows of a table in pages by row key."""
        with self._reading():
            rows: list[Any] = self._connection.execute(
                "SELECT row_key, memberships, lookups, row_values FROM current_row"
                " WHERE table_id = ? AND row_key > ? ORDER BY row_key LIMIT ?",
                (table_id, after, limit),
            ).fetchall()
        return [(row[0], current_row_from_row(row[1], row[2], row[3])) for row in rows]

    def flush(self, version: int, batch: FlushBatch) -> int:
        """Append a batch in one transaction and return the last op id."""
        with self._transaction():
            last_op = self._last_op()
            visible = self._visible_op(version)
            self._write_ops(version, batch, last_op + 1, visible)
            last_op += len(batch.ops)
            if batch.lookups:
                self._connection.executemany(
                    "INSERT INTO lookup_entry (version, lookup, table_id, row_key, op_id, output) VALUES (?,?,?,?,?,?)",
                    [
                        (version, entry.lookup, entry.table_id, entry.row_key, last_op + index, entry.output)
                        for index, entry in enumerate(batch.lookups, start=1)
                    ],
                )
                last_op += len(batch.lookups)
            self._write_rows(batch)
            self._write_custom_write_checkpoints(version, batch, last_op + 1, visible)
            last_op += len(batch.custom_write_checkpoints)
            self._connection.execute("UPDATE storage_meta SET value = ? WHERE key = 'last_op'", (last_op,))
        return last_op

    def commit(self, version: int, position: str) -> Checkpoint | None:
        """Make all that was flushed visible at `position`, where a checkpoint may be visible."""
        with self._transaction():
            rows: list[Any] = self._connection.execute(
                "UPDATE version SET position = max(position, ?) WHERE number = ?"
                " RETURNING state, checkpoint_op, snapshot_done, consistent_from",
                (position, version),
            ).fetchall()
            state, checkpoint_op, snapshot_done, consistent_from = rows[0]
            if not snapshot_done or position < consistent_from:
                return None
            last_op = max(self._last_op(), checkpoint_op or 0)
            visible_position = self._connection.execute(
                "UPDATE version SET checkpoint_op = ?, checkpoint_position = max(coalesce(checkpoint_position, ''), ?),"
                " state = ? WHERE number = ? RETURNING checkpoint_position",
                (last_op, position, VersionState.ACTIVE.value, version),
            ).get
            if state == VersionState.PROCESSING.value:
                self._connection.execute(
                    "UPDATE version SET state = ? WHERE number <> ?", (VersionState.STOPPED.value, version)
                )
        return Checkpoint(version, last_op, visible_position)

    def position(self, version: int) -> str:
        """The source position up to which everything is stored."""
        with self._reading():
            return self._connection.execute("SELECT position FROM version WHERE number = ?", (version,)).get

    def sync_to_disk(self) -> None:
        """One commit with synchronous=FULL puts the whole write-ahead log before it on disk."""
        self._connection.execute("PRAGMA synchronous=FULL").fetchall()
        try:
            with self._transaction():
                self._connection.execute("UPDATE storage_meta SET value = value WHERE key = 'lease_epoch'").fetchall()
        finally:
            self._connection.execute("PRAGMA synchronous=NORMAL").fetchall()

    def _write_ops(self, version: int, batch: FlushBatch, next_op: int, visible: int) -> None:
        """Append the operations from `next_op` on, and bring the totals of their buckets forward."""
        if not batch.ops:
            return
        added: dict[str, list[int]] = {}  # bucket -> last op, sum of checksums, number of ops
        for op_id, new in enumerate(batch.ops, start=next_op):
            totals = added.setdefault(new.bucket, [0, 0, 0])
            totals[0] = op_id
            totals[1] += new.checksum
            totals[2] += 1
        bucket_ids = self._add_to_buckets(version, added, visible)
        failpoint("between-ops-and-totals")
        self._connection.executemany(
            "INSERT INTO op (op_id, bucket, kind, object_type, object_id, checksum, subkey, data)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (op_id, bucket_ids[bucket], OP_CODES[op], object_type, object_id, checksum, subkey, data)
                for op_id, (bucket, op, object_type, object_id, checksum, subkey, data) in enumerate(
                    batch.ops, start=next_op
                )
            ),
        )

    def _add_to_buckets(self, version: int, added: dict[str, list[int]], visible: int) -> dict[str, int]:
        rows: Iterable[tuple[int]] = self._connection.executemany(
            _ADD_TO_BUCKET,
            [
                (version, name, op, checksum & 0xFFFFFFFF, count, visible)
                for name, (op, checksum, count) in added.items()
            ],
        )
        return {name: row[0] for name, row in zip(added, rows, strict=True)}

    def _write_rows(self, batch: FlushBatch) -> None:
        gone = [key for key, row in batch.rows.items() if row is None]
        if gone:
            self._connection.executemany("DELETE FROM current_row WHERE table_id = ? AND row_key = ?", gone)
        kept = [
            (table_id, key, *current_row_columns(row)) for (table_id, key), row in batch.rows.items() if row is not None
        ]
        if kept:
            self._connection.executemany(
                "INSERT INTO current_row (table_id, row_key, memberships, lookups, row_values) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (table_id, row_key) DO UPDATE SET memberships = excluded.memberships,"
                " lookups = excluded.lookups, row_values = excluded.row_values",
                kept,
            )

    def _write_custom_write_checkpoints(self, version: int, batch: FlushBatch, next_op: int, visible: int) -> None:
        if not batch.custom_write_checkpoints:
            return
        self._connection.executemany(
            "INSERT INTO custom_write_checkpoint (version, user_key, op_id, value) VALUES (?, ?, ?, ?)",
            [
                (version, user_key, op_id, value)
                for op_id, (user_key, value) in enumerate(batch.custom_write_checkpoints.items(), start=next_op)
            ],
        )
        self._connection.executemany(
            _FORGET_CUSTOM_WRITE_CHECKPOINTS,
            [(version, user_key, visible) for user_key in batch.custom_write_checkpoints],
        )
