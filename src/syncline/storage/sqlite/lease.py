"""One writer at a time: an operating-system lock on a file beside the storage, and an epoch that every write checks.

The lock is released by the kernel when its process ends, however it ends, so that a restart after `kill -9` waits for nothing.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import apsw

from syncline.errors import LeaseLost, StorageUnavailable
from syncline.storage.sqlite.connection import write_transaction

__all__ = ["Lease", "locked"]


class Lease:
    """The right to write a storage, held from construction to `release`. Raises StorageUnavailable while another process has it."""

    def __init__(self, path: Path, connection: apsw.Connection) -> None:
        self._connection = connection
        self._file = _lock(path)
        with write_transaction(connection):
            connection.execute("UPDATE storage_meta SET value = value + 1 WHERE key = 'lease_epoch'").fetchall()
            self._epoch = self._stored_epoch()

    @contextmanager
    def transaction(self) -> Generator[None]:
        """A write transaction. Raises LeaseLost, before anything was written, when another writer has taken over."""
        with write_transaction(self._connection):
            if self._stored_epoch() != self._epoch:
                raise LeaseLost("Another replicator has taken over this storage.")
            yield

    def release(self) -> None:
        """Let another process write. Safe to call twice."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _stored_epoch(self) -> int:
        return self._connection.execute("SELECT value FROM storage_meta WHERE key = 'lease_epoch'").get


@contextmanager
def locked(path: Path) -> Generator[None]:
    """Hold the writer's lock for a while, without a lease. Raises StorageUnavailable while another process has it."""
    file = _lock(path)
    try:
        yield
    finally:
        os.close(file)


def _lock(path: Path) -> int:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        os.close(file)
        raise StorageUnavailable(
            f"Another process replicates into {path.parent}.",
            code="PSYNC_S1003",
            hint="Stop the other Syncline service, or give this one a storage.path of its own.",
        ) from exc
    return file
