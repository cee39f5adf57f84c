"""What compaction leaves to readers, and what it never touches. What it decides is tested without storage."""

from __future__ import annotations

import pytest

from syncline.errors import LeaseLost
from syncline.protocol.ops import OpType
from syncline.storage.base import BucketStorage
from syncline.storage.compaction import BucketCompaction
from syncline.storage.model import BucketSize, ClearedPrefix, CompactedOps, FlushBatch
from tests.conformance.storage_suite.builders import begun, committed, compact, ops_of, put, remove, totals_of

__all__ = ["CompactionSuite"]

A = "10#a[]"
B = "10#b[]"


class CompactionSuite:
    """What compaction leaves to readers, and what it never touches."""

    def take_lease_by_force(self, storage: BucketStorage) -> None:
        """Let another writer raise the epoch, as after a lease that ran out."""
        raise NotImplementedError

    async def test_the_worked_example_of_the_reference(self, storage: BucketStorage) -> None:
        writer, reader = storage.open_writer(), storage.open_reader()
        version = begun(writer)
        ops = [put(A, "a"), put(A, "b"), put(A, "a", '{"n":2}'), remove(A, "b")]
        checkpoint = committed(writer, version, "A", *ops)
        before = (await totals_of(reader, version, A))[A]
        compact(writer, A)
        left = await ops_of(reader, A, checkpoint_op=checkpoint.op_id)
        assert [(op.op_id, op.op, op.target_op) for op in left] == [
            (2, OpType.CLEAR, 4),
            (3, OpType.PUT, None),
            (4, OpType.REMOVE, None),
        ]
        assert left[0].checksum == (ops[0].checksum + ops[1].checksum) % 2**32
        assert (left[0].object_type, left[0].object_id, left[0].subkey, left[0].data) == (None, None, None, None)
        assert left[1].data == '{"n":2}'
        assert (await totals_of(reader, version, A))[A] == before._replace(op_count=3)
        writer.close()
        await reader.close()

    async def test_superseded_ops_become_move_with_their_checksum_and_target(self, storage: BucketStorage) -> None:
        writer, reader = storage.open_writer(), storage.open_reader()
        version = begun(writer)
        checkpoint = committed(writer, version, "A", put(A, "kept"), put(A, "a"), put(B, "a"), put(A, "a", "[2]"))
        before = await totals_of(reader, version, A, B)
        compact(writer, A)
        [kept, moved, newest] = await ops_of(reader, A, checkpoint_op=checkpoint.op_id)
        assert (kept.op, newest.op) == (OpType.PUT, OpType.PUT)
        assert (moved.op, moved.target_op, moved.checksum) == (OpType.MOVE, 4, put(A, "a").checksum)
        assert (moved.object_type, moved.object_id, moved.subkey, moved.data) == (None, None, None, None)
        assert await totals_of(reader, version, A, B) == before
        assert [op.op for op in await ops_of(reader, B, checkpoint_op=checkpoint.op_id)] == [OpType.PUT]
        writer.close()
        await reader.close()

    async def test_ops_above_the_visible_checkpoint_are_never_touched(self, storage: BucketStorage) -> None:
        writer, reader = storage.open_writer(), storage.open_reader()
        version = begun(writer)
        first = committed(writer, version, "A", put(A, "a"), put(A, "b"))
        writer.flush(version, FlushBatch(ops=[put(A, "a", "[2]"), remove(A, "b")]))  # a transaction that is still open
        assert [op.op_id for op in writer.ops_before(A, before=None, ops_max=10)] == [2, 1]
        assert [op.op_id for op in writer.ops_before(A, before=4, ops_max=10)] == [2, 1]
        assert compact(writer, A) == 0
        assert len(await ops_of(reader, A, checkpoint_op=first.op_id)) == 2
        second = writer.commit(version, "B")
        assert second is not None
        assert compact(writer, A) == 3  # two pages with moves, one CLEAR
        assert [op.op_id for op in await ops_of(reader, A, checkpoint_op=second.op_id)] == [2, 3, 4]
        writer.close()
        await reader.close()

    async def test_a_reader_during_a_large_transaction_sees_the_shrunk_count_of_its_checkpoint(
        self, storage: BucketStorage
    ) -> None:
        writer, reader = storage.open_writer(), storage.open_reader()
        version = begun(writer)
        committed(writer, version, "A", *[put(A, "a", f"[{n}]") for n in range(10)], put(A, "b"))
        before = (await totals_of(reader, version, A))[A]
        writer.flush(version, FlushBatch(ops=[put(A, "c")]))  # the older slot serves from here on
        compact(writer, A)
        shrunk = before._replace(op_count=3)  # CLEAR of nine, and two rows
        assert (await totals_of(reader, version, A))[A] == shrunk
        writer.flush(version, FlushBatch(ops=[put(A, "d")]))
        assert (await totals_of(reader, version, A))[A] == shrunk
        checkpoint = writer.commit(version, "B")
        assert checkpoint is not None
        totals = (await totals_of(reader, version, A))[A]
        left = await ops_of(reader, A, checkpoint_op=checkpoint.op_id)
        assert totals.op_count == len(left) == 5
        assert totals.checksum == sum(op.checksum for op in left) % 2**32
        writer.close()
        await reader.close()

    async def test_a_reader_at_an_older_checkpoint_learns_by_the_target_op_what_is_beyond_it(
        self, storage: BucketStorage
    ) -> None:
        writer, reader = storage.open_writer(), storage.open_reader()
        version = begun(writer)
        first = committed(writer, version, "A", put(A, "kept"), put(A, "a"), put(A, "b"))
        second = committed(writer, version, "B", put(A, "a", "[2]"))
        compact(writer, A)
        older = await ops_of(reader, A, checkpoint_op=first.op_id)
        assert [op.op for op in older] == [OpType.PUT, OpType.MOVE, OpType.PUT]
        assert max(op.target_op or 0 for op in older) > first.op_id
        newest = await ops_of(reader, A, checkpoint_op=second.op_id)
        assert max(op.target_op or 0 for op in newest) <= second.op_id
        writer.close()
        await reader.close()

    async def test_a_clear_grows_in_batches_and_keeps_the_newest_target(self, storage: BucketStorage) -> None:
        writer, reader = storage.open_writer(), storage.open_reader()
        version = begun(writer)
        ops = [op for n in range(10) for op in (put(A, f"r{n}"), remove(A, f"r{n}"))]
        checkpoint = committed(writer, version, "A", *ops)
        changes = compact(writer, A, page_ops=6, clear_ops_max=5)
        assert changes == 4 + 4  # pages with moves, then segments of the CLEAR
        [clear] = await ops_of(reader, A, checkpoint_op=checkpoint.op_id)
        assert (clear.op, clear.op_id, clear.target_op) == (OpType.CLEAR, 20, 20)
        assert clear.checksum == sum(op.checksum for op in ops) % 2**32
        second = committed(writer, version, "B", put(A, "x"), remove(A, "x"))
        compact(writer, A)
        [clear] = await ops_of(reader, A, checkpoint_op=second.op_id)
        assert (clear.op_id, clear.target_op) == (22, 22)
        assert (await totals_of(reader, version, A))[A] == (22, clear.checksum, 1)
        writer.close()
        await reader.close()

    async def test_a_run_that_a_crash_stops_anywhere_leaves_a_bucket_that_is_right(
        self, storage: BucketStorage
    ) -> None:
        """Also after the MOVEs and before the CLEAR: the next run goes on."""
        writer, reader = storage.open_writer(), storage.open_reader()
        version = begun(writer)
        ops = [op for n in range(8) for op in (put(A, "a", f"[{n}]"), put(A, f"r{n}"), remove(A, f"r{n}"))]
        checkpoint = committed(writer, version, "A", *ops)
        before = (await totals_of(reader, version, A))[A]
        kinds: list[set[OpType]] = []
        for changes_max in (1, 2, 4, 1, 1, 2):
            run, changes = BucketCompaction(clear_ops_max=3), 0
            while not run.is_done and changes < changes_max:
                for compacted in run.feed(writer.ops_before(A, before=run.before, ops_max=4))[: changes_max - changes]:
                    writer.apply_compaction(A, compacted)
                    changes += 1
            writer.close()
            writer = storage.open_writer()
            left = await ops_of(reader, A, checkpoint_op=checkpoint.op_id)
            totals = (await totals_of(reader, version, A))[A]
            assert totals.checksum == before.checksum == sum(op.checksum for op in left) % 2**32
            assert totals.op_count == len(left)
            assert [size.bucket for size in writer.compaction_candidates(version, buckets_max=10)] == [A]
            kinds.append({op.op for op in left})
        assert kinds[0] == {OpType.PUT, OpType.REMOVE, OpType.MOVE}
        assert OpType.CLEAR in kinds[-1]
        compact(writer, A)
        assert (await ops_of(reader, A, checkpoint_op=checkpoint.op_id))[0].op is OpType.CLEAR
        assert compact(writer, A) == 0
        assert writer.compaction_candidates(version, buckets_max=10) == []
        writer.close()
        await reader.close()

    async def test_a_clear_that_does_not_fit_its_prefix_changes_nothing(self, storage: BucketStorage) -> None:
        writer, reader = storage.open_writer(), storage.open_reader()
        version = begun(writer)
        checkpoint = committed(writer, version, "A", put(A, "a"), remove(A, "a"), put(A, "b"))
        before = await ops_of(reader, A, checkpoint_op=checkpoint.op_id)
        sums = [before[0].checksum + before[1].checksum, sum(op.checksum for op in before)]
        wrong = [
            ClearedPrefix(2, sums[0] + 1, 2, None),  # another sum
            ClearedPrefix(2, sums[0], 3, None),  # another count
            ClearedPrefix(3, sums[1], 3, None),  # an object that is left
        ]
        for cleared in wrong:
            with pytest.raises(AssertionError):
                writer.apply_compaction(A, CompactedOps(cleared=cleared))
        assert await ops_of(reader, A, checkpoint_op=checkpoint.op_id) == before
        writer.close()
        await reader.close()

    def test_candidates_are_the_buckets_with_the_most_new_ops_until_they_are_finished(
        self, storage: BucketStorage
    ) -> None:
        writer = storage.open_writer()
        version = begun(writer)
        committed(writer, version, "A", put(A, "a"), *[put(B, str(n)) for n in range(3)])
        assert writer.compaction_candidates(version, buckets_max=10) == [BucketSize(B, 3, 3), BucketSize(A, 1, 1)]
        assert writer.compaction_candidates(version, buckets_max=1) == [BucketSize(B, 3, 3)]
        compact(writer, B)
        assert writer.compaction_candidates(version, buckets_max=10) == [BucketSize(A, 1, 1)]
        compact(writer, A)
        assert writer.compaction_candidates(version, buckets_max=10) == []
        writer.flush(version, FlushBatch(ops=[remove(B, "0"), remove(B, "1")]))
        assert writer.compaction_candidates(version, buckets_max=10) == []  # nothing to look at before the commit
        writer.commit(version, "B")
        assert writer.compaction_candidates(version, buckets_max=10) == [BucketSize(B, 5, 2)]
        writer.close()

    def test_shrinking_alone_does_not_end_a_candidate(self, storage: BucketStorage) -> None:
        writer = storage.open_writer()
        version = begun(writer)
        committed(writer, version, "A", *[put(A, "a", f"[{n}]") for n in range(8)])
        compact(writer, A, finish=False)
        assert writer.compaction_candidates(version, buckets_max=10) == [BucketSize(A, 2, 8)]
        writer.finish_compaction(A, new_ops=8)
        assert writer.compaction_candidates(version, buckets_max=10) == []
        committed(writer, version, "B", put(A, "a", "[9]"))
        assert writer.compaction_candidates(version, buckets_max=10) == [BucketSize(A, 3, 1)]
        writer.close()

    def test_what_is_appended_during_a_run_makes_a_candidate_again(self, storage: BucketStorage) -> None:
        writer = storage.open_writer()
        version = begun(writer)
        committed(writer, version, "A", *[put(A, "a", f"[{n}]") for n in range(8)])
        compact(writer, A, finish=False)
        committed(writer, version, "B", put(A, "a", "[9]"), put(A, "b"))
        writer.finish_compaction(A, new_ops=8)
        assert writer.compaction_candidates(version, buckets_max=10) == [BucketSize(A, 4, 2)]
        writer.close()

    def test_a_bucket_that_is_not_there_gives_nothing(self, storage: BucketStorage) -> None:
        writer = storage.open_writer()
        version = begun(writer)
        assert list(writer.ops_before(A, before=None, ops_max=10)) == []
        assert list(writer.compaction_candidates(version, buckets_max=10)) == []
        writer.apply_compaction(A, CompactedOps(moves=()))
        writer.finish_compaction(A, new_ops=1)
        writer.close()

    async def test_a_writer_whose_lease_was_taken_compacts_nothing(self, storage: BucketStorage) -> None:
        writer, reader = storage.open_writer(), storage.open_reader()
        version = begun(writer)
        checkpoint = committed(writer, version, "A", put(A, "a"), put(A, "a", "[2]"))
        before = await ops_of(reader, A, checkpoint_op=checkpoint.op_id)
        self.take_lease_by_force(storage)
        with pytest.raises(LeaseLost):
            writer.apply_compaction(A, CompactedOps(moves=((1, 2),)))
        with pytest.raises(LeaseLost):
            writer.finish_compaction(A, new_ops=2)
        with pytest.raises(LeaseLost):
            writer.compact_lookups(version, before_op=2, rows_max=10)
        assert await ops_of(reader, A, checkpoint_op=checkpoint.op_id) == before
        writer.close()
        await reader.close()

    def test_sizes_grow_with_what_is_stored(self, storage: BucketStorage) -> None:
        writer = storage.open_writer()
        version = begun(writer)
        empty = writer.sizes()
        text = '"' + "x" * 2000 + '"'
        committed(writer, version, "A", *[put(A, str(n), text) for n in range(200)])
        full = writer.sizes()
        assert full.ops_bytes - empty.ops_bytes > 200 * 2000
        assert full.total_bytes >= full.ops_bytes + full.current_rows_bytes + full.lookups_bytes
        assert full.total_bytes - empty.total_bytes > 200 * 2000
        assert min(full) >= 0
        writer.close()
