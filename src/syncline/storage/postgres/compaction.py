"""Compaction, as far as storage does it: reading backwards, and changing in bounded transactions.

What to change is decided in `syncline.storage.compaction`.
"""

from __future__ import annotations

from syncline.protocol.ops import OpType, to_unsigned32
from syncline.storage.model import OP_CODES, BucketSize, ClearedPrefix, CompactedOps, OpRow
from syncline.storage.postgres.encoding import KIND_MASK, OP_COLUMNS, op_from_row
from syncline.storage.postgres.statements import name_key
from syncline.storage.postgres.transactions import WriteConnection, WriteTransaction

__all__ = ["apply", "delete_lookups", "finish", "read_candidates", "read_ops_before"]

_PUT, _REMOVE, _MOVE, _CLEAR = (OP_CODES[op] for op in (OpType.PUT, OpType.REMOVE, OpType.MOVE, OpType.CLEAR))

# The slot that a reader at the visible checkpoint takes; what lies above it is not looked at.
_CANDIDATES = """
SELECT name, visible_count, visible_count - compacted_op_count FROM (
  SELECT b.name, b.compacted_op_count, CASE WHEN b.op <= v.checkpoint_op THEN b.op_count ELSE b.old_op_count END AS visible_count
    FROM {schema}.bucket b JOIN {schema}.version v ON v.number = b.version WHERE b.version = %s) AS counted
 WHERE visible_count > compacted_op_count ORDER BY 3 DESC, name LIMIT %s
"""
# A bucket and the op id up to which it is visible; not of a version that is being dropped.
_VISIBLE = """
SELECT b.id, coalesce(v.checkpoint_op, 0) FROM {schema}.bucket b JOIN {schema}.version v ON v.number = b.version
 WHERE b.name_key = %s AND v.state <> 'stopped'
"""
# Without data: a page of large rows would not fit into memory, and data decides nothing.
_OPS_BEFORE = (
    f"SELECT {OP_COLUMNS.replace('data', 'NULL::text')} FROM {{schema}}.op"  # noqa: S608 - our own names
    " WHERE bucket_id = %s AND op_id < %s ORDER BY op_id DESC LIMIT %s"
)
_MAKE_MOVE = f"""
UPDATE {{schema}}.op o
   SET kind = {_MOVE}, object_type = NULL, object_id = NULL, subkey = NULL, data = NULL, target_op = m.target_op
  FROM unnest(%b::bigint[], %b::bigint[]) AS m (op_id, target_op)
 WHERE o.bucket_id = %b AND o.op_id = m.op_id AND o.kind & {KIND_MASK} IN ({_PUT}, {_REMOVE})
"""  # noqa: S608 - of constants
_PREFIX = f"""
SELECT count(*), count(*) FILTER (WHERE kind & {KIND_MASK} = {_PUT}), coalesce(sum(checksum), 0)::bigint
  FROM {{schema}}.op WHERE bucket_id = %s AND op_id <= %s
"""  # noqa: S608 - of constants
_DELETE_PREFIX = "DELETE FROM {schema}.op WHERE bucket_id = %s AND op_id < %s"
_MAKE_CLEAR = f"""
UPDATE {{schema}}.op
   SET kind = {_CLEAR}, object_type = NULL, object_id = NULL, subkey = NULL, data = NULL, checksum = %s, target_op = %s
 WHERE bucket_id = %s AND op_id = %s
"""  # noqa: S608 - of constants
# Slot 0 counts what was cleared only where it is above it; else it lies in the past, and no reader takes it any more.
_SHRINK = """
UPDATE {schema}.bucket
   SET op_count = op_count - %(gone)s,
       old_op_count = old_op_count - CASE WHEN old_op >= %(cleared)s THEN %(gone)s ELSE 0 END,
       compacted_op_count = compacted_op_count - %(gone)s
 WHERE id = %(bucket)s
"""
_FINISH = "UPDATE {schema}.bucket SET compacted_op_count = compacted_op_count + %s WHERE id = %s"

_LOOKUPS_MARK = """
SELECT lookups_compacted_op, coalesce(checkpoint_op, 0) FROM {schema}.version WHERE number = %s
"""
_LOOKUPS = """
SELECT lookup_key, table_id, row_key, op_id, output IS NULL FROM {schema}.lookup_entry
 WHERE version = %s AND op_id > %s AND op_id < %s ORDER BY op_id LIMIT %s
"""
_DELETE_LOOKUPS = """
DELETE FROM {schema}.lookup_entry o
 USING unnest(%b::bytea[], %b::bigint[], %b::bytea[], %b::bigint[]) AS k (lookup_key, table_id, row_key, below)
 WHERE o.version = %b AND o.lookup_key = k.lookup_key AND o.table_id = k.table_id AND o.row_key = k.row_key AND o.op_id < k.below
"""


def read_candidates(connection: WriteConnection, version: int, buckets_max: int) -> list[BucketSize]:
    """Buckets with visible ops that were appended since they were compacted last."""
    return [BucketSize(*row) for row in connection.read(_CANDIDATES, (version, buckets_max))]


def read_ops_before(connection: WriteConnection, bucket: str, *, before: int | None, ops_max: int) -> list[OpRow]:
    """A page of a bucket's visible ops without their data, newest first."""
    found = connection.read(_VISIBLE, (name_key(bucket),))
    if not found:
        return []
    bucket_id, visible = found[0]
    below = visible + 1 if before is None else min(before, visible + 1)
    return [op_from_row(row) for row in connection.read(_OPS_BEFORE, (bucket_id, below, ops_max))]


def apply(transaction: WriteTransaction, bucket: str, compacted: CompactedOps) -> None:
    """Turn ops into MOVE and a prefix into one CLEAR."""
    found = transaction.execute(_VISIBLE, (name_key(bucket),)).fetchone()
    if found is None:
        return
    bucket_id, visible = found
    if compacted.moves:
        assert all(op_id < target <= visible for op_id, target in compacted.moves), "only visible ops are compacted"
        moves = sorted(compacted.moves)
        transaction.execute(_MAKE_MOVE, ([op_id for op_id, _ in moves], [target for _, target in moves], bucket_id))
    if compacted.cleared is not None:
        assert compacted.cleared.op_id <= visible, "only visible ops are compacted"
        _clear(transaction, bucket_id, compacted.cleared)


def finish(transaction: WriteTransaction, bucket: str, new_ops: int) -> None:
    """The `new_ops` of this candidate were looked at."""
    found = transaction.execute(_VISIBLE, (name_key(bucket),)).fetchone()
    if found is not None:
        transaction.execute(_FINISH, (new_ops, found[0]))


def delete_lookups(transaction: WriteTransaction, version: int, before_op: int, rows_max: int) -> tuple[int, bool]:
    """Look at the next `rows_max` entries and delete what they replaced; how many those were, and whether all is looked at."""
    found = transaction.execute(_LOOKUPS_MARK, (version,)).fetchone()
    if found is None:
        return 0, True
    mark, visible = found
    entries = transaction.execute(_LOOKUPS, (version, mark, min(before_op, visible + 1), rows_max)).fetchall()
    if not entries:
        return 0, True
    below: dict[tuple[bytes, int, bytes], int] = {}
    for lookup_key, table_id, row_key, op_id, takes_back in entries:  # in order: the newest entry of a key decides
        below[bytes(lookup_key), table_id, bytes(row_key)] = op_id + takes_back
    keys = sorted(below)
    columns = [key[0] for key in keys], [key[1] for key in keys], [key[2] for key in keys], [below[key] for key in keys]
    deleted = transaction.execute(_DELETE_LOOKUPS, (*columns, version)).rowcount
    newest = "UPDATE {schema}.version SET lookups_compacted_op = %s WHERE number = %s"
    transaction.execute(newest, (entries[-1][3], version))
    return deleted, False


def _clear(transaction: WriteTransaction, bucket_id: int, cleared: ClearedPrefix) -> None:
    count, puts, checksum = transaction.one(_PREFIX, (bucket_id, cleared.op_id))
    # A CLEAR that says less or more than what it replaces would break the bucket for every client: rather none.
    assert (count, puts) == (cleared.op_count, 0), "a CLEAR replaces the whole prefix, and no object that is left"
    assert to_unsigned32(checksum) == to_unsigned32(cleared.checksum), "a CLEAR keeps the sum of what it replaces"
    gone = transaction.execute(_DELETE_PREFIX, (bucket_id, cleared.op_id)).rowcount
    assert gone == cleared.op_count - 1, "a CLEAR stands at the last op that it replaces"
    values = (to_unsigned32(cleared.checksum), cleared.target_op, bucket_id, cleared.op_id)
    transaction.execute(_MAKE_CLEAR, values)
    shrink = {"gone": gone, "cleared": cleared.op_id, "bucket": bucket_id}
    transaction.connection.execute(transaction.sql(_SHRINK), shrink)
