"""Reading operations. Each row costs about a microsecond, so the loop over them does only what must be done for each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import apsw

from syncline.storage.chunking import cut_into_chunks
from syncline.storage.model import OpChunk, StoredOp
from syncline.storage.sqlite.stored_rows import OP_COLUMNS

__all__ = ["READ_BYTES_MAX", "read_chunks"]

READ_BYTES_MAX = (
    4_000_000  # characters of row data of one read, the first row apart: what a session holds for its client
)

_OPS = (
    f"SELECT {OP_COLUMNS} FROM op"  # noqa: S608 - our own names
    " WHERE bucket = (SELECT id FROM bucket WHERE name = ?) AND op_id > ? AND op_id <= ? ORDER BY op_id LIMIT ?"
)


def read_chunks(
    connection: apsw.Connection,
    positions: Sequence[tuple[str, int]],
    checkpoint_op: int,
    *,
    ops_max: int,
    chunk_ops_max: int,
    chunk_bytes_max: int,
) -> list[OpChunk]:
    """See `syncline.storage.base.StorageReader.chunks`."""
    chunks: list[OpChunk] = []
    ops_left, bytes_left = ops_max, READ_BYTES_MAX
    for bucket, after in positions:
        if ops_left <= 0 or bytes_left <= 0:
            break
        # One more than may be sent: it tells whether there is more.
        cursor = connection.execute(_OPS, (bucket, after, checkpoint_op, ops_left + 1))
        rows, size = _take(cast("Iterable[StoredOp]", cursor), bytes_max=bytes_left)
        cut = size > bytes_left or len(rows) > ops_left
        if len(rows) > ops_left or (size > bytes_left and len(rows) > 1):
            size -= len(rows.pop()[6] or "")
        chunks += cut_into_chunks(
            bucket,
            after,
            rows,
            cut=cut,
            data_size=size,
            ops_max=chunk_ops_max,
            bytes_max=chunk_bytes_max,
        )
        ops_left -= len(rows)
        bytes_left = 0 if cut else bytes_left - size
    return chunks


def _take(rows: Iterable[StoredOp], *, bytes_max: int) -> tuple[list[StoredOp], int]:
    """Operations up to the one that goes beyond `bytes_max`, that one included; and the size of their data."""
    taken: list[StoredOp] = []
    size = 0
    for row in rows:
        taken.append(row)
        if row[6] is not None:
            size += len(row[6])
            if size > bytes_max:
                break
    return taken, size
