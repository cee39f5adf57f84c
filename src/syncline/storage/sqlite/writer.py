"""The replicator's side of SQLite storage. Contract: `syncline.storage.base.StorageWriter`."""

from __future__ import annotations

from syncline.storage.model import StorageSizes
from syncline.storage.sqlite.compaction_writer import CompactionWriter
from syncline.storage.sqlite.op_writer import OpWriter
from syncline.storage.sqlite.sizes import measure_sizes
from syncline.storage.sqlite.version_writer import VersionWriter

__all__ = ["SqliteWriter"]


class SqliteWriter(VersionWriter, OpWriter, CompactionWriter):
    """Writes `storage.db`. Blocking; used by one thread."""

    def sizes(self) -> StorageSizes:
        """What storage takes on disk at present, over all versions; the parts of a large file are estimates."""
        with self._reading():
            return measure_sizes(self._connection)
