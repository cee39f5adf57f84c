"""What one read brings is bounded in bytes too, whatever the rows are."""

from __future__ import annotations

import pytest

from syncline.protocol.ops import OpType, put_checksum
from syncline.storage.base import BucketStorage, StorageReader
from syncline.storage.model import FlushBatch, NewOp, OpChunk
from tests.conformance.storage_suite.builders import begun

__all__ = ["LargeRowSuite"]

READ_BYTES_MAX = 4_000_000  # of both storages, the first row apart
BUCKETS: tuple[str, ...] = ("10#a[]", "10#b[]")


def put(bucket: str, row_id: str, size: int) -> NewOp:
    data = '{"id":"' + row_id + '","text":"' + "x" * size + '"}'
    return NewOp(bucket, OpType.PUT, "t", row_id, put_checksum("t", row_id, data), f"key-{row_id}", data)


async def read_once(reader: StorageReader, positions: dict[str, int], checkpoint_op: int) -> list[OpChunk]:
    return await reader.chunks(
        10,
        list(positions.items()),
        checkpoint_op=checkpoint_op,
        ops_max=1000,
        chunk_ops_max=500,
        chunk_bytes_max=1_000_000,
    )


def data_bytes(chunks: list[OpChunk]) -> int:
    return sum(len(op.data or "") for chunk in chunks for op in chunk.ops)


class LargeRowSuite:
    """Rows of every size."""

    async def test_a_read_of_large_rows_is_bounded_in_bytes_and_the_next_goes_on(self, storage: BucketStorage) -> None:
        writer, reader = storage.open_writer(), storage.open_reader()
        begun(writer)
        sizes = [100, 50_000, 3000, 4200, 900_000, 10]
        rows = [put(BUCKETS[number % 2], f"row-{number}", sizes[number % len(sizes)]) for number in range(60)]
        last = writer.flush(10, FlushBatch(ops=rows))
        writer.commit(10, "1")
        positions = dict.fromkeys(BUCKETS, 0)
        found: dict[str, list[tuple[str | None, str | None]]] = {bucket: [] for bucket in BUCKETS}
        reads = 0
        while chunks := await read_once(reader, positions, last):
            reads += 1
            assert data_bytes(chunks) <= READ_BYTES_MAX + 1_000_000, "the limit, and a row"
            for chunk in chunks:
                assert chunk.after == positions[chunk.bucket]
                positions[chunk.bucket] = chunk.next_after
                found[chunk.bucket] += [(op.object_id, op.data) for op in chunk.ops]
                assert len(chunk.ops) == 1 or data_bytes([chunk]) <= 1_000_000
        assert reads > 2
        for bucket in BUCKETS:
            assert found[bucket] == [(op.object_id, op.data) for op in rows if op.bucket == bucket]
        writer.close()
        await reader.close()

    @pytest.mark.parametrize("size", [READ_BYTES_MAX + 1_000_000, 15 * 1024 * 1024])
    async def test_a_row_above_the_limit_comes_alone(self, storage: BucketStorage, size: int) -> None:
        writer, reader = storage.open_writer(), storage.open_reader()
        begun(writer)
        rows = [put("10#a[]", "large", size), put("10#a[]", "small", 10)]
        last = writer.flush(10, FlushBatch(ops=rows))
        writer.commit(10, "1")
        [chunk] = await read_once(reader, {"10#a[]": 0}, last)
        assert ([op.object_id for op in chunk.ops], chunk.has_more) == (["large"], True)
        assert chunk.ops[0].data == rows[0].data
        [chunk] = await read_once(reader, {"10#a[]": chunk.next_after}, last)
        assert ([op.object_id for op in chunk.ops], chunk.has_more) == (["small"], False)
        writer.close()
        await reader.close()
