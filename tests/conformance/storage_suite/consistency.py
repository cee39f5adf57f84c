"""The lines of "How a checkpoint stays consistent" (docs/internals/architecture.md) that no other part of the suite holds.

The others: only a commit makes a checkpoint, two slots, limits of a page (`visibility`), lookups by op id (`lookups`), what
compaction moves beyond a checkpoint (`compaction`, `downloads`), one number for one history (`versions`), write checkpoints
(`write_checkpoints`). That a session registers before it reads is tested with the watcher; acknowledging, and the checks at a
start, with the replication job.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from syncline.errors import LeaseLost
from syncline.protocol.lines import SubscriptionReason
from syncline.storage.base import BucketStorage, StorageWriter
from syncline.storage.model import CurrentRow, FlushBatch, Membership, SnapshotProgress
from syncline.sync_config.plan import BucketQuery, ResolvedBucket, ResolvedBuckets
from tests.conformance.storage_suite.builders import begun, committed, lookup, ops_of, put, remove, totals_of

__all__ = ["ConsistencySuite"]

A = "10#a[]"
B = "10#b[]"

WRITES: dict[str, Callable[[StorageWriter], object]] = {
    "start_version": lambda writer: writer.start_version(11, sync_config="", slot_name="s", source_identity="i"),
    "stop_version": lambda writer: writer.stop_version(10),
    "add_table": lambda writer: writer.add_table(10, schema="s", name="t", relation_id=1, key_columns=["id"]),
    "replace_table": lambda writer: writer.replace_table(1, relation_id=2, key_columns=["id"]),
    "save_snapshot_progress": lambda writer: writer.save_snapshot_progress(1, SnapshotProgress(1, 2, 3, 4)),
    "finish_table_snapshot": lambda writer: writer.finish_table_snapshot(10, 1, position="Z"),
    "finish_snapshot": lambda writer: writer.finish_snapshot(10),
    "flush": lambda writer: writer.flush(10, FlushBatch(ops=[put(A, "late")], rows={(1, b"late"): CurrentRow((), ())})),
    "commit": lambda writer: writer.commit(10, "Z"),
    "sync_to_disk": lambda writer: writer.sync_to_disk(),
    "record_error": lambda writer: writer.record_error(10, "late"),
    "drop_version": lambda writer: writer.drop_version(10, rows_max=10),
}


class ConsistencySuite:
    """The lines of "How a checkpoint stays consistent" that no other part of the suite holds."""

    def take_lease_by_force(self, storage: BucketStorage) -> None:
        """Let another writer raise the epoch, as after a lease that ran out."""
        raise NotImplementedError

    async def test_every_write_transaction_checks_the_epoch(self, storage: BucketStorage) -> None:
        writer, reader = storage.open_writer(), storage.open_reader()
        version = begun(writer)
        writer.add_table(version, schema="s", name="first", relation_id=1, key_columns=["id"])
        checkpoint = committed(writer, version, "A", put(A, "1"))
        versions, tables = writer.versions(), writer.tables(version)
        self.take_lease_by_force(storage)
        written: list[str] = []
        for name, write in WRITES.items():
            try:
                write(writer)
                written.append(name)
            except LeaseLost:
                pass
        assert written == []
        assert (writer.versions(), writer.tables(version), writer.position(version)) == (versions, tables, "A")
        assert writer.current_rows(1, [b"late"]) == {}
        assert await reader.checkpoint(version) == checkpoint
        writer.close()
        await reader.close()

    async def test_current_rows_change_in_the_transaction_of_their_ops(self, storage: BucketStorage) -> None:
        """A flush that fails leaves neither ops nor rows: a row without its ops would never be sent."""
        writer, reader = storage.open_writer(), storage.open_reader()
        version = begun(writer)
        before = committed(writer, version, "A", put(A, "1"))
        row = CurrentRow((Membership(A, "todos", "2"),), ())
        broken = put(A, "2")._replace(checksum=None)  # pyright: ignore[reportArgumentType] - storage itself has to refuse it
        entries = [lookup("l[1]", "x")]
        with pytest.raises(Exception, match=r"(?i)null|none"):
            writer.flush(version, FlushBatch(ops=[put(A, "2"), broken], lookups=entries, rows={(1, b"k"): row}))
        assert writer.current_rows(1, [b"k"]) == {}
        after = writer.commit(version, "B")
        assert after is not None
        assert after.op_id == before.op_id
        assert len(await ops_of(reader, A, checkpoint_op=100)) == 1
        writer.flush(version, FlushBatch(ops=[put(A, "2")], rows={(1, b"k"): row}))
        assert writer.current_rows(1, [b"k"]) == {b"k": row}
        writer.close()
        await reader.close()

    async def test_a_transaction_that_a_crash_cut_is_sent_again_and_nothing_is_repaired(
        self, storage: BucketStorage
    ) -> None:
        writer, reader = storage.open_writer(), storage.open_reader()
        version = begun(writer)
        first = committed(writer, version, "A", put(A, "1"))
        writer.flush(version, FlushBatch(ops=[put(A, "2"), remove(A, "1")]))
        writer.flush(version, FlushBatch(ops=[put(A, "3"), put(B, "4")]))  # the crash comes before the commit
        writer.close()
        again = storage.open_writer()
        assert again.position(version) == "A"
        assert (await totals_of(reader, version, A, B)).keys() == {A}
        assert (await totals_of(reader, version, A))[A].op_count == 1
        again.flush(version, FlushBatch(ops=[put(A, "2"), remove(A, "1")]))
        assert (await totals_of(reader, version, A))[A].op_id == first.op_id
        again.flush(version, FlushBatch(ops=[put(A, "3"), put(B, "4")]))
        second = again.commit(version, "B")
        assert second is not None
        totals = await totals_of(reader, version, A, B)
        for bucket, count in ((A, 7), (B, 2)):  # no op was deleted to roll back: the later ones win
            ops = await ops_of(reader, bucket, checkpoint_op=second.op_id)
            assert len(ops) == totals[bucket].op_count == count
            assert totals[bucket].checksum == sum(op.checksum for op in ops) % 2**32
        again.close()
        await reader.close()

    async def test_a_first_read_takes_checkpoint_lookups_and_totals_from_one_state(
        self, storage: BucketStorage
    ) -> None:
        writer, reader = storage.open_writer(), storage.open_reader()
        version = begun(writer)
        first = committed(writer, version, "A", put(A, "1"), lookups=[lookup("l[1]", A)])
        reason = (SubscriptionReason(default=0),)
        commits: list[str] = []

        def query() -> BucketQuery:
            for position in ("B", "C"):  # commits fall into the middle of the reading
                answers = yield ["l[1]"]
                assert list(answers["l[1]"]) == [A]
                committed(writer, version, position, put(A, position), lookups=[lookup("l[1]", f"10#{position}[]")])
                commits.append(position)
            return ResolvedBuckets((), (ResolvedBucket(A, 3, reason),), frozenset(["l[1]"]))

        view = await reader.view(version, query())
        assert commits == ["B", "C"]
        assert view is not None
        assert view.checkpoint == first
        assert view.totals[A].op_count == 1
        assert (await totals_of(reader, version, A))[A].op_count == 3
        writer.close()
        await reader.close()

    async def test_pages_of_a_download_stay_at_their_checkpoint_while_others_are_committed(
        self, storage: BucketStorage
    ) -> None:
        writer, reader = storage.open_writer(), storage.open_reader()
        version = begun(writer)
        checkpoint = committed(writer, version, "A", *[put(A, str(n)) for n in range(10)])
        after, sent = 0, 0
        while True:
            chunks = await reader.chunks(
                version,
                [(A, after)],
                checkpoint_op=checkpoint.op_id,
                ops_max=3,
                chunk_ops_max=3,
                chunk_bytes_max=10_000,
            )
            if not chunks:
                break
            [chunk] = chunks
            assert chunk.after == after
            after, sent = chunk.next_after, sent + len(chunk.ops)
            committed(writer, version, f"B{after:02}", put(A, f"new{after}"), put(B, f"new{after}"))
        assert (after, sent) == (checkpoint.op_id, 10)
        writer.close()
        await reader.close()

    async def test_op_ids_become_visible_strictly_in_order(self, storage: BucketStorage) -> None:
        writer, reader = storage.open_writer(), storage.open_reader()
        version = begun(writer)
        seen = 0
        for number, position in enumerate("ABCDEF"):
            last = writer.flush(
                version,
                FlushBatch(
                    ops=[put(A, f"{number}"), put(B, f"{number}")],
                    lookups=[lookup("l[1]", A)] * (number % 2),
                    custom_write_checkpoints={"u": number} if number % 3 == 0 else {},
                ),
            )
            checkpoint = writer.commit(version, position)
            assert checkpoint is not None
            assert checkpoint.op_id == last
            ops = [op.op_id for bucket in (A, B) for op in await ops_of(reader, bucket, checkpoint_op=last)]
            fresh = [op_id for op_id in ops if op_id > seen]
            assert len(ops) == len(set(ops)) == 2 * number + 2
            assert len(fresh) == 2  # nothing appears at or below what was visible before
            seen = last
        writer.close()
        await reader.close()

    async def test_a_commit_at_a_position_that_was_passed_moves_nothing_back(self, storage: BucketStorage) -> None:
        writer, reader = storage.open_writer(), storage.open_reader()
        version = begun(writer)
        committed(writer, version, "C", put(A, "1"))
        writer.flush(version, FlushBatch(ops=[put(A, "2")]))  # the source sends an older transaction again
        again = writer.commit(version, "B")
        assert again is not None
        assert (again.op_id, again.position) == (2, "C")
        assert await reader.checkpoint(version) == again
        assert writer.position(version) == "C"
        writer.close()
        await reader.close()
