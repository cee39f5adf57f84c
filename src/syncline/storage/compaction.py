"""PURE: which operations of a bucket can shrink to a checksum, without any client seeing another state (replication reference, 8).

    MOVE    a PUT or REMOVE whose key has a newer operation: only its checksum and the newer op's id (`target_op`) are left
    CLEAR   the longest beginning of a bucket without any PUT: one operation at the id of the last, with the sum of the checksums

The bucket is read from the newest operation to the oldest, in pages that the caller reads. A client that is sent such an operation at a
checkpoint below its target op must not be told that the checkpoint is complete: the row is missing there (`syncline.sync.session`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from syncline.protocol.ops import OpType, add_checksums
from syncline.storage.model import ClearedPrefix, CompactedOps, OpRow

__all__ = ["CLEAR_OPS_MAX", "KEYS_MAX", "BucketCompaction"]

KEYS_MAX = (
    200_000  # keys remembered at a time, about 250 bytes each; a bucket with more of them is read again from there on
)
CLEAR_OPS_MAX = 5_000  # operations that one CLEAR takes in at a time: what one storage transaction deletes


class _Segment(NamedTuple):
    """Neighbouring operations that are no PUT; `op_id` is the newest of them."""

    op_id: int
    checksum: int
    op_count: int
    target_op: int | None


class BucketCompaction:
    """One run over one bucket. Until `is_done`: read a page of ops below `before`, `feed` it, make the changes in their order.

    Stopping anywhere leaves a bucket that is right. Operations that are appended meanwhile lie above, and wait for the next run.
    """

    def __init__(self, *, keys_max: int = KEYS_MAX, clear_ops_max: int = CLEAR_OPS_MAX) -> None:
        assert keys_max >= 1, "without a key, nothing is ever superseded"
        assert clear_ops_max >= 1, "a CLEAR that takes nothing in would never end"
        self._keys_max = keys_max
        self._clear_ops_max = clear_ops_max
        self._newest: dict[str, int] = {}  # key -> id of its newest op
        self._run: list[
            _Segment
        ] = []  # the operations without a PUT that end at the last one fed, the newest segment first
        self._full: tuple[int, list[_Segment]] | None = None  # where the keys ran out, and the run as it was there
        self.before: int | None = None
        self.is_done = False

    def feed(self, page: Sequence[OpRow]) -> list[CompactedOps]:
        """Take the next ops below `before`, the newest first; an empty page is the bucket's end. Each answer is one transaction."""
        assert not self.is_done, "the run is over"
        if not page:
            return self._reach_end()
        moves: list[tuple[int, int]] = []
        for op in page:
            assert self.before is None or op.op_id < self.before, "operations come from the newest to the oldest"
            self.before = op.op_id
            target = self._superseded_by(op)
            if target is not None:
                moves.append((op.op_id, target))
                self._extend_run(op, target)
            elif op.op is OpType.PUT:
                self._run = []
            else:
                self._extend_run(op, op.target_op)
        return [CompactedOps(moves=tuple(moves))] if moves else []

    def _superseded_by(self, op: OpRow) -> int | None:
        """The newest op of the same key. The key is remembered where this is its newest, and there is room."""
        if op.op not in (OpType.PUT, OpType.REMOVE) or op.object_type is None or op.object_id is None:
            return None  # clients give such an operation no key: nothing supersedes it
        key = f"{op.object_type}/{op.object_id}/{'null' if op.subkey is None else op.subkey}"
        newest = self._newest.get(key)
        if newest is None:
            if len(self._newest) < self._keys_max:
                self._newest[key] = op.op_id
            elif self._full is None:
                self._full = (op.op_id + 1, list(self._run))
        return newest

    def _extend_run(self, op: OpRow, target_op: int | None) -> None:
        last = self._run[-1] if self._run else None
        if last is None or last.op_count >= self._clear_ops_max:
            self._run.append(_Segment(op.op_id, op.checksum, 1, target_op))
        else:
            self._run[-1] = _Segment(
                last.op_id,
                add_checksums(last.checksum, op.checksum),
                last.op_count + 1,
                _newer(last.target_op, target_op),
            )

    def _reach_end(self) -> list[CompactedOps]:
        if self._full is not None:
            # What lies above is final. From here on, other keys are remembered; what the first ones superseded is MOVE by now.
            self.before, self._run = self._full
            self._full = None
            self._newest.clear()
            return []
        self.is_done = True
        return [CompactedOps(cleared=prefix) for prefix in self._cleared()]

    def _cleared(self) -> list[ClearedPrefix]:
        """The run as one CLEAR that grows segment by segment, from the oldest on."""
        prefixes: list[ClearedPrefix] = []
        before = _Segment(0, 0, 0, None)
        for segment in reversed(self._run):
            standing = 1 if before.op_count else 0  # the CLEAR so far, or a single operation before it
            before = _Segment(
                segment.op_id,
                add_checksums(before.checksum, segment.checksum),
                segment.op_count + standing,
                _newer(before.target_op, segment.target_op),
            )
            if before.op_count >= 2:
                prefixes.append(ClearedPrefix(before.op_id, before.checksum, before.op_count, before.target_op))
        return prefixes


def _newer(left: int | None, right: int | None) -> int | None:
    return right if left is None else left if right is None else max(left, right)
