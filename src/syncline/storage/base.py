"""The contracts of bucket storage. Every implementation passes tests/conformance/storage_suite.py.

Writing is blocking and belongs to one replicator, in a thread or process of its own. Reading is asynchronous and belongs to the
API; it never waits for a writer. "How a checkpoint stays consistent" in docs/internals/architecture.md is the contract
between both sides: a reader works at exactly one checkpoint and sees no op above it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from syncline.storage.model import (
    BucketTotals,
    Checkpoint,
    CurrentRow,
    FlushBatch,
    OpChunk,
    StorageChanges,
    StoredTable,
    Version,
    WriteCheckpointCursor,
)
from syncline.sync_config.plan import BucketQuery, ResolvedBuckets

__all__ = ["BucketStorage", "CheckpointView", "StorageReader", "StorageWriter", "WriteCheckpoints"]


class StorageWriter(Protocol):
    """The replicator's side. One at a time: every transaction checks the lease and raises LeaseLost when it is another's."""

    def versions(self) -> Sequence[Version]:
        """All versions, oldest first."""
        ...

    def start_version(self, number: int, *, sync_config: str, slot_name: str, source_identity: str) -> Version:
        """Make a version in state PROCESSING. The number must be above every number that this storage has seen."""
        ...

    def highest_version_number(self) -> int:
        """The highest version number ever used here, 0 in a new storage."""
        ...

    def stop_version(self, version: int) -> None:
        """Take a version out of use: it neither replicates nor serves any more."""
        ...

    def tables(self, version: int) -> Sequence[StoredTable]:
        """The source tables of a version."""
        ...

    def add_table(
        self, version: int, *, schema: str, name: str, relation_id: int, key_columns: Sequence[str]
    ) -> StoredTable:
        """Record a source table whose snapshot is pending."""
        ...

    def replace_table(self, table_id: int, *, relation_id: int, key_columns: Sequence[str]) -> None:
        """The source has another table under this name, or other keys: its snapshot is pending again."""
        ...

    def finish_table_snapshot(self, version: int, table_id: int, *, position: str) -> None:
        """All rows of the table are flushed. No checkpoint before `position` may become visible (reference 4, step 4)."""
        ...

    def finish_snapshot(self, version: int) -> None:
        """All tables of the version are copied."""
        ...

    def current_rows(self, table_id: int, keys: Collection[bytes]) -> dict[bytes, CurrentRow]:
        """What is remembered of these rows; a row that is not remembered is absent from the answer."""
        ...

    def table_rows(self, table_id: int, *, after: bytes, limit: int) -> list[tuple[bytes, CurrentRow]]:
        """All remembered rows of a table in pages by row key, for TRUNCATE."""
        ...

    def flush(self, version: int, batch: FlushBatch) -> int:
        """Append a batch in one transaction and return the last op id. Nothing of it is visible before `commit`."""
        ...

    def commit(self, version: int, position: str) -> Checkpoint | None:
        """A source transaction ends at `position`: make all that was flushed visible.

        None while no checkpoint may be visible yet (snapshot not done, or `position` before `consistent_from`). The first
        visible checkpoint makes the version ACTIVE and stops the one before it, in the same transaction.
        """
        ...

    def position(self, version: int) -> str:
        """The source position up to which everything is stored, or "" before the first commit."""
        ...

    def sync_to_disk(self) -> None:
        """After this returned, everything committed survives a power cut: only now may the position be acknowledged."""
        ...

    def drop_version(self, version: int) -> None:
        """Delete a stopped version with all its data."""
        ...

    def close(self) -> None:
        """Release the lease and close."""
        ...


class CheckpointView(Protocol):
    """A session's reading at one checkpoint: which buckets, and the totals of each."""

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint that was adopted."""
        ...

    @property
    def resolved(self) -> ResolvedBuckets:
        """The connection's buckets as of the checkpoint."""
        ...

    @property
    def totals(self) -> dict[str, BucketTotals]:
        """Totals of the resolved buckets as of the checkpoint; a bucket without operations is absent."""
        ...


class StorageReader(Protocol):
    """The API's side: every call reads one consistent state and holds no transaction after it returned."""

    async def active_version(self) -> Version | None:
        """The version that serves clients."""
        ...

    async def checkpoint(self, version: int) -> Checkpoint | None:
        """The newest visible checkpoint of a version; None before its first, or when the version is gone."""
        ...

    async def view(self, version: int, query: BucketQuery) -> CheckpointView | None:
        """Drive a bucket query at the newest checkpoint and read the totals of its buckets, all in one transaction.

        None when the version has no visible checkpoint any more.
        """
        ...

    async def changes(self, version: int, since: Checkpoint) -> StorageChanges | None:
        """What changed after `since` up to the newest checkpoint; None when the version is gone."""
        ...

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
        """Operations of these buckets above their positions, up to the checkpoint, in the order of `positions`.

        At most `ops_max` operations over all chunks; a chunk holds one bucket, at most `chunk_ops_max` operations and about
        `chunk_bytes_max` bytes of row data (one larger row is a chunk of its own). Buckets with nothing to send give no chunk.
        `has_more` is set where a bucket was cut.
        """
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


class WriteCheckpoints(Protocol):
    """Write checkpoints of users (protocol reference, section 5). A user key is `sub`, or `sub/client_id`.

    Counters start at a time-based number, not at 1: a rebuilt storage must not count again from below what a client still waits
    for, else that client waits for ever.
    """

    async def create(self, user_keys: Sequence[str], position: str) -> list[int]:
        """Count one up per user key and remember that it is reached when replication has passed `position`."""
        ...

    async def reached(self, user_key: str, position: str) -> int | None:
        """The user's write checkpoint if replication at `position` has reached it."""
        ...

    async def newly_reached(
        self, position: str, cursor: WriteCheckpointCursor
    ) -> tuple[dict[str, int], WriteCheckpointCursor]:
        """User keys and values that were reached, or stored as reached already, since the reading that gave `cursor`."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


class BucketStorage(Protocol):
    """One storage, as the wiring opens it."""

    def open_writer(self) -> StorageWriter:
        """Take the lease and migrate the schema. Raises StorageUnavailable while another process holds the lease."""
        ...

    def open_reader(self) -> StorageReader:
        """Open for reading; works beside a writer in any process."""
        ...

    def open_write_checkpoints(self) -> WriteCheckpoints:
        """Open the write checkpoints, which never wait for the replicator's writes."""
        ...
