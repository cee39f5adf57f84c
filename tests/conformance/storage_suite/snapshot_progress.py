"""How far the copies of tables are, and what a restart finds of them."""

from __future__ import annotations

from syncline.storage.base import BucketStorage, StorageWriter
from syncline.storage.model import SnapshotProgress, SnapshotState, StoredTable

__all__ = ["SnapshotProgressSuite"]


def added(writer: StorageWriter, name: str = "todos") -> StoredTable:
    """A table of version 10, which is made first."""
    if not writer.versions():
        writer.start_version(10, sync_config="", slot_name="s", source_identity="i")
    return writer.add_table(10, schema="public", name=name, relation_id=7, key_columns=["id"])


class SnapshotProgressSuite:
    """How far the copies of tables are, and what a restart finds of them."""

    def test_a_new_table_has_no_progress(self, storage: BucketStorage) -> None:
        writer = storage.open_writer()
        assert added(writer).progress is None
        assert [table.progress for table in writer.tables(10)] == [None]
        writer.close()

    def test_a_restart_finds_the_progress_that_was_saved_last(self, storage: BucketStorage) -> None:
        writer = storage.open_writer()
        table, other = added(writer), added(writer, "lists")
        writer.save_snapshot_progress(table.id, SnapshotProgress(filenode=16384, next_block=10, blocks=99, rows=1000))
        progress = SnapshotProgress(filenode=16384, next_block=20, blocks=99, rows=2**40)
        writer.save_snapshot_progress(table.id, progress)
        writer.close()
        again = storage.open_writer()
        assert {stored.id: stored.progress for stored in again.tables(10)} == {table.id: progress, other.id: None}
        assert [stored.snapshot for stored in again.tables(10)] == [SnapshotState.PENDING, SnapshotState.PENDING]
        again.close()

    def test_a_finished_table_has_no_progress(self, storage: BucketStorage) -> None:
        writer = storage.open_writer()
        table = added(writer)
        writer.save_snapshot_progress(table.id, SnapshotProgress(1, 2, 3, 4))
        writer.finish_table_snapshot(10, table.id, position="A")
        [stored] = writer.tables(10)
        assert (stored.snapshot, stored.progress) == (SnapshotState.DONE, None)
        writer.close()

    def test_a_replaced_table_begins_again_from_its_first_block(self, storage: BucketStorage) -> None:
        writer = storage.open_writer()
        table = added(writer)
        writer.save_snapshot_progress(table.id, SnapshotProgress(1, 2, 3, 4))
        writer.replace_table(table.id, relation_id=8, key_columns=["a", "b"])
        [stored] = writer.tables(10)
        assert (stored.snapshot, stored.progress) == (SnapshotState.PENDING, None)
        assert (stored.relation_id, stored.key_columns) == (8, ("a", "b"))
        writer.close()

    def test_a_table_that_is_copied_beside_the_stream_is_one_until_it_is_done(self, storage: BucketStorage) -> None:
        writer = storage.open_writer()
        writer.start_version(10, sync_config="", slot_name="s", source_identity="i")
        beside = SnapshotState.BESIDE
        new = writer.add_table(10, schema="public", name="a", relation_id=7, key_columns=["id"], snapshot=beside)
        replaced = added(writer)
        writer.replace_table(replaced.id, relation_id=8, key_columns=["id"], snapshot=beside)
        writer.save_snapshot_progress(new.id, SnapshotProgress(1, 2, 3, 4))
        writer.close()
        writer = storage.open_writer()
        assert new.snapshot is beside
        assert [stored.snapshot for stored in writer.tables(10)] == [beside, beside]
        assert [stored.progress for stored in writer.tables(10)] == [SnapshotProgress(1, 2, 3, 4), None]
        writer.finish_table_snapshot(10, new.id, position="A")
        assert [stored.snapshot for stored in writer.tables(10)] == [SnapshotState.DONE, beside]
        writer.close()

    def test_no_checkpoint_is_visible_before_the_position_that_rows_were_copied_at(
        self, storage: BucketStorage
    ) -> None:
        writer = storage.open_writer()
        added(writer)
        writer.finish_snapshot(10)
        assert writer.commit(10, "B") is not None
        writer.delay_checkpoints(10, position="D")
        assert writer.commit(10, "C") is None
        writer.delay_checkpoints(10, position="A")  # an earlier one takes nothing back
        writer.close()
        writer = storage.open_writer()
        assert writer.commit(10, "C~") is None
        reached = writer.commit(10, "D")
        assert reached is not None
        assert reached.position == "D"
        writer.close()

    def test_the_definition_of_a_table_is_kept_until_it_is_replaced(self, storage: BucketStorage) -> None:
        writer = storage.open_writer()
        plain = added(writer)
        table = writer.add_table(
            10, schema="public", name="lists", relation_id=8, key_columns=["id"], definition="id:text"
        )
        assert (plain.definition, table.definition) == ("", "id:text")
        assert [stored.definition for stored in writer.tables(10)] == ["", "id:text"]
        writer.save_snapshot_progress(table.id, SnapshotProgress(1, 2, 3, 4))
        writer.finish_table_snapshot(10, table.id, position="A")
        assert [stored.definition for stored in writer.tables(10)] == ["", "id:text"]
        writer.replace_table(table.id, relation_id=8, key_columns=["id"], definition="id:text,n:int4")
        assert [stored.definition for stored in writer.tables(10)] == ["", "id:text,n:int4"]
        writer.close()
