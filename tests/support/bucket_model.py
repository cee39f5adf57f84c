"""What a client makes of a bucket's operations, by the rules of the protocol reference (3): the oracle for compaction."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from syncline.protocol.ops import OpType
from syncline.storage.model import CompactedOps, OpRow

__all__ = ["BucketModel", "compacted_ops", "reduced"]

Key = tuple[str | None, str | None, str | None]


@dataclass
class BucketModel:
    """One bucket on a client: its objects, and the checksum of everything that was received since the last CLEAR."""

    objects: dict[Key, str | None] = field(default_factory=dict[Key, "str | None"])
    checksum: int = 0
    position: int = 0
    clears: int = 0

    def receive(self, op: OpRow) -> None:
        """Take one operation."""
        assert op.op_id > self.position, "operations arrive in order"
        self.position = op.op_id
        key = (op.object_type, op.object_id, op.subkey)
        if op.op is OpType.CLEAR:
            self.objects.clear()
            self.checksum = 0
            self.clears += 1
        elif op.op is OpType.PUT:
            self.objects[key] = op.data
        elif op.op is OpType.REMOVE:
            self.objects.pop(key, None)
        self.checksum = (self.checksum + op.checksum) % 2**32

    @property
    def state(self) -> tuple[dict[Key, str | None], int]:
        """What must be equal however the client got here."""
        return self.objects, self.checksum


def reduced(ops: Iterable[OpRow], *, upto: int, client: BucketModel | None = None) -> BucketModel:
    """A client (a new one unless given) after the operations above its position up to an op id."""
    client = client or BucketModel()
    for op in ops:
        if client.position < op.op_id <= upto:
            client.receive(op)
    return client


def compacted_ops(ops: list[OpRow], change: CompactedOps) -> list[OpRow]:
    """A bucket after one change, as a storage makes it. Checks what a storage checks."""
    targets = dict(change.moves)
    assert all(op.op in (OpType.PUT, OpType.REMOVE) for op in ops if op.op_id in targets)
    left = [
        OpRow(op.op_id, OpType.MOVE, None, None, op.checksum, None, None, targets[op.op_id])
        if op.op_id in targets
        else op
        for op in ops
    ]
    if change.cleared is None:
        return left
    prefix = [op for op in left if op.op_id <= change.cleared.op_id]
    assert all(op.op is not OpType.PUT for op in prefix)
    assert len(prefix) == change.cleared.op_count >= 2
    assert prefix[-1].op_id == change.cleared.op_id
    assert sum(op.checksum for op in prefix) % 2**32 == change.cleared.checksum
    assert max((op.target_op or 0 for op in prefix), default=0) == (change.cleared.target_op or 0)
    clear = OpRow(
        prefix[-1].op_id, OpType.CLEAR, None, None, change.cleared.checksum, None, None, change.cleared.target_op
    )
    return [clear, *left[len(prefix) :]]
