"""What a reader sees, and from when on: ops, totals, checkpoints."""

from __future__ import annotations

from syncline.storage.base import BucketStorage
from syncline.storage.model import BucketTotals, Checkpoint, FlushBatch, Lookup, SnapshotState, VersionState
from tests.conformance.storage_suite.builders import begun, put, totals_of
from tests.support.sync_config import fixed_buckets

__all__ = ["VisibilitySuite"]


class VisibilitySuite:
    """What a reader sees, and from when on: ops, totals, checkpoints."""

    async def test_a_new_storage_serves_nothing(self, storage: BucketStorage) -> None:
        reader = storage.open_reader()
        assert await reader.active_version() is None
        assert await reader.checkpoint(10) is None
        assert await reader.view(10, fixed_buckets("10#a[]")) is None
        await reader.close()

    async def test_flushed_ops_are_invisible_until_the_commit(self, storage: BucketStorage) -> None:
        writer, reader = storage.open_writer(), storage.open_reader()
        version = begun(writer)
        writer.flush(version, FlushBatch(ops=[put("10#a[]", "1")]))
        assert await reader.checkpoint(version) is None
        assert writer.commit(version, "A") == Checkpoint(version, 1, "A")
        assert await reader.checkpoint(version) == Checkpoint(version, 1, "A")
        assert (await totals_of(reader, version, "10#a[]"))["10#a[]"].op_count == 1
        writer.close()
        await reader.close()

    async def test_a_reader_during_a_large_transaction_sees_the_totals_of_its_checkpoint(
        self, storage: BucketStorage
    ) -> None:
        writer, reader = storage.open_writer(), storage.open_reader()
        version = begun(writer)
        writer.flush(version, FlushBatch(ops=[put("10#a[]", "1")]))
        writer.commit(version, "A")
        before = await totals_of(reader, version, "10#a[]", "10#b[]")
        for number in range(3):  # three flushes of one source transaction
            writer.flush(version, FlushBatch(ops=[put("10#a[]", f"x{number}"), put("10#b[]", f"y{number}")]))
            assert await totals_of(reader, version, "10#a[]", "10#b[]") == before
        writer.commit(version, "B")
        after = await totals_of(reader, version, "10#a[]", "10#b[]")
        assert after["10#a[]"].op_count == 4
        assert after["10#b[]"].op_count == 3
        writer.close()
        await reader.close()

    async def test_totals_are_the_wrapping_sum_of_the_checksums(self, storage: BucketStorage) -> None:
        writer, reader = storage.open_writer(), storage.open_reader()
        version = begun(writer)
        ops = [put("10#a[]", str(number)) for number in range(50)]
        writer.flush(version, FlushBatch(ops=ops[:20]))
        writer.commit(version, "A")
        writer.flush(version, FlushBatch(ops=ops[20:]))
        writer.commit(version, "B")
        totals = (await totals_of(reader, version, "10#a[]"))["10#a[]"]
        assert totals == BucketTotals(50, sum(op.checksum for op in ops) % 2**32, 50)
        writer.close()
        await reader.close()

    async def test_changes_name_the_touched_buckets_and_lookups_only(self, storage: BucketStorage) -> None:
        writer, reader = storage.open_writer(), storage.open_reader()
        version = begun(writer)
        writer.flush(version, FlushBatch(ops=[put("10#a[]", "1"), put("10#b[]", "1")]))
        first = writer.commit(version, "A")
        assert first is not None
        writer.flush(version, FlushBatch(ops=[put("10#b[]", "2")], lookups=[Lookup(1, b"k", "l[1]", "10#a[]")]))
        second = writer.commit(version, "B")
        writer.flush(version, FlushBatch(ops=[put("10#a[]", "3")]))  # not committed
        changes = await reader.changes(version, first)
        assert changes is not None
        assert changes.checkpoint == second
        assert set(changes.totals) == {"10#b[]"}
        assert changes.lookups == {"l[1]"}
        writer.close()
        await reader.close()

    async def test_chunks_stop_at_the_checkpoint_and_at_their_limits(self, storage: BucketStorage) -> None:
        writer, reader = storage.open_writer(), storage.open_reader()
        version = begun(writer)
        writer.flush(version, FlushBatch(ops=[put("10#a[]", str(n), "x" * 100) for n in range(10)]))
        checkpoint = writer.commit(version, "A")
        assert checkpoint is not None
        writer.flush(version, FlushBatch(ops=[put("10#a[]", "later")]))
        cut = await reader.chunks(
            version,
            [("10#a[]", 2)],
            checkpoint_op=checkpoint.op_id,
            ops_max=5,
            chunk_ops_max=100,
            chunk_bytes_max=10_000,
        )
        assert [(c.after, c.next_after, c.has_more, len(c.ops)) for c in cut] == [(2, 7, True, 5)]
        small = await reader.chunks(
            version,
            [("10#a[]", 0)],
            checkpoint_op=checkpoint.op_id,
            ops_max=100,
            chunk_ops_max=100,
            chunk_bytes_max=250,
        )
        assert [len(chunk.ops) for chunk in small] == [2, 2, 2, 2, 2]
        assert [chunk.has_more for chunk in small] == [True, True, True, True, False]
        short = await reader.chunks(
            version, [("10#a[]", 0)], checkpoint_op=checkpoint.op_id, ops_max=9, chunk_ops_max=4, chunk_bytes_max=10_000
        )
        assert [(len(chunk.ops), chunk.has_more) for chunk in short] == [(4, True), (4, True), (1, True)]
        rest = await reader.chunks(
            version, [("10#a[]", 10)], checkpoint_op=checkpoint.op_id, ops_max=5, chunk_ops_max=5, chunk_bytes_max=250
        )
        assert rest == []
        writer.close()
        await reader.close()

    async def test_no_checkpoint_is_visible_before_the_snapshot_is_consistent(self, storage: BucketStorage) -> None:
        writer, reader = storage.open_writer(), storage.open_reader()
        writer.start_version(10, sync_config="", slot_name="s", source_identity="i")
        table = writer.add_table(10, schema="public", name="todos", relation_id=7, key_columns=["id"])
        assert table.snapshot is SnapshotState.PENDING
        writer.flush(10, FlushBatch(ops=[put("10#a[]", "1")]))
        assert writer.commit(10, "B") is None
        writer.finish_table_snapshot(10, table.id, position="D")
        writer.finish_snapshot(10)
        assert writer.commit(10, "C") is None
        assert await reader.active_version() is None
        assert writer.commit(10, "D") is not None
        active = await reader.active_version()
        assert active is not None
        assert active.state is VersionState.ACTIVE
        assert [stored.snapshot for stored in writer.tables(10)] == [SnapshotState.DONE]
        writer.close()
        await reader.close()
