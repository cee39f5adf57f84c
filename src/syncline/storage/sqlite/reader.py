"""The API's side of SQLite storage. Contract: `syncline.storage.base.StorageReader`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import apsw

from syncline.errors import SynclineError
from syncline.storage.base import CheckpointView
from syncline.storage.bucket_queries import BucketQueries, only_view
from syncline.storage.model import BucketTotals, Checkpoint, OpChunk, StorageChanges, Version, VersionState
from syncline.storage.sqlite.chunks import read_chunks
from syncline.storage.sqlite.connection import open_connection, read_transaction
from syncline.storage.sqlite.stored_rows import VERSION_COLUMNS, version_from_row
from syncline.sync_config.plan import BucketQuery

__all__ = ["SqliteReader"]

READ_THREADS = 4  # reads that run at the same time; each has a connection of its own
_T = TypeVar("_T")

# `output` is the column of the row that max() picked: documented behaviour of SQLite for bare columns.
_LOOKUP_OUTPUTS = """
SELECT output FROM (
  SELECT output, max(op_id) FROM lookup_entry WHERE version = ? AND lookup = ? AND op_id <= ? GROUP BY table_id, row_key
) WHERE output IS NOT NULL
"""


class SqliteReader:
    """Reads `storage.db` in a few threads, beside a writer in any process."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "storage.db"
        self._threads = ThreadPoolExecutor(READ_THREADS, thread_name_prefix="storage-reader")
        self._local = threading.local()
        self._connections: list[apsw.Connection] = []

    async def active_version(self) -> Version | None:
        """The version that serves clients."""
        return await self._run(_active_version)

    async def checkpoint(self, version: int) -> Checkpoint | None:
        """The newest visible checkpoint of a version."""
        return await self._run(lambda connection: _checkpoint(connection, version))

    async def view(self, version: int, query: BucketQuery) -> CheckpointView | None:
        """`views` of one query."""
        return only_view(await self.views(version, [query]))

    async def views(
        self, version: int, queries: Sequence[BucketQuery]
    ) -> Sequence[CheckpointView | SynclineError] | None:
        """Drive bucket queries at the newest checkpoint and read the totals of their buckets, in one transaction."""
        return await self._run(lambda connection: _views(connection, version, queries))

    async def changes(self, version: int, since: Checkpoint) -> StorageChanges | None:
        """What changed after `since` up to the newest checkpoint."""
        return await self._run(lambda connection: _changes(connection, version, since))

    async def chunks(
        self,
        version: int,
        positions: Sequence[tuple[str, int]],
        *,
        checkpoint_op: int,
        ops_max: int,
        chunk_ops_max: int,
        chunk_bytes_max: int,
    ) -> list[OpChunk]:
        """Operations of these buckets above their positions, up to the checkpoint."""
        return await self._run(
            lambda connection: read_chunks(
                connection,
                positions,
                checkpoint_op,
                ops_max=ops_max,
                chunk_ops_max=chunk_ops_max,
                chunk_bytes_max=chunk_bytes_max,
            )
        )

    async def custom_write_checkpoint(self, version: int, user_key: str) -> int | None:
        """The user's custom write checkpoint at the newest checkpoint."""
        return await self._run(lambda connection: _custom_write_checkpoint(connection, version, user_key))

    async def close(self) -> None:
        """Wait for running reads, then close all connections."""
        await asyncio.to_thread(self._threads.shutdown)
        for connection in self._connections:
            connection.close()

    async def _run(self, read: Callable[[apsw.Connection], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, read)

    def _read(self, read: Callable[[apsw.Connection], _T]) -> _T:
        connection: apsw.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = open_connection(self._path, read_only=True)
            self._connections.append(connection)
        with read_transaction(connection):
            return read(connection)


def _active_version(connection: apsw.Connection) -> Version | None:
    rows = connection.execute(
        f"SELECT {VERSION_COLUMNS} FROM version WHERE state = ?",  # noqa: S608 - our own names
        (VersionState.ACTIVE.value,),
    ).fetchall()
    return version_from_row(rows[0]) if rows else None


def _checkpoint(connection: apsw.Connection, version: int) -> Checkpoint | None:
    rows: list[Any] = connection.execute(
        "SELECT checkpoint_op, checkpoint_position FROM version"
        " WHERE number = ? AND state = ? AND checkpoint_op IS NOT NULL",
        (version, VersionState.ACTIVE.value),
    ).fetchall()
    return Checkpoint(version, rows[0][0], rows[0][1]) if rows else None


def _views(
    connection: apsw.Connection, version: int, queries: Sequence[BucketQuery]
) -> list[CheckpointView | SynclineError] | None:
    checkpoint = _checkpoint(connection, version)
    if checkpoint is None:
        for query in queries:
            query.close()
        return None
    run = BucketQueries(queries)
    while wanted := run.next_lookups():
        run.answer({name: _lookup_outputs(connection, checkpoint, name) for name in wanted})
    totals: dict[str, BucketTotals] = {}
    for name in run.bucket_names:
        for row in connection.execute(
            "SELECT op, checksum, op_count, old_op, old_checksum, old_op_count FROM bucket WHERE name = ?", (name,)
        ):
            state = _totals_at(row, checkpoint.op_id)
            if state.op_id:
                totals[name] = state
    return run.views(checkpoint, totals)


def _lookup_outputs(connection: apsw.Connection, checkpoint: Checkpoint, lookup: str) -> list[str]:
    rows = connection.execute(_LOOKUP_OUTPUTS, (checkpoint.version, lookup, checkpoint.op_id))
    return [row[0] for row in rows]


def _totals_at(row: tuple[Any, ...], checkpoint_op: int) -> BucketTotals:
    """The slot that a reader at `checkpoint_op` takes: the newest unless it is above."""
    return BucketTotals(*row[:3]) if row[0] <= checkpoint_op else BucketTotals(*row[3:6])


def _changes(connection: apsw.Connection, version: int, since: Checkpoint) -> StorageChanges | None:
    checkpoint = _checkpoint(connection, version)
    if checkpoint is None or since.op_id < _lookups_compacted_op(connection, version):
        return None
    totals: dict[str, BucketTotals] = {}
    for row in connection.execute(
        "SELECT op, checksum, op_count, old_op, old_checksum, old_op_count, name FROM bucket WHERE version = ? AND op > ?",
        (version, since.op_id),
    ):
        state = _totals_at(row, checkpoint.op_id)
        if state.op_id > since.op_id:
            totals[row[6]] = state
    lookups = connection.execute(
        "SELECT DISTINCT lookup FROM lookup_entry WHERE version = ? AND op_id > ? AND op_id <= ?",
        (version, since.op_id, checkpoint.op_id),
    )
    custom = connection.execute(
        "SELECT user_key, value FROM custom_write_checkpoint WHERE version = ? AND op_id > ? AND op_id <= ? ORDER BY op_id",
        (version, since.op_id, checkpoint.op_id),
    )
    return StorageChanges(checkpoint, totals, frozenset(row[0] for row in lookups), {row[0]: row[1] for row in custom})


def _lookups_compacted_op(connection: apsw.Connection, version: int) -> int:
    """Up to this op id, entries that took a lookup back may be gone: it cannot be told any more what changed."""
    return connection.execute("SELECT lookups_compacted_op FROM version WHERE number = ?", (version,)).get


def _custom_write_checkpoint(connection: apsw.Connection, version: int, user_key: str) -> int | None:
    checkpoint = _checkpoint(connection, version)
    if checkpoint is None:
        return None
    return connection.execute(
        "SELECT value FROM custom_write_checkpoint WHERE version = ? AND user_key = ? AND op_id <= ?"
        " ORDER BY op_id DESC LIMIT 1",
        (version, user_key, checkpoint.op_id),
    ).get
