"""One writer at a time, and what a restart finds."""

from __future__ import annotations

import pytest

from syncline.errors import LeaseLost, StorageUnavailable
from syncline.storage.base import BucketStorage
from syncline.storage.model import FlushBatch
from tests.conformance.storage_suite.builders import begun, put

__all__ = ["LeaseSuite"]


class LeaseSuite:
    """One writer at a time, and what a restart finds."""

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
