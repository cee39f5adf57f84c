"""What the suites write and read, with defaults for what does not matter to a test."""

from __future__ import annotations

from collections.abc import Sequence

from syncline.protocol.ops import OpType, put_checksum, remove_checksum
from syncline.storage.base import StorageReader, StorageWriter
from syncline.storage.compaction import BucketCompaction
from syncline.storage.model import BucketTotals, Checkpoint, FlushBatch, Lookup, NewOp, OpRow
from tests.support.sync_config import buckets_of_lookup, fixed_buckets

__all__ = ["begun", "committed", "compact", "lookup", "names_of", "ops_of", "put", "remove", "totals_of"]


def put(bucket: str, object_id: str, text: str = "{}") -> NewOp:
    """A PUT of one object."""
    return NewOp(
        bucket, OpType.PUT, "todos", object_id, put_checksum("todos", object_id, text), f"key-{object_id}", text
    )


def remove(bucket: str, object_id: str) -> NewOp:
    """A REMOVE of one object."""
    subkey = f"key-{object_id}"
    return NewOp(bucket, OpType.REMOVE, "todos", object_id, remove_checksum(subkey), subkey, None)


def lookup(name: str, output: str | None, *, key: bytes = b"k") -> Lookup:
    """An entry of a lookup; `output` None takes it back."""
    return Lookup(1, key, name, output)


def begun(writer: StorageWriter, number: int = 10) -> int:
    """A version whose (empty) snapshot is done."""
    writer.start_version(number, sync_config="streams: {}", slot_name="slot", source_identity="source")
    writer.finish_snapshot(number)
    return number


def committed(
    writer: StorageWriter, version: int, position: str, *ops: NewOp, lookups: Sequence[Lookup] = ()
) -> Checkpoint:
    """Flush and make visible."""
    writer.flush(version, FlushBatch(ops=list(ops), lookups=list(lookups)))
    checkpoint = writer.commit(version, position)
    assert checkpoint is not None
    return checkpoint


def compact(
    writer: StorageWriter, bucket: str, *, page_ops: int = 3, clear_ops_max: int = 4, finish: bool = True
) -> int:
    """Compact one bucket in small steps; how many changes there were."""
    sizes = writer.compaction_candidates(int(bucket.split("#")[0]), buckets_max=1_000)
    new_ops = sum(size.new_ops for size in sizes if size.bucket == bucket)
    run, changes = BucketCompaction(clear_ops_max=clear_ops_max), 0
    while not run.is_done:
        for compacted in run.feed(writer.ops_before(bucket, before=run.before, ops_max=page_ops)):
            writer.apply_compaction(bucket, compacted)
            changes += 1
    if finish:
        writer.finish_compaction(bucket, new_ops=new_ops)
    return changes


async def totals_of(reader: StorageReader, version: int, *names: str) -> dict[str, BucketTotals]:
    """Totals at the newest checkpoint."""
    view = await reader.view(version, fixed_buckets(*names))
    assert view is not None
    return view.totals


async def names_of(reader: StorageReader, version: int, name: str) -> list[str]:
    """Outputs of a lookup at the newest checkpoint."""
    view = await reader.view(version, buckets_of_lookup(name))
    assert view is not None
    return [bucket.name for bucket in view.resolved.buckets]


async def ops_of(reader: StorageReader, bucket: str, *, checkpoint_op: int, after: int = 0) -> list[OpRow]:
    """Operations of a bucket up to a checkpoint, as a client above `after` gets them."""
    chunks = await reader.chunks(
        int(bucket.split("#")[0]),
        [(bucket, after)],
        checkpoint_op=checkpoint_op,
        ops_max=10_000,
        chunk_ops_max=10_000,
        chunk_bytes_max=10_000_000,
    )
    return [op for chunk in chunks for op in chunk.ops]
