"""Reading operations: one statement for all buckets, which stops where enough has been read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import psycopg

from syncline.storage.chunking import cut_into_chunks
from syncline.storage.model import OpChunk, StoredOp
from syncline.storage.postgres.connection import Row
from syncline.storage.postgres.encoding import KIND_MASK, unescaped
from syncline.storage.postgres.statements import SchemaSql, name_key

__all__ = ["READ_BYTES_MAX", "read_chunks"]

READ_BYTES_MAX = 4_000_000  # bytes of row data of one read, the first row apart: what a session holds for its client
LARGE_ROW_BYTES = (
    4_000  # bytes of row data above which it is read by a statement of its own, as far as READ_BYTES_MAX goes
)

# The inner query depends on the outer row, so that a nested loop in the order of the positions is the only plan there is; it stops at
# its LIMIT. Large data is left out at first, with its size in its place: the row itself stays small.
_CHUNKS = """
SELECT p.place, o.op_id, o.kind, o.object_type, o.object_id, o.checksum, o.subkey,
       CASE WHEN octet_length(o.data) <= %(large)b THEN o.data END, o.target_op,
       CASE WHEN octet_length(o.data) > %(large)b THEN octet_length(o.data) END
  FROM unnest(%(keys)b::bytea[], %(afters)b::bigint[]) WITH ORDINALITY AS p (key, after, place)
 CROSS JOIN LATERAL (
       SELECT * FROM {schema}.op
        WHERE bucket_id = (SELECT id FROM {schema}.bucket WHERE name_key = p.key) AND op_id > p.after
          AND op_id <= %(checkpoint_op)b
        ORDER BY op_id LIMIT %(rows_max)b) AS o
 LIMIT %(rows_max)b
"""
_DATA = """
SELECT op_id, data FROM {schema}.op
 WHERE bucket_id = (SELECT id FROM {schema}.bucket WHERE name_key = %(key)b) AND op_id = ANY (%(ops)b::bigint[])
"""


@dataclass(frozen=True, slots=True)
class _BucketRows:
    """What is taken of one bucket. `cut`: it has more."""

    bucket: str
    after: int
    rows: Sequence[Row]
    cut: bool
    data_size: int
    large_ops: Sequence[int]  # whose data is not in their rows


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
        "large": LARGE_ROW_BYTES,
        "rows_max": ops_max + 1,  # one more than may be sent tells whether there is more
    }
    found = _by_bucket(await _fetch(connection, sql(_CHUNKS), parameters), positions, ops_max)
    large: dict[int, str] = {}
    if any(each.large_ops for each in found):
        async with connection.transaction():  # both statements see one state: compaction may take data away in between
            found = _by_bucket(await _fetch(connection, sql(_CHUNKS), parameters), positions, ops_max)
            for each in found:
                asked = {"key": name_key(each.bucket), "ops": list(each.large_ops)}
                large |= dict(await _fetch(connection, sql(_DATA), asked)) if each.large_ops else {}
    return [
        chunk
        for each in found
        for chunk in cut_into_chunks(
            each.bucket,
            each.after,
            [_stored_op(row, large) for row in each.rows],
            cut=each.cut,
            data_size=each.data_size,
            ops_max=chunk_ops_max,
            bytes_max=chunk_bytes_max,
        )
    ]


async def _fetch(connection: psycopg.AsyncConnection[Row], statement: bytes, parameters: dict[str, Any]) -> list[Row]:
    cursor = connection.cursor(binary=True)
    await cursor.execute(statement, parameters, prepare=True)
    return await cursor.fetchall()


def _by_bucket(rows: Sequence[Row], positions: Sequence[tuple[str, int]], ops_max: int) -> list[_BucketRows]:
    found: list[_BucketRows] = []
    ops_left, bytes_left = ops_max, READ_BYTES_MAX
    last_place = 0
    for place, group in groupby(rows, key=_place):
        assert place > last_place, "rows come in the order of the positions"
        last_place = place
        if ops_left <= 0 or bytes_left <= 0:
            break
        bucket, after = positions[place - 1]
        of_bucket = list(group)
        taken, size = _fitting(of_bucket, ops_max=ops_left, bytes_max=bytes_left)
        cut = len(taken) < len(of_bucket)
        large = [row[1] for row in taken if row[9] is not None]
        found.append(_BucketRows(bucket, after, taken, cut, size, large))
        ops_left, bytes_left = ops_left - len(taken), 0 if cut else bytes_left - size
    return found


def _place(row: Row) -> int:
    return row[0]


def _fitting(rows: list[Row], *, ops_max: int, bytes_max: int) -> tuple[list[Row], int]:
    """The first rows, as many as fit, at least one; and the size of their data."""
    taken = rows[:ops_max]
    size = 0
    for index, row in enumerate(taken):
        data = row[7]
        more = len(data) if data is not None else row[9] or 0
        if index and size + more > bytes_max:
            return taken[:index], size
        size += more
    return taken, size


def _stored_op(row: Row, large: dict[int, str]) -> StoredOp:
    if row[9] is None and row[2] <= KIND_MASK:
        return row[1:9]  # pyright: ignore[reportReturnType] - the columns of a stored op
    return unescaped((*row[1:7], row[7] if row[9] is None else large[row[1]], row[8]))
