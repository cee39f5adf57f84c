"""The wall of storage: the operations that a service stored, appended again through the writer alone."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from base64 import urlsafe_b64decode
from pathlib import Path

from syncline.protocol.ops import OpType
from syncline.replication.limits import FLUSH_ROWS_MAX
from syncline.storage.model import CurrentRow, FlushBatch, Membership, NewOp
from syncline.storage.sqlite import SqliteStorage

__all__ = ["StorageProbe", "append_again"]


def append_again(storage: Path) -> float:
    """Append every PUT of a storage to a new one, batched as replication does it; return the seconds that the writer took."""
    batches = _batches(storage)
    with tempfile.TemporaryDirectory(prefix="syncline-bench-") as folder:
        writer = SqliteStorage(Path(folder)).open_writer()
        try:
            version = writer.start_version(1_000, sync_config="", slot_name="", source_identity="").number
            table = writer.add_table(version, schema="public", name="items", relation_id=1, key_columns=("id",))
            assert table.id == 1, "the batches name this table"
            started = time.perf_counter()
            for batch in batches:
                writer.flush(version, batch)
            writer.finish_snapshot(version)
            writer.commit(version, "1")
            return time.perf_counter() - started
        finally:
            writer.close()


class StorageProbe:
    """Looks at a running service's storage from outside, through one connection: a look costs the service nothing."""

    def __init__(self, storage: Path) -> None:
        self._path = storage / "storage.db"
        self._connection: sqlite3.Connection | None = None

    @property
    def has_version(self) -> bool:
        """Whether the service has begun to copy its source."""
        return self._read("SELECT count(*) FROM version") > 0

    @property
    def checkpoint_op(self) -> int:
        """The highest op id that is visible, 0 before the first checkpoint."""
        return self._read("SELECT coalesce(max(checkpoint_op), 0) FROM version")

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()

    def _read(self, statement: str) -> int:
        if self._connection is None:
            if not self._path.exists():
                return 0
            self._connection = sqlite3.connect(self._path, timeout=5)
        try:
            return int(self._connection.execute(statement).fetchone()[0])
        except sqlite3.OperationalError:  # the schema is being made
            return 0


def _batches(storage: Path) -> list[FlushBatch]:
    connection = sqlite3.connect(storage / "storage.db")
    rows = connection.execute(
        "SELECT bucket.name, object_type, object_id, op.checksum, subkey, data FROM op JOIN bucket ON bucket.id = op.bucket"
        " WHERE kind = 1 ORDER BY op_id"
    )
    batches: list[FlushBatch] = []
    while page := rows.fetchmany(FLUSH_ROWS_MAX):
        batch = FlushBatch()
        for bucket, object_type, object_id, checksum, subkey, data in page:
            batch.ops.append(NewOp(bucket, OpType.PUT, object_type, object_id, checksum, subkey, data))
            key = urlsafe_b64decode(f"{subkey}==")
            batch.rows[1, key] = CurrentRow((Membership(bucket, object_type, object_id),), ())
        batches.append(batch)
    connection.close()
    return batches
