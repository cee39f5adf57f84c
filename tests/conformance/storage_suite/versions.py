"""The life of versions, from their start to the last of their rows."""

from __future__ import annotations

import pytest

from syncline.storage.base import BucketStorage, StorageWriter
from syncline.storage.model import CurrentRow, FlushBatch, Lookup, VersionState
from tests.conformance.storage_suite.builders import begun, names_of, ops_of, put, totals_of

__all__ = ["VersionSuite"]


def filled(writer: StorageWriter, number: int, *, rows: int) -> None:
    """A version with so many ops, lookups, current rows and custom write checkpoints, in many buckets."""
    begun(writer, number)
    table = writer.add_table(number, schema="public", name="todos", relation_id=7, key_columns=["id"])
    keys = [number.to_bytes(4, "big") + row.to_bytes(4, "big") for row in range(rows)]
    writer.flush(
        number,
        FlushBatch(
            ops=[put(f"{number}#b[{row % 7}]", str(row)) for row in range(rows)],
            lookups=[Lookup(table.id, key, "l[1]", f"{number}#b[0]") for key in keys],
            rows={(table.id, key): CurrentRow((), ()) for key in keys},
            custom_write_checkpoints={f"user{row}": row for row in range(rows)},
        ),
    )


class VersionSuite:
    """The life of versions, from their start to the last of their rows."""

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
        assert writer.drop_version(10, rows_max=1_000)
        assert [version.number for version in writer.versions()] == [11]
        assert writer.highest_version_number() == 11
        writer.close()
        await reader.close()

    async def test_a_version_is_dropped_in_batches_while_another_serves(self, storage: BucketStorage) -> None:
        writer, reader = storage.open_writer(), storage.open_reader()
        filled(writer, 10, rows=100)
        writer.commit(10, "A")
        filled(writer, 11, rows=20)
        checkpoint = writer.commit(11, "B")
        assert checkpoint is not None
        calls = 1
        while not writer.drop_version(10, rows_max=50):
            calls += 1
            assert [version.state for version in writer.versions()] == [VersionState.STOPPED, VersionState.ACTIVE]
            assert (await totals_of(reader, 11, "11#b[0]"))["11#b[0]"].op_count == 3
            writer.commit(11, f"C{calls:03}")  # replication goes on in between
            assert calls < 100
        assert calls >= 8  # 100 each of ops, lookups, current rows and custom write checkpoints
        assert [version.number for version in writer.versions()] == [11]
        assert await ops_of(reader, "10#b[0]", checkpoint_op=checkpoint.op_id) == []
        assert len(await ops_of(reader, "11#b[0]", checkpoint_op=checkpoint.op_id)) == 3
        assert await names_of(reader, 11, "l[1]") == ["11#b[0]"] * 20
        assert await reader.custom_write_checkpoint(11, "user3") == 3
        assert len(writer.table_rows(writer.tables(11)[0].id, after=b"", limit=1000)) == 20
        assert writer.tables(10) == []
        writer.close()
        await reader.close()

    def test_a_restart_goes_on_with_a_drop_and_never_with_its_version(self, storage: BucketStorage) -> None:
        writer = storage.open_writer()
        filled(writer, 10, rows=30)  # not even active: its config was taken back while it was copied
        assert not writer.drop_version(10, rows_max=10)
        writer.close()
        again = storage.open_writer()
        assert [version.state for version in again.versions()] == [VersionState.STOPPED]
        while not again.drop_version(10, rows_max=10):
            pass
        assert again.versions() == []
        assert again.drop_version(10, rows_max=10)  # nothing of it is left
        assert again.highest_version_number() == 10
        again.close()

    def test_a_version_number_never_recurs(self, storage: BucketStorage) -> None:
        writer = storage.open_writer()
        begun(writer, 10)
        writer.stop_version(10)
        assert writer.drop_version(10, rows_max=10)
        with pytest.raises(AssertionError):
            writer.start_version(10, sync_config="", slot_name="s", source_identity="i")
        writer.close()

    async def test_an_error_is_kept_until_it_is_over(self, storage: BucketStorage) -> None:
        writer, reader = storage.open_writer(), storage.open_reader()
        version = begun(writer)
        writer.commit(version, "A")
        assert [stored.last_error for stored in writer.versions()] == [""]
        writer.record_error(version, "[PSYNC_S1120] The source cannot be reached.")
        active = await reader.active_version()
        assert active is not None
        assert active.last_error == "[PSYNC_S1120] The source cannot be reached."
        assert active.state is VersionState.ACTIVE  # it goes on serving
        writer.record_error(version, "")
        assert [stored.last_error for stored in writer.versions()] == [""]
        writer.close()
        await reader.close()
