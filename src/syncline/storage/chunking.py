"""PURE: cutting operations of a bucket into chunks."""

from __future__ import annotations

from collections.abc import Sequence

from syncline.storage.model import OpChunk, StoredOp, StoredOps

__all__ = ["cut_into_chunks"]


def cut_into_chunks(
    bucket: str,
    after: int,
    rows: Sequence[StoredOp],
    *,
    cut: bool,
    data_size: int,
    ops_max: int,
    bytes_max: int,
) -> list[OpChunk]:
    """Consecutive operations above `after` in chunks of at most `ops_max`, and about `bytes_max` of row data.

    `cut`: the bucket has more than these. `data_size` is the size of all their data: where it is small, no single one is looked at.
    """
    chunks: list[OpChunk] = []
    start = 0
    while start < len(rows):
        end = min(start + ops_max, len(rows))
        if data_size > bytes_max:
            end = _fitting(rows, start, end, bytes_max)
        next_after = rows[end - 1][0]
        chunks.append(OpChunk(bucket, after, next_after, cut or end < len(rows), StoredOps(rows[start:end])))
        after, start = next_after, end
    return chunks


def _fitting(rows: Sequence[StoredOp], start: int, end: int, bytes_max: int) -> int:
    """Where the chunk that begins at `start` ends: at least one operation, then as many as fit, up to `end`."""
    size = 0
    for index in range(start, end):
        data = rows[index][6]
        size += len(data) if data else 0
        if index > start and size > bytes_max:
            return index
    return end
