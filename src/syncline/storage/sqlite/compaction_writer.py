"""Compaction, as far as storage does it: reading backwards, and changing in bounded transactions. What to change is decided in
`syncline.storage.compaction`.
"""

from __future__ import annotations

from typing import Any

from syncline.protocol.ops import OpType, to_unsigned32
from syncline.storage.model import OP_CODES, BucketSize, ClearedPrefix, CompactedOps, OpRow, VersionState
from syncline.storage.sqlite.stored_rows import OP_COLUMNS, op_from_row
from syncline.storage.sqlite.writer_connection import WriterConnection

__all__ = ["CompactionWriter"]

LOOKUPS_LOOKED_AT_MAX = 20_000  # lookup entries that one transaction looks at: about 50 ms

_PUT, _REMOVE, _MOVE, _CLEAR = (OP_CODES[op] for op in (OpType.PUT, OpType.REMOVE, OpType.MOVE, OpType.CLEAR))

_SMALL_COLUMNS = OP_COLUMNS.replace(
    "data", "NULL"
)  # a page of large rows would not fit into memory, and data decides nothing

# The slot that a reader at the visible checkpoint takes; what lies above it is not looked at.
_CANDIDATES = """
SELECT name, visible_count, visible_count - compacted_op_count AS new_ops FROM (
  SELECT name, compacted_op_count, iif(op <= ?2, op_count, old_op_count) AS visible_count FROM bucket WHERE version = ?1
) WHERE new_ops > 0 ORDER BY new_ops DESC, name LIMIT ?3
"""
_FINISH = "UPDATE bucket SET compacted_op_count = compacted_op_count + ? WHERE name = ?"
_MAKE_MOVE = f"""
UPDATE op SET kind = {_MOVE}, object_type = NULL, object_id = NULL, subkey = NULL, data = NULL, target_op = ?
WHERE op_id = ? AND bucket = ? AND kind IN ({_PUT}, {_REMOVE})
"""  # noqa: S608 - of constants
_MAKE_CLEAR = f"""
UPDATE op SET kind = {_CLEAR}, object_type = NULL, object_id = NULL, subkey = NULL, data = NULL, checksum = ?, target_op = ?
WHERE op_id = ? AND bucket = ?
"""  # noqa: S608 - of constants
# Slot 0 counts what was cleared only where it is above it; else it lies in the past, and no reader takes it any more.
_SHRINK_BUCKET = """
UPDATE bucket SET op_count = op_count - ?1, old_op_count = old_op_count - iif(old_op >= ?2, ?1, 0),
  compacted_op_count = compacted_op_count - ?1
WHERE id = ?3
"""


class CompactionWriter(WriterConnection):
    """Compaction of operations and lookups. Contract: `syncline.storage.base.StorageWriter`."""

    def compaction_candidates(self, version: int, *, buckets_max: int) -> list[BucketSize]:
        """Buckets with visible ops that were appended since they were compacted last, those with the most first."""
        with self._reading():
            visible = self._visible_op(version)
            rows: list[Any] = self._connection.execute(_CANDIDATES, (version, visible, buckets_max)).fetchall()
        return [BucketSize(*row) for row in rows]

    def ops_before(self, bucket: str, *, before: int | None, ops_max: int) -> list[OpRow]:
        """A bucket's ops from the newest to the oldest: below `before`, at or below the visible checkpoint."""
        with self._reading():
            found = self._bucket(bucket)
            if found is None:
                return []
            bucket_id, visible = found
            rows = self._connection.execute(
                f"SELECT {_SMALL_COLUMNS} FROM op WHERE bucket = ? AND op_id < ? ORDER BY op_id DESC LIMIT ?",  # noqa: S608 - our own names
                (bucket_id, visible + 1 if before is None else min(before, visible + 1), ops_max),
            )
            return [op_from_row(row) for row in rows]

    def apply_compaction(self, bucket: str, compacted: CompactedOps) -> None:
        """Make these changes in one transaction."""
        with self._transaction():
            found = self._bucket(bucket)
            if found is None:
                return
            bucket_id, visible = found
            assert all(op_id < target <= visible for op_id, target in compacted.moves), "only visible ops are compacted"
            self._connection.executemany(_MAKE_MOVE, [(target, op_id, bucket_id) for op_id, target in compacted.moves])
            if compacted.cleared is not None:
                assert compacted.cleared.op_id <= visible, "only visible ops are compacted"
                self._clear(bucket_id, compacted.cleared)

    def finish_compaction(self, bucket: str, *, new_ops: int) -> None:
        """The `new_ops` of this candidate were looked at."""
        with self._transaction():
            self._connection.execute(_FINISH, (new_ops, bucket)).fetchall()

    def compact_lookups(self, version: int, *, before_op: int, rows_max: int) -> int:
        """Delete up to `rows_max` lookup entries that later ones have replaced; how many they were, 0 when none is left."""
        deleted = 0
        while deleted == 0:
            with self._transaction():
                mark = self._connection.execute(
                    "SELECT coalesce(max(lookups_compacted_op), 0) FROM version WHERE number = ?", (version,)
                ).get
                entries: list[Any] = self._connection.execute(
                    "SELECT lookup, table_id, row_key, op_id, output FROM lookup_entry"
                    " WHERE version = ? AND op_id > ? AND op_id < ? ORDER BY op_id LIMIT ?",
                    (version, mark, min(before_op, self._visible_op(version) + 1), LOOKUPS_LOOKED_AT_MAX),
                ).fetchall()
                if not entries:
                    return 0
                for lookup, table_id, row_key, op_id, output in entries:
                    if deleted >= rows_max:
                        break
                    deleted += self._forget_lookups(
                        version, lookup, table_id, row_key, op_id, taken_back=output is None
                    )
                    mark = op_id
                self._connection.execute(
                    "UPDATE version SET lookups_compacted_op = ? WHERE number = ?", (mark, version)
                )
        return deleted

    def _forget_lookups(
        self, version: int, lookup: str, table_id: int, row_key: bytes, op_id: int, *, taken_back: bool
    ) -> int:
        """Delete what an entry replaced; the entry too where it only takes that back."""
        self._connection.execute(
            "DELETE FROM lookup_entry WHERE version = ? AND lookup = ? AND table_id = ? AND row_key = ? AND op_id < ?",
            (version, lookup, table_id, row_key, op_id + taken_back),
        ).fetchall()
        return self._connection.changes()

    def _bucket(self, name: str) -> tuple[int, int] | None:
        """The bucket's id, and the op id of its version's visible checkpoint. None in a version that is being dropped."""
        rows: list[Any] = self._connection.execute(
            "SELECT bucket.id, coalesce(version.checkpoint_op, 0) FROM bucket JOIN version ON version.number = bucket.version"
            " WHERE bucket.name = ? AND version.state <> ?",
            (name, VersionState.STOPPED.value),
        ).fetchall()
        return rows[0] if rows else None

    def _clear(self, bucket_id: int, cleared: ClearedPrefix) -> None:
        found: list[Any] = self._connection.execute(
            f"SELECT count(*), sum(kind = {_PUT}), sum(checksum) FROM op WHERE bucket = ? AND op_id <= ?",  # noqa: S608 - our own names
            (bucket_id, cleared.op_id),
        ).fetchall()
        count, puts, checksum = found[0]
        # A CLEAR that says less or more than what it replaces would break the bucket for every client: rather none.
        assert (count, puts) == (cleared.op_count, 0), "a CLEAR replaces the whole prefix, and no object that is left"
        assert to_unsigned32(checksum) == to_unsigned32(cleared.checksum), "a CLEAR keeps the sum of what it replaces"
        self._connection.execute("DELETE FROM op WHERE bucket = ? AND op_id < ?", (bucket_id, cleared.op_id)).fetchall()
        removed = self._connection.changes()
        assert removed == cleared.op_count - 1, "a CLEAR stands at the last op that it replaces"
        self._connection.execute(
            _MAKE_CLEAR, (to_unsigned32(cleared.checksum), cleared.target_op, cleared.op_id, bucket_id)
        ).fetchall()
        self._connection.execute(_SHRINK_BUCKET, (removed, cleared.op_id, bucket_id)).fetchall()
