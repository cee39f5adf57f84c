"""Parameter lookups as of a checkpoint, and their compaction."""

from __future__ import annotations

from syncline.storage.base import BucketStorage, StorageWriter
from syncline.storage.model import FlushBatch, Lookup
from tests.conformance.storage_suite.builders import begun, committed, lookup, names_of

__all__ = ["LookupSuite"]


def compact_all_lookups(writer: StorageWriter, version: int, *, before_op: int, rows_max: int = 100) -> int:
    """Call until nothing is left; how many entries were deleted."""
    deleted = 0
    while found := writer.compact_lookups(version, before_op=before_op, rows_max=rows_max):
        deleted += found
    return deleted


class LookupSuite:
    """Parameter lookups as of a checkpoint, and their compaction."""

    async def test_lookups_are_read_as_of_the_checkpoint(self, storage: BucketStorage) -> None:
        writer, reader = storage.open_writer(), storage.open_reader()
        version = begun(writer)
        writer.flush(
            version, FlushBatch(lookups=[Lookup(1, b"k1", "l[1]", "10#a[]"), Lookup(1, b"k2", "l[1]", "10#b[]")])
        )
        writer.commit(version, "A")
        writer.flush(version, FlushBatch(lookups=[Lookup(1, b"k1", "l[1]", None)]))
        assert await names_of(reader, version, "l[1]") == ["10#a[]", "10#b[]"]
        writer.commit(version, "B")
        assert await names_of(reader, version, "l[1]") == ["10#b[]"]
        writer.close()
        await reader.close()

    async def test_compaction_of_lookups_keeps_the_newest_of_each_row(self, storage: BucketStorage) -> None:
        writer, reader = storage.open_writer(), storage.open_reader()
        version = begun(writer)
        for position, bucket in (("A", "10#a[]"), ("B", "10#b[]"), ("C", "10#c[]")):
            committed(writer, version, position, lookups=[lookup("l[1]", bucket)])
        committed(writer, version, "D", lookups=[lookup("l[1]", "10#other[]", key=b"other"), lookup("l[2]", "10#z[]")])
        assert compact_all_lookups(writer, version, before_op=100, rows_max=1) == 2
        assert compact_all_lookups(writer, version, before_op=100) == 0
        assert await names_of(reader, version, "l[1]") == ["10#c[]", "10#other[]"]
        assert await names_of(reader, version, "l[2]") == ["10#z[]"]
        writer.close()
        await reader.close()

    async def test_an_entry_that_takes_back_goes_with_what_it_took_back(self, storage: BucketStorage) -> None:
        writer, reader = storage.open_writer(), storage.open_reader()
        version = begun(writer)
        committed(writer, version, "A", lookups=[lookup("l[1]", "10#a[]"), lookup("l[1]", "10#b[]", key=b"b")])
        committed(writer, version, "B", lookups=[lookup("l[1]", None)])
        assert await names_of(reader, version, "l[1]") == ["10#b[]"]
        assert compact_all_lookups(writer, version, before_op=100) == 2
        assert await names_of(reader, version, "l[1]") == ["10#b[]"]
        committed(writer, version, "C", lookups=[lookup("l[1]", "10#c[]")])  # the row comes back
        assert compact_all_lookups(writer, version, before_op=100) == 0
        assert await names_of(reader, version, "l[1]") == ["10#b[]", "10#c[]"]
        writer.close()
        await reader.close()

    async def test_lookups_at_and_above_the_horizon_stay_and_are_told(self, storage: BucketStorage) -> None:
        writer, reader = storage.open_writer(), storage.open_reader()
        version = begun(writer)
        committed(writer, version, "A", lookups=[lookup("l[1]", "10#a[]")])
        first = committed(writer, version, "B", lookups=[lookup("l[1]", "10#b[]")])
        committed(writer, version, "C", lookups=[lookup("l[1]", None)])
        writer.flush(version, FlushBatch(lookups=[lookup("l[1]", "10#c[]")]))  # not visible yet
        assert compact_all_lookups(writer, version, before_op=first.op_id) == 0
        assert compact_all_lookups(writer, version, before_op=first.op_id + 1) == 1
        assert await names_of(reader, version, "l[1]") == []
        changes = await reader.changes(version, first)
        assert changes is not None
        assert changes.lookups == {"l[1]"}
        assert compact_all_lookups(writer, version, before_op=100) == 2  # up to the visible checkpoint only
        writer.commit(version, "D")
        writer.flush(version, FlushBatch(lookups=[lookup("l[1]", "10#d[]")]))  # what it replaces is still read
        assert compact_all_lookups(writer, version, before_op=100) == 0
        assert await names_of(reader, version, "l[1]") == ["10#c[]"]
        writer.close()
        await reader.close()

    async def test_changes_that_were_compacted_away_are_never_missed_in_silence(self, storage: BucketStorage) -> None:
        writer, reader = storage.open_writer(), storage.open_reader()
        version = begun(writer)
        since = committed(writer, version, "A", lookups=[lookup("l[1]", "10#a[]")])
        newest = committed(writer, version, "B", lookups=[lookup("l[1]", None)])
        compact_all_lookups(writer, version, before_op=100)
        changes = await reader.changes(version, since)
        assert changes is None or changes.lookups == {"l[1]"}
        changes = await reader.changes(version, newest)
        assert changes is not None
        assert changes.lookups == frozenset()
        writer.close()
        await reader.close()
