"""One SQLite storage: a folder with `storage.db`, `control.db` and the writer's lock."""

from __future__ import annotations

import time
from pathlib import Path

from syncline.errors import StorageUnavailable
from syncline.storage.sqlite.connection import open_connection
from syncline.storage.sqlite.control import SqliteControl
from syncline.storage.sqlite.migrations import ensure_layout
from syncline.storage.sqlite.reader import SqliteReader
from syncline.storage.sqlite.write_checkpoints import SqliteWriteCheckpoints
from syncline.storage.sqlite.writer import SqliteWriter

__all__ = ["SqliteStorage"]


class SqliteStorage:
    """Bucket storage in `directory`, which is made if it is not there."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise StorageUnavailable(
                f"The storage folder {directory} cannot be made: {exc.strerror}",
                hint="Set storage.path to a folder that this user may write.",
            ) from exc

    def open_writer(self) -> SqliteWriter:
        """Take the lease and migrate the schema."""
        return SqliteWriter(self._directory)

    def open_reader(self) -> SqliteReader:
        """Open for reading; the file is made first where a replicator has not done so yet."""
        self._ensure_storage()
        return SqliteReader(self._directory)

    def open_write_checkpoints(self) -> SqliteWriteCheckpoints:
        """Open the write checkpoints."""
        return SqliteWriteCheckpoints(self._directory, now_ms=lambda: time.time_ns() // 1_000_000)

    def open_control(self) -> SqliteControl:
        """Open what administrators keep here."""
        self._ensure_storage()
        return SqliteControl(self._directory)

    def _ensure_storage(self) -> None:
        """Make `storage.db` where a replicator has not done so yet."""
        path = self._directory / "storage.db"
        connection = open_connection(path)
        try:
            ensure_layout(connection, path)
        finally:
            connection.close()
