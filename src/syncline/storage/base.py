"""The contracts of bucket storage. Every implementation passes tests/conformance/storage_suite/.

Writing is blocking and belongs to one replicator, in a thread or process of its own. Reading is asynchronous and belongs to the
API; it never waits for a writer. "How a checkpoint stays consistent" in docs/internals/architecture.md is the contract
between both sides: a reader works at exactly one checkpoint and sees no op above it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from syncline.errors import SynclineError
from syncline.storage.bucket_sizes import BucketSizes
from syncline.storage.control_model import ConnectionReport, Deployment, VersionReport
from syncline.storage.model import (
    BucketSize,
    BucketTotals,
    Checkpoint,
    CompactedOps,
    CurrentRow,
    FlushBatch,
    OpChunk,
    OpRow,
    SnapshotProgress,
    SnapshotState,
    StorageChanges,
    StorageSizes,
    StoredTable,
    Version,
    WriteCheckpointCursor,
)
from syncline.sync_config.plan import BucketQuery, ResolvedBuckets

__all__ = ["BucketStorage", "CheckpointView", "StorageControl", "StorageReader", "StorageWriter", "WriteCheckpoints"]


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
        self,
        version: int,
        *,
        schema: str,
        name: str,
        relation_id: int,
        key_columns: Sequence[str],
        definition: str = "",
        snapshot: SnapshotState = SnapshotState.PENDING,
    ) -> StoredTable:
        """Record a source table whose copy has not begun."""
        ...

    def replace_table(
        self,
        table_id: int,
        *,
        relation_id: int,
        key_columns: Sequence[str],
        definition: str = "",
        snapshot: SnapshotState = SnapshotState.PENDING,
    ) -> None:
        """The source has another table under this name, other keys or another definition: it is to be copied from its begin."""
        ...

    def save_snapshot_progress(self, table_id: int, progress: SnapshotProgress) -> None:
        """Remember how far a table's copy is. Call after their flush: a crash in between copies them again."""
        ...

    def finish_table_snapshot(self, version: int, table_id: int, *, position: str) -> None:
        """All rows of the table are flushed. No checkpoint before `position` may become visible (reference 4, step 4)."""
        ...

    def delay_checkpoints(self, version: int, *, position: str) -> None:
        """No checkpoint before `position` may become visible: what is flushed next holds rows as they were there."""
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

    def record_error(self, version: int, error: str) -> None:
        """Why the version does not replicate at present, for diagnostics; empty when it does again. Holds no row values."""
        ...

    def drop_version(self, version: int, *, rows_max: int) -> bool:
        """Delete up to about `rows_max` rows of a stopped version; True when nothing of it is left.

        Call again until it is done: one transaction for all would hold up replication and readers.
        """
        ...

    def compaction_candidates(self, version: int, *, buckets_max: int) -> Sequence[BucketSize]:
        """Buckets with ops that were appended since they were compacted last, those with the most first."""
        ...

    def ops_before(self, bucket: str, *, before: int | None, ops_max: int) -> Sequence[OpRow]:
        """A bucket's ops from the newest to the oldest, in pages: below op id `before`; None begins at the visible checkpoint.

        Without their `data`, which may be large and decides nothing. Empty where nothing is left, or the bucket is not there.
        """
        ...

    def apply_compaction(self, bucket: str, compacted: CompactedOps) -> None:
        """Make these changes in one transaction. Totals keep their checksums; their counts shrink by what a CLEAR replaced.

        Ops above the visible checkpoint are never touched. A reader between the old and the new state learns of it by the target op
        of what it reads (see `OpRow.target_op`).
        """
        ...

    def finish_compaction(self, bucket: str, *, new_ops: int) -> None:
        """The `new_ops` of this candidate were looked at; what was appended since then makes it a candidate again."""
        ...

    def compact_lookups(self, version: int, *, before_op: int, rows_max: int) -> int:
        """Delete about `rows_max` lookup entries below `before_op` that a later entry (also below it) replaced; how many they were.

        An entry that takes back goes too, once nothing is before it. 0 where nothing is left to delete. `before_op` must lie so far
        back that every watcher has read the changes up to it: `changes` tells lookups by their entries, and is None below it.
        """
        ...

    def sizes(self) -> StorageSizes:
        """What storage takes on disk at present."""
        ...

    def close(self) -> None:
        """Release the lease and close."""
        ...


@dataclass(frozen=True, slots=True)
class CheckpointView:
    """A session's reading at one checkpoint: which buckets, and the totals of each.

    A bucket without operations up to the checkpoint is absent from `totals`.
    """

    checkpoint: Checkpoint
    resolved: ResolvedBuckets
    totals: dict[str, BucketTotals]


class StorageReader(Protocol):
    """The API's side: every call reads one consistent state and holds no transaction after it returned."""

    async def active_version(self) -> Version | None:
        """The version that serves clients."""
        ...

    async def checkpoint(self, version: int) -> Checkpoint | None:
        """The newest visible checkpoint of a version; None before its first, or when the version is gone."""
        ...

    async def view(self, version: int, query: BucketQuery) -> CheckpointView | None:
        """`views` of one query; raises what the query raised."""
        ...

    async def views(
        self, version: int, queries: Sequence[BucketQuery]
    ) -> Sequence[CheckpointView | SynclineError] | None:
        """Drive bucket queries at the newest checkpoint and read the totals of their buckets, all in one transaction.

        All at the same checkpoint, in the order of the queries; in the place of a query that failed stands its error, and the
        others are not touched by it. Lookups and totals that several queries ask for are read once. None, and the queries closed,
        when the version has no visible checkpoint any more. Raises StorageUnavailable for all of them together. It takes as long
        as its largest query: bound how many go together.
        """
        ...

    async def changes(self, version: int, since: Checkpoint) -> StorageChanges | None:
        """What changed after `since` up to the newest checkpoint; None when the version is gone.

        None too when `since` lies before lookup entries that were compacted away: who asks so late begins anew.
        """
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

    async def custom_write_checkpoint(self, version: int, user_key: str) -> int | None:
        """The user's custom write checkpoint (sync config reference, 9) at the newest checkpoint; None where there is none."""
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

    async def request(self, user_key: str, request_id: int, position: str) -> int:
        """Store a checkpoint request: an id that the client chose (protocol reference, 5.3). Returns the stored id.

        A greater id replaces the stored one and waits for `position`; an equal one keeps its position; a lower one changes nothing.
        """
        ...

    async def expire_requests(self, *, older_than_s: float) -> int:
        """Delete requests (never counters) that were not stored or repeated for so long; how many they were."""
        ...

    async def reached(self, user_key: str, position: str) -> int | None:
        """The user's write checkpoint if replication at `position` has reached it."""
        ...

    async def reached_all(self, user_keys: Collection[str], position: str) -> dict[str, int]:
        """`reached` of several users in one reading; users without a write checkpoint that is reached are absent."""
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

    def open_control(self) -> StorageControl:
        """Open what administrators keep here, which never waits for the replicator's writes either."""
        ...


class StorageControl(Protocol):
    """Deployed configs, revoked users and reports of connections; and how versions stand. Used by the API and by whoever replicates.

    All calls raise StorageUnavailable when storage cannot be reached.
    """

    async def deploy(self, sync_config: str | None, *, now_ms: int, random_bits: int) -> Deployment:
        """Remember a deployment. Its number is above that of every version and deployment that this storage has seen.

        `random_bits` are 10 bits for `draw_version_number`. The newest DEPLOYMENTS_KEPT deployments are kept.
        """
        ...

    async def deployments(self) -> Sequence[Deployment]:
        """Remembered deployments, oldest first."""
        ...

    async def versions(self) -> Sequence[VersionReport]:
        """All versions as they stand, oldest first."""
        ...

    async def bucket_sizes(self, version: int) -> BucketSizes:
        """How large the buckets of a version are, as far as a bounded reading tells; none of a version that is gone."""
        ...

    async def revoke(self, user_id: str, *, until_ms: int) -> None:
        """Remember until when a user's tokens are refused; a time that has passed takes a revocation back."""
        ...

    async def revocations(self, *, now_ms: int) -> dict[str, int]:
        """Revoked users with the time (ms) until which they are. Those whose time has passed are forgotten."""
        ...

    async def report_connections(self, reports: Sequence[ConnectionReport]) -> None:
        """Add to the reports of the same user, client and day, in one transaction."""
        ...

    async def connection_reports(self, *, user_id: str | None = None) -> Sequence[ConnectionReport]:
        """The newest reports, at most CONNECTION_REPORTS_MAX, of one user or of all."""
        ...

    async def expire_connection_reports(self, *, before_ms: int) -> int:
        """Delete reports of days before the one of `before_ms`; how many they were."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...
