"""What all parts of the SQLite writer share: its connection, its lease, and the two marks that every part reads."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from syncline.storage.sqlite.connection import file_errors, open_connection
from syncline.storage.sqlite.lease import Lease
from syncline.storage.sqlite.migrations import ensure_layout

__all__ = ["WriterConnection"]


class WriterConnection:
    """Opens `storage.db` for writing: brings its layout up to date and takes the lease. Used by one thread."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "storage.db"
        self._connection = open_connection(self._path)
        try:
            ensure_layout(self._connection, self._path)
            self._lease = Lease(directory / "storage.lock", self._connection)
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Release the lease and close."""
        self._lease.release()
        self._connection.close()

    def _transaction(self) -> AbstractContextManager[None]:
        """A write transaction that begins with the check of the lease."""
        return self._lease.transaction()

    def _reading(self) -> AbstractContextManager[None]:
        """Reading outside of a transaction, with the errors of one."""
        return file_errors(self._connection.filename)

    def _last_op(self) -> int:
        return self._connection.execute("SELECT value FROM storage_meta WHERE key = 'last_op'").get

    def _visible_op(self, version: int) -> int:
        """The op id of the version's newest visible checkpoint, 0 before the first."""
        sql = "SELECT coalesce(max(checkpoint_op), 0) FROM version WHERE number = ?"
        return self._connection.execute(sql, (version,)).get
