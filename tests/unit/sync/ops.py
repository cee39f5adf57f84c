"""Operations for the tests of this folder."""

from __future__ import annotations

from collections.abc import Sequence

from syncline.storage.model import OpChunk, StoredOp, StoredOps

__all__ = ["chunk", "stored_put"]


def stored_put(op_id: int, *, data: str | None = None, checksum: int = 7) -> StoredOp:
    text = f'{{"id":"{op_id}"}}' if data is None else data
    return (op_id, 1, "lists", f"row-{op_id}", checksum, f"key-{op_id}", text, None)


def chunk(
    bucket: str = "1#a[]", after: int = 0, upto: int = 3, *, has_more: bool = False, rows: Sequence[StoredOp] = ()
) -> OpChunk:
    found = list(rows) or [stored_put(op_id) for op_id in range(after + 1, upto + 1)]
    return OpChunk(bucket, after, found[-1][0], has_more, StoredOps(found))
