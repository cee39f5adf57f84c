"""What one flush writes: operations and totals, lookups, custom write checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import psycopg

from syncline.failpoints import failpoint
from syncline.storage.model import OP_CODES, FlushBatch, NewOp
from syncline.storage.postgres.connection import Row
from syncline.storage.postgres.encoding import escaped
from syncline.storage.postgres.statements import name_key, user_key_bytes
from syncline.storage.postgres.transactions import WriteTransaction

__all__ = [
    "is_small",
    "write_custom_write_checkpoints",
    "write_few_lookups",
    "write_few_ops",
    "write_lookups",
    "write_ops",
]

SMALL_ROWS_MAX = 100  # operations, lookups and current rows of a batch up to which it is written without COPY

# Slot 1 moves to slot 0 only where it is visible already; see the comment at the table.
_ADD_TO_BUCKETS = """
WITH visible AS (SELECT coalesce(max(checkpoint_op), 0) AS op_id FROM {schema}.version WHERE number = %b)
INSERT INTO {schema}.bucket AS b (version, name_key, name, op, checksum, op_count)
SELECT %b, a.name_key, a.name, a.op, a.checksum, a.op_count
  FROM unnest(%b::bytea[], %b::text[], %b::bigint[], %b::bigint[], %b::bigint[]) AS a (name_key, name, op, checksum, op_count)
    ON CONFLICT (name_key) DO UPDATE SET
       old_op = CASE WHEN b.op <= (SELECT op_id FROM visible) THEN b.op ELSE b.old_op END,
       old_checksum = CASE WHEN b.op <= (SELECT op_id FROM visible) THEN b.checksum ELSE b.old_checksum END,
       old_op_count = CASE WHEN b.op <= (SELECT op_id FROM visible) THEN b.op_count ELSE b.old_op_count END,
       op = excluded.op,
       checksum = (b.checksum + excluded.checksum) & 4294967295,
       op_count = b.op_count + excluded.op_count
RETURNING b.name, b.id
"""
_COPY_OPS = """
COPY {schema}.op (bucket_id, op_id, kind, object_type, object_id, checksum, subkey, data) FROM STDIN (FORMAT binary)
"""
_INSERT_OPS = """
INSERT INTO {schema}.op (bucket_id, op_id, kind, object_type, object_id, checksum, subkey, data)
SELECT b.id, o.op_id, o.kind, o.object_type, o.object_id, o.checksum, o.subkey, o.data
  FROM unnest(%b::bytea[], %b::bigint[], %b::smallint[], %s::text[], %s::text[], %b::bigint[], %s::text[], %s::text[])
       AS o (name_key, op_id, kind, object_type, object_id, checksum, subkey, data)
  JOIN {schema}.bucket b ON b.name_key = o.name_key
"""
_OP_TYPES = ("int8", "int8", "int2", "text", "text", "int8", "text", "text")
_COPY_LOOKUPS = """
COPY {schema}.lookup_entry (version, lookup_key, table_id, row_key, op_id, lookup, output) FROM STDIN (FORMAT binary)
"""
_INSERT_LOOKUPS = """
INSERT INTO {schema}.lookup_entry (version, lookup_key, table_id, row_key, op_id, lookup, output)
SELECT * FROM unnest(%b::bigint[], %b::bytea[], %b::bigint[], %b::bytea[], %b::bigint[], %s::text[], %s::text[])
"""
_LOOKUP_TYPES = ("int8", "bytea", "int8", "bytea", "int8", "text", "text")

_CHECKPOINT_OP = "SELECT coalesce(checkpoint_op, 0) FROM {schema}.version WHERE number = %s"
_CUSTOM = """
INSERT INTO {schema}.custom_write_checkpoint (version, user_key_hash, op_id, user_key, value)
SELECT %b, c.hash, %b, c.user_key, c.value FROM unnest(%b::bytea[], %b::bytea[], %b::bigint[]) AS c (hash, user_key, value)
"""
# All but the newest that is visible is of no use to anybody.
_FORGET_CUSTOM = """
DELETE FROM {schema}.custom_write_checkpoint o
 USING unnest(%b::bytea[]) AS c (hash)
 WHERE o.version = %b AND o.user_key_hash = c.hash AND EXISTS (
       SELECT FROM {schema}.custom_write_checkpoint n
        WHERE n.version = o.version AND n.user_key_hash = o.user_key_hash AND n.op_id > o.op_id AND n.op_id <= %b)
"""


def is_small(batch: FlushBatch) -> bool:
    """Whether statements with arrays are faster than COPY: fewer ways there and back, more work for each row."""
    return len(batch.ops) + len(batch.lookups) + len(batch.rows) <= SMALL_ROWS_MAX


def write_few_ops(transaction: WriteTransaction, version: int, batch: FlushBatch, first_op: int) -> None:
    """As `write_ops`, without waiting for an answer in between."""
    _add_to_buckets(transaction, version, batch.ops, first_op)
    failpoint("between-ops-and-totals")
    rows = [_op_fields(op_id, new) for op_id, new in enumerate(batch.ops, start=first_op)]
    columns = [list(column) for column in zip(*rows, strict=True)]
    transaction.execute(_INSERT_OPS, ([name_key(new.bucket) for new in batch.ops], *columns))


def write_ops(transaction: WriteTransaction, version: int, batch: FlushBatch, first_op: int) -> None:
    """Append the operations from `first_op` on, and bring the totals of their buckets forward."""
    bucket_ids = dict(_add_to_buckets(transaction, version, batch.ops, first_op).fetchall())
    failpoint("between-ops-and-totals")
    rows = [(bucket_ids[new.bucket], *_op_fields(op_id, new)) for op_id, new in enumerate(batch.ops, start=first_op)]
    if len(bucket_ids) > 1:
        rows.sort()  # by bucket, then op id: neighbours go to the same page of the index
    with transaction.connection.cursor().copy(transaction.sql(_COPY_OPS)) as copy:
        copy.set_types(_OP_TYPES)
        write_row = copy.write_row
        for row in rows:
            write_row(row)


def _op_fields(op_id: int, new: NewOp) -> tuple[int, int, str, str, int, str, str | None]:
    """The columns of an operation from its op id on."""
    _, op, object_type, object_id, checksum, subkey, data = new
    kind = OP_CODES[op]
    if "\0" in object_id or "\0" in object_type:
        kind, object_type, object_id = escaped(kind, object_type, object_id)
    return op_id, kind, object_type, object_id, checksum, subkey, data


def _add_to_buckets(
    transaction: WriteTransaction, version: int, ops: Sequence[NewOp], first_op: int
) -> psycopg.Cursor[Row]:
    """Bring totals forward, in the order of the keys; the cursor gives name and id of each bucket."""
    added: dict[str, list[int]] = {}  # bucket -> last op, sum of checksums, number of ops
    for op_id, new in enumerate(ops, start=first_op):
        totals = added.get(new.bucket)
        if totals is None:
            added[new.bucket] = [op_id, new.checksum, 1]
        else:
            totals[0] = op_id
            totals[1] += new.checksum
            totals[2] += 1
    keyed = sorted((name_key(name), name) for name in added)
    sums = [added[name] for _, name in keyed]
    parameters = (
        version,
        version,
        [key for key, _ in keyed],
        [name for _, name in keyed],
        [op for op, _, _ in sums],
        [checksum & 0xFFFFFFFF for _, checksum, _ in sums],
        [count for _, _, count in sums],
    )
    return transaction.execute(_ADD_TO_BUCKETS, parameters)


def write_few_lookups(transaction: WriteTransaction, version: int, batch: FlushBatch, first_op: int) -> None:
    """As `write_lookups`, without waiting for an answer."""
    rows = _lookup_rows(version, batch, first_op)
    transaction.execute(_INSERT_LOOKUPS, tuple(list(column) for column in zip(*rows, strict=True)))


def _lookup_rows(
    version: int, batch: FlushBatch, first_op: int
) -> list[tuple[int, bytes, int, bytes, int, str, str | None]]:
    """Rows of the table in the order of its columns; op ids differ, so that sorting never comes to the outputs."""
    return [
        (version, name_key(entry.lookup), entry.table_id, entry.row_key, op_id, entry.lookup, entry.output)
        for op_id, entry in enumerate(batch.lookups, start=first_op)
    ]


def write_lookups(transaction: WriteTransaction, version: int, batch: FlushBatch, first_op: int) -> None:
    """Append the lookup entries from `first_op` on."""
    rows = sorted(_lookup_rows(version, batch, first_op))
    with transaction.connection.cursor().copy(transaction.sql(_COPY_LOOKUPS)) as copy:
        copy.set_types(_LOOKUP_TYPES)
        for row in rows:
            copy.write_row(row)


def write_custom_write_checkpoints(transaction: WriteTransaction, version: int, batch: FlushBatch, op_id: int) -> None:
    """Remember them under one op id, with which they become visible."""
    users = [user_key_bytes(user_key) for user_key in batch.custom_write_checkpoints]
    hashes = [blake2b(user, digest_size=16).digest() for user in users]
    values = list(batch.custom_write_checkpoints.values())
    transaction.execute(_CUSTOM, (version, op_id, hashes, users, values))
    visible = transaction.one(_CHECKPOINT_OP, (version,))[0]
    transaction.execute(_FORGET_CUSTOM, (hashes, version, visible))
