"""Custom write checkpoints: values that a replicated table holds for its users (sync config reference, 9)."""

from __future__ import annotations

from syncline.storage.base import BucketStorage
from syncline.storage.model import Checkpoint, FlushBatch
from tests.conformance.storage_suite.builders import begun, put

__all__ = ["CustomWriteCheckpointSuite"]


class CustomWriteCheckpointSuite:
    """Custom write checkpoints: values that a replicated table holds for its users."""

    async def test_a_custom_write_checkpoint_is_visible_with_its_commit(self, storage: BucketStorage) -> None:
        writer, reader = storage.open_writer(), storage.open_reader()
        version = begun(writer)
        assert writer.flush(version, FlushBatch(custom_write_checkpoints={"u": 7})) == 1
        assert await reader.custom_write_checkpoint(version, "u") is None
        assert writer.commit(version, "A") == Checkpoint(version, 1, "A")
        assert await reader.custom_write_checkpoint(version, "u") == 7
        assert await reader.custom_write_checkpoint(version, "other") is None
        writer.flush(version, FlushBatch(custom_write_checkpoints={"u": 8}))
        writer.flush(version, FlushBatch(custom_write_checkpoints={"u": 9}))  # of the same large transaction
        assert await reader.custom_write_checkpoint(version, "u") == 7
        writer.commit(version, "B")
        assert await reader.custom_write_checkpoint(version, "u") == 9
        writer.close()
        await reader.close()

    async def test_the_newest_custom_write_checkpoint_counts_even_if_it_is_lower(self, storage: BucketStorage) -> None:
        writer, reader = storage.open_writer(), storage.open_reader()
        version = begun(writer)
        for position, value in (("A", 9), ("B", 3), ("C", 2**62)):
            writer.flush(version, FlushBatch(custom_write_checkpoints={"u": value}))
            writer.commit(version, position)
            assert await reader.custom_write_checkpoint(version, "u") == value
        writer.close()
        await reader.close()

    async def test_changes_tell_custom_write_checkpoints(self, storage: BucketStorage) -> None:
        writer, reader = storage.open_writer(), storage.open_reader()
        version = begun(writer)
        writer.flush(version, FlushBatch(custom_write_checkpoints={"u": 1, "idle": 1}))
        first = writer.commit(version, "A")
        assert first is not None
        writer.flush(version, FlushBatch(ops=[put("10#a[]", "1")], custom_write_checkpoints={"u": 2, "v": 5}))
        second = writer.commit(version, "B")
        assert second is not None
        writer.flush(version, FlushBatch(custom_write_checkpoints={"u": 3}))  # not visible
        changes = await reader.changes(version, first)
        assert changes is not None
        assert changes.custom_write_checkpoints == {"u": 2, "v": 5}
        changes = await reader.changes(version, second)
        assert changes is not None
        assert changes.custom_write_checkpoints == {}
        writer.close()
        await reader.close()

    async def test_versions_have_their_own_custom_write_checkpoints(self, storage: BucketStorage) -> None:
        writer, reader = storage.open_writer(), storage.open_reader()
        begun(writer, 10)
        writer.flush(10, FlushBatch(custom_write_checkpoints={"u": 1}))
        writer.commit(10, "A")
        begun(writer, 11)
        writer.flush(11, FlushBatch(custom_write_checkpoints={"u": 2}))
        assert await reader.custom_write_checkpoint(10, "u") == 1
        writer.commit(11, "B")
        assert await reader.custom_write_checkpoint(11, "u") == 2
        assert await reader.custom_write_checkpoint(10, "u") is None  # no longer visible
        writer.close()
        await reader.close()
