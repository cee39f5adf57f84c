"""What every bucket storage must do. Written once, run on every implementation: subclass `StorageSuite` and give it a fixture `storage`."""

from __future__ import annotations

import pytest

from syncline.errors import LeaseLost, StorageUnavailable
from syncline.protocol.ops import OpType, put_checksum
from syncline.storage.base import BucketStorage, StorageReader, StorageWriter
from syncline.storage.model import (
    BucketTotals,
    Checkpoint,
    CurrentRow,
    FlushBatch,
    Lookup,
    Membership,
    NewOp,
    SnapshotState,
    VersionState,
    WriteCheckpointCursor,
)
from tests.support.sync_config import buckets_of_lookup, fixed_buckets


def put(bucket: str, object_id: str, text: str = "{}") -> NewOp:
    """A PUT of one object."""
    return NewOp(
        bucket, OpType.PUT, "todos", object_id, put_checksum("todos", object_id, text), f"key-{object_id}", text
    )


def begun(writer: StorageWriter, number: int = 10) -> int:
    """A version whose (empty) snapshot is done."""
    writer.start_version(number, sync_config="streams: {}", slot_name="slot", source_identity="source")
    writer.finish_snapshot(number)
    return number


async def totals_of(reader: StorageReader, version: int, *names: str) -> dict[str, BucketTotals]:
    """Totals at the newest checkpoint."""
    view = await reader.view(version, fixed_buckets(*names))
    assert view is not None
    return view.totals


class StorageSuite:
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

    async def test_lookups_are_read_as_of_the_checkpoint(self, storage: BucketStorage) -> None:
        writer, reader = storage.open_writer(), storage.open_reader()
        version = begun(writer)
        writer.flush(
            version, FlushBatch(lookups=[Lookup(1, b"k1", "l[1]", "10#a[]"), Lookup(1, b"k2", "l[1]", "10#b[]")])
        )
        writer.commit(version, "A")
        writer.flush(version, FlushBatch(lookups=[Lookup(1, b"k1", "l[1]", None)]))

        async def names() -> list[str]:
            view = await reader.view(version, buckets_of_lookup("l[1]"))
            assert view is not None
            return [bucket.name for bucket in view.resolved.buckets]

        assert await names() == ["10#a[]", "10#b[]"]
        writer.commit(version, "B")
        assert await names() == ["10#b[]"]
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

    async def test_the_first_checkpoint_of_a_new_version_stops_the_old_one(self, storage: BucketStorage) -> None:
        writer, reader = storage.open_writer(), storage.open_reader()
        begun(writer, 10)
        writer.commit(10, "A")
        begun(writer, 11)
        active = await reader.active_version()
        assert active is not None
        assert active.number == 10
        writer.commit(11, "B")
        active = await reader.active_version()
        assert active is not None
        assert active.number == 11
        assert await reader.checkpoint(10) is None
        writer.drop_version(10)
        assert [version.number for version in writer.versions()] == [11]
        assert writer.highest_version_number() == 11
        writer.close()
        await reader.close()

    def test_current_rows_come_back_as_they_were_flushed(self, storage: BucketStorage) -> None:
        writer = storage.open_writer()
        version = begun(writer)
        row = CurrentRow((Membership("10#a[]", "todos", "1"),), (("l[1]", "[1]"),), ("é", 2**60, 1.5, b"\x00", None))
        plain = CurrentRow((), ())
        writer.flush(version, FlushBatch(rows={(1, b"a"): row, (1, b"b"): plain, (2, b"a"): plain}))
        assert writer.current_rows(1, [b"a", b"b", b"c"]) == {b"a": row, b"b": plain}
        assert writer.table_rows(1, after=b"", limit=1) == [(b"a", row)]
        assert writer.table_rows(1, after=b"a", limit=10) == [(b"b", plain)]
        writer.flush(version, FlushBatch(rows={(1, b"a"): None}))
        assert writer.current_rows(1, [b"a", b"b"]) == {b"b": plain}
        writer.close()

    def test_a_reopened_writer_goes_on_where_the_last_one_stopped(self, storage: BucketStorage) -> None:
        writer = storage.open_writer()
        version = begun(writer)
        writer.flush(version, FlushBatch(ops=[put("10#a[]", "1")]))
        writer.commit(version, "A")
        writer.sync_to_disk()
        writer.close()
        again = storage.open_writer()
        assert again.position(version) == "A"
        assert again.flush(version, FlushBatch(ops=[put("10#a[]", "2")])) == 2
        again.close()

    def test_only_one_writer_holds_the_lease(self, storage: BucketStorage) -> None:
        writer = storage.open_writer()
        with pytest.raises(StorageUnavailable) as caught:
            storage.open_writer()
        assert caught.value.error_code == "PSYNC_S1003"
        writer.close()
        storage.open_writer().close()

    def test_a_writer_whose_lease_was_taken_writes_nothing(self, storage: BucketStorage) -> None:
        writer = storage.open_writer()
        version = begun(writer)
        self.take_lease_by_force(storage)
        with pytest.raises(LeaseLost):
            writer.flush(version, FlushBatch(ops=[put("10#a[]", "1")]))
        writer.close()

    def take_lease_by_force(self, storage: BucketStorage) -> None:
        """Let another writer raise the epoch, as after a lease that ran out."""
        raise NotImplementedError

    async def test_a_write_checkpoint_is_reached_when_replication_passed_its_position(
        self, storage: BucketStorage
    ) -> None:
        checkpoints = storage.open_write_checkpoints()
        [first] = await checkpoints.create(["u/c"], "B")
        assert await checkpoints.reached("u/c", "A") is None
        assert await checkpoints.reached("u/c", "B") == first
        assert await checkpoints.reached("other/c", "B") is None
        [second] = await checkpoints.create(["u/c"], "D")
        assert second > first
        assert await checkpoints.reached("u/c", "C") is None
        await checkpoints.close()

    async def test_newly_reached_reports_each_write_checkpoint_once(self, storage: BucketStorage) -> None:
        checkpoints = storage.open_write_checkpoints()
        [one] = await checkpoints.create(["u1"], "B")
        found, cursor = await checkpoints.newly_reached("A", WriteCheckpointCursor())
        assert found == {}
        found, cursor = await checkpoints.newly_reached("C", cursor)
        assert found == {"u1": one}
        [two] = await checkpoints.create(["u2"], "B")  # stored when replication had passed it already
        found, cursor = await checkpoints.newly_reached("C", cursor)
        assert found == {"u2": two}
        found, cursor = await checkpoints.newly_reached("D", cursor)
        assert found == {}
        await checkpoints.close()

    async def test_a_rebuilt_storage_does_not_count_write_checkpoints_again(
        self, storage: BucketStorage, rebuilt: BucketStorage
    ) -> None:
        checkpoints = storage.open_write_checkpoints()
        old = [(await checkpoints.create(["u"], "A"))[0] for _ in range(3)]
        await checkpoints.close()
        fresh = rebuilt.open_write_checkpoints()
        [value] = await fresh.create(["u"], "A")
        assert (
            value >= old[0]
        )  # time-based: never below what a client may wait for, but for bursts within a millisecond
        await fresh.close()
