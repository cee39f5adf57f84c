"""Reading operations: one statement for all buckets, which stops where enough has been read."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import psycopg

from syncline.storage.model import OpChunk, OpRow
from syncline.storage.postgres.connection import Row
from syncline.storage.postgres.encoding import op_from_row
from syncline.storage.postgres.statements import SchemaSql, name_key

__all__ = ["read_chunks"]

READ_BYTES_MAX = 16_000_000  # bytes of row data that one statement reads, the first row apart

# The inner query depends on the outer row, so that a nested loop in the order of the positions is the only plan there is; it stops at
# its LIMIT. What is beyond the bytes comes without data: it only tells that there is more.
_CHUNKS = """
SELECT place, op_id, kind, object_type, object_id, checksum, subkey,
       CASE WHEN before <= %(bytes_max)b THEN data END, target_op, before <= %(bytes_max)b
  FROM (
       SELECT r.*, sum(octet_length(coalesce(r.data, ''))) OVER (ORDER BY r.place, r.op_id) - octet_length(coalesce(r.data, '')) AS before
         FROM (
              SELECT p.place, o.*
                FROM unnest(%(keys)b::bytea[], %(afters)b::bigint[]) WITH ORDINALITY AS p (key, after, place)
               CROSS JOIN LATERAL (
                     SELECT * FROM {schema}.op
                      WHERE bucket_id = (SELECT id FROM {schema}.bucket WHERE name_key = p.key) AND op_id > p.after
                        AND op_id <= %(checkpoint_op)b
                      ORDER BY op_id LIMIT %(rows_max)b) AS o
               LIMIT %(rows_max)b) AS r) AS sized
 ORDER BY place, op_id
"""


async def read_chunks(
    connection: psycopg.AsyncConnection[Row],
    sql: SchemaSql,
    positions: Sequence[tuple[str, int]],
    checkpoint_op: int,
    *,
    ops_max: int,
    chunk_ops_max: int,
    chunk_bytes_max: int,
) -> list[OpChunk]:
    """See `syncline.storage.base.StorageReader.chunks`."""
    parameters: dict[str, Any] = {
        "keys": [name_key(bucket) for bucket, _ in positions],
        "afters": [after for _, after in positions],
        "checkpoint_op": checkpoint_op,
        "bytes_max": READ_BYTES_MAX,
        "rows_max": ops_max + 1,  # one more than may be sent tells whether there is more
    }
    cursor = connection.cursor(binary=True)
    await cursor.execute(sql(_CHUNKS), parameters, prepare=True)
    rows = await cursor.fetchall()
    chunks: list[OpChunk] = []
    left = ops_max
    last_place = 0
    for place, group in groupby(rows, key=_place):
        assert place > last_place, "rows come in the order of the positions"
        last_place = place
        bucket, after = positions[place - 1]
        of_bucket = list(group)
        ops = [op_from_row(row[1:9]) for row in of_bucket if row[9]]
        cut = len(ops) < len(of_bucket)
        if left <= 0:
            break
        taken = _cut(
            bucket, after, ops, cut=cut, left=left, chunk_ops_max=chunk_ops_max, chunk_bytes_max=chunk_bytes_max
        )
        chunks += taken
        left -= sum(len(chunk.ops) for chunk in taken)
    return chunks


def _place(row: Row) -> int:
    return row[0]


def _cut(
    bucket: str, after: int, ops: list[OpRow], *, cut: bool, left: int, chunk_ops_max: int, chunk_bytes_max: int
) -> list[OpChunk]:
    """At most `left` operations in chunks. `cut`: the bucket has more than these."""
    chunks: list[OpChunk] = []
    start = 0
    while start < len(ops) and left > 0:
        end = _chunk_end(ops, start, ops_max=min(left, chunk_ops_max), bytes_max=chunk_bytes_max)
        chunk = ops[start:end]
        chunks.append(OpChunk(bucket, after, chunk[-1].op_id, cut or end < len(ops), chunk))
        after, left, start = chunk[-1].op_id, left - len(chunk), end
    return chunks


def _chunk_end(ops: Sequence[OpRow], start: int, *, ops_max: int, bytes_max: int) -> int:
    """Where the chunk that begins at `start` ends: at least one operation, then as many as fit."""
    size = 0
    for index in range(start, min(start + ops_max, len(ops))):
        data = ops[index].data
        size += len(data) if data else 0
        if index > start and size > bytes_max:
            return index
    return min(start + ops_max, len(ops))
