"""SQLite storage passes the conformance suite."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from syncline.errors import StorageUnavailable, StorageVersionUnsupported
from syncline.storage.base import BucketStorage
from syncline.storage.model import FlushBatch
from syncline.storage.sqlite import SqliteStorage
from tests.conformance.storage_suite import StorageSuite
from tests.conformance.storage_suite.builders import begun


class TestSqliteStorage(StorageSuite):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> SqliteStorage:
        self.folder = tmp_path / "storage"
        return SqliteStorage(self.folder)

    @pytest.fixture
    def rebuilt(self, tmp_path: Path) -> SqliteStorage:
        return SqliteStorage(tmp_path / "rebuilt")

    def take_lease_by_force(self, storage: BucketStorage) -> None:
        connection = apsw.Connection(str(self.folder / "storage.db"))
        connection.execute("UPDATE storage_meta SET value = value + 1 WHERE key = 'lease_epoch'").fetchall()
        connection.close()

    def test_a_file_of_a_newer_layout_is_refused_with_what_to_do(self, storage: SqliteStorage) -> None:
        storage.open_writer().close()
        connection = apsw.Connection(str(self.folder / "storage.db"))
        connection.execute("UPDATE storage_meta SET value = 99 WHERE key = 'schema_version'").fetchall()
        connection.close()
        with pytest.raises(StorageVersionUnsupported, match="delete the storage files"):
            storage.open_writer()

    def test_custom_write_checkpoints_that_nobody_reads_any_more_are_forgotten(self, storage: SqliteStorage) -> None:
        writer = storage.open_writer()
        begun(writer)
        for number in range(20):
            writer.flush(10, FlushBatch(custom_write_checkpoints={"u": number, f"once{number}": 1}))
            writer.commit(10, f"{number:02}")
        count = writer._connection.execute("SELECT count(*) FROM custom_write_checkpoint WHERE user_key = 'u'").get
        assert count == 2  # the newest, and the one before, which was visible when the newest was flushed
        assert writer._connection.execute("SELECT count(*) FROM custom_write_checkpoint").get == 20 + 2
        writer.close()

    def test_a_folder_that_cannot_be_made_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(StorageUnavailable, match=r"storage\.path"):
            SqliteStorage(tmp_path / "file" / "storage")
