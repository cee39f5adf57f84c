"""Bucket storage in memory, for tests: what a service knows of a source, served to real sessions.

It keeps the contracts of `syncline.storage.base` for what a session reads: totals and operations at one checkpoint, lookups, write
checkpoints, compaction. A source transaction becomes visible in one step, so nothing above the checkpoint is ever stored.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from syncline.errors import SynclineError
from syncline.protocol.bucket_names import SyncValue
from syncline.protocol.ops import OpType, add_checksums, put_checksum, remove_checksum
from syncline.storage.base import CheckpointView
from syncline.storage.bucket_queries import BucketQueries, only_view
from syncline.storage.chunking import cut_into_chunks
from syncline.storage.compaction import BucketCompaction
from syncline.storage.model import (
    OP_CODES,
    BucketTotals,
    Checkpoint,
    ClearedPrefix,
    CompactedOps,
    OpChunk,
    OpRow,
    StorageChanges,
    StoredOp,
    Version,
    VersionState,
    WriteCheckpointCursor,
    row_key,
    row_key_prefix,
    subkey_text,
)
from syncline.sync_config.plan import BucketQuery, RowEvaluator, SyncPlan
from syncline.testing.memory_source import RowChange, SourceTransaction, position_text

__all__ = ["SCHEMA", "MemoryStorage", "MemoryWriteCheckpoints"]

SCHEMA = "public"  # the schema of all tables of a source in memory
_OP_TYPES = {code: op for op, code in OP_CODES.items()}


@dataclass(slots=True)
class _StoredRow:
    """Where a source row stands, and what it contributes to lookups."""

    memberships: dict[tuple[str, str, str], None] = field(default_factory=dict[tuple[str, str, str], None])
    lookups: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])


class MemoryStorage:
    """One version of a sync config with its replicated data. Contract: `syncline.storage.base.StorageReader`.

    `columns` are those of the source's tables. Compaction and `apply` may be called at any moment between two awaits.
    """

    def __init__(self, plan: SyncPlan, *, sync_config: str, number: int, columns: Mapping[str, Sequence[str]]) -> None:
        self._plan = plan
        self._columns = columns
        self._version = Version(number, VersionState.ACTIVE, sync_config, "memory", "memory", True, "")
        self._evaluators: dict[str, RowEvaluator] = {}
        self._rows: dict[tuple[str, str], _StoredRow] = {}
        self._ops: dict[str, list[StoredOp]] = {}
        self._totals: dict[str, BucketTotals] = {}
        self._outputs: dict[str, dict[tuple[str, str], list[str]]] = {}  # lookup -> source row -> outputs
        self._lookup_changes: dict[str, int] = {}  # lookup -> op id of its newest change
        self._op_id = 0
        self.position = 0

    @property
    def version(self) -> Version:
        """The version that is served."""
        return self._version

    @property
    def newest(self) -> Checkpoint:
        """The visible checkpoint."""
        return Checkpoint(self._version.number, self._op_id, position_text(self.position))

    @property
    def op_count(self) -> int:
        """Operations of all buckets."""
        return sum(len(ops) for ops in self._ops.values())

    # -- replication

    def apply(self, transaction: SourceTransaction) -> None:
        """Make a source transaction visible. They come in the order of the log."""
        for change in transaction.changes:
            self._apply(change)
        self.position = transaction.position

    def _apply(self, change: RowChange) -> None:
        key = (change.table, change.row_id)
        before = self._rows.pop(key, None) or _StoredRow()
        after = _StoredRow()
        subkey = subkey_text(row_key(row_key_prefix(SCHEMA, change.table), [change.row_id]))
        puts: list[tuple[tuple[str, str, str], str]] = []
        if change.row is not None:
            columns = self._columns[change.table]
            values: list[SyncValue] = [change.row[name] for name in columns]
            evaluation = self._evaluator(change.table)(values)
            for row in evaluation.rows:
                place = (row.bucket, row.object_type, row.object_id)
                after.memberships[place] = None
                puts.append((place, row.data))
            after.lookups = [(lookup.lookup, lookup.output) for lookup in evaluation.lookups]
            self._rows[key] = after
        for place in before.memberships.keys() - after.memberships.keys():
            self._append(place, OpType.REMOVE, remove_checksum(subkey), subkey, None)
        for place, data in puts:
            self._append(place, OpType.PUT, put_checksum(place[1], place[2], data), subkey, data)
        self._change_lookups(key, before.lookups, after.lookups)

    def _append(self, place: tuple[str, str, str], op: OpType, checksum: int, subkey: str, data: str | None) -> None:
        bucket, object_type, object_id = place
        self._op_id += 1
        total = self._totals.get(bucket, BucketTotals(0, 0, 0))
        self._totals[bucket] = BucketTotals(self._op_id, add_checksums(total.checksum, checksum), total.op_count + 1)
        stored = (self._op_id, OP_CODES[op], object_type, object_id, checksum, subkey, data, None)
        self._ops.setdefault(bucket, []).append(stored)

    def _change_lookups(
        self, key: tuple[str, str], before: list[tuple[str, str]], after: list[tuple[str, str]]
    ) -> None:
        if sorted(before) == sorted(after):
            return
        self._op_id += 1  # a change of lookups alone is a checkpoint of its own
        for lookup, _ in before:
            self._outputs[lookup].pop(key, None)
            self._lookup_changes[lookup] = self._op_id
        for lookup, output in after:
            self._outputs.setdefault(lookup, {}).setdefault(key, []).append(output)
            self._lookup_changes[lookup] = self._op_id

    def _evaluator(self, table: str) -> RowEvaluator:
        if table not in self._evaluators:
            self._evaluators[table] = self._plan.row_evaluator(
                SCHEMA, table, self._columns[table], self._version.bucket_prefix
            )
        return self._evaluators[table]

    def replace(
        self, plan: SyncPlan, *, sync_config: str, number: int, snapshot: Sequence[RowChange], position: int
    ) -> None:
        """Serve another version from now on, with the source's rows at `position`. Op ids go on where they were."""
        self._plan = plan
        self._version = Version(number, VersionState.ACTIVE, sync_config, "memory", "memory", True, "")
        for known in (self._evaluators, self._rows, self._ops, self._totals, self._outputs, self._lookup_changes):
            known.clear()
        self.apply(SourceTransaction(position, tuple(snapshot)))

    # -- compaction

    def compact(self) -> int:
        """Compact every bucket; returns how many operations became smaller or went away."""
        changed = 0
        for bucket in self._ops:
            run = BucketCompaction()
            while not run.is_done:
                for compacted in run.feed(self._ops_before(bucket, run.before)):
                    changed += len(compacted.moves)
                    self._make_moves(bucket, compacted)
                    if compacted.cleared is not None:
                        changed += compacted.cleared.op_count - 1
                        self._clear(bucket, compacted.cleared)
        return changed

    def _ops_before(self, bucket: str, before: int | None) -> list[OpRow]:
        rows = [row for row in self._ops[bucket] if before is None or row[0] < before]
        return [OpRow(row[0], _OP_TYPES[row[1]], *row[2:]) for row in reversed(rows[-50:])]

    def _make_moves(self, bucket: str, compacted: CompactedOps) -> None:
        targets = dict(compacted.moves)
        self._ops[bucket] = [
            (row[0], OP_CODES[OpType.MOVE], None, None, row[4], None, None, targets[row[0]])
            if row[0] in targets
            else row
            for row in self._ops[bucket]
        ]

    def _clear(self, bucket: str, cleared: ClearedPrefix) -> None:
        kept = [row for row in self._ops[bucket] if row[0] > cleared.op_id]
        gone = len(self._ops[bucket]) - len(kept) - 1
        clear = (cleared.op_id, OP_CODES[OpType.CLEAR], None, None, cleared.checksum, None, None, cleared.target_op)
        self._ops[bucket] = [clear, *kept]
        total = self._totals[bucket]
        self._totals[bucket] = total._replace(op_count=total.op_count - gone)

    # -- reading

    async def active_version(self) -> Version | None:
        """The version that serves clients."""
        return self._version

    async def checkpoint(self, version: int) -> Checkpoint | None:
        """The newest checkpoint; None for another version."""
        return self.newest if version == self._version.number else None

    async def view(self, version: int, query: BucketQuery) -> CheckpointView | None:
        """`views` of one query."""
        return only_view(await self.views(version, [query]))

    async def views(
        self, version: int, queries: Sequence[BucketQuery]
    ) -> Sequence[CheckpointView | SynclineError] | None:
        """Buckets and totals of each query at the newest checkpoint."""
        if version != self._version.number:
            for query in queries:
                query.close()
            return None
        running = BucketQueries(queries)
        while names := running.next_lookups():
            running.answer(
                {name: [out for outputs in self._outputs.get(name, {}).values() for out in outputs] for name in names}
            )
        totals = {name: self._totals[name] for name in running.bucket_names if name in self._totals}
        return running.views(self.newest, totals)

    async def changes(self, version: int, since: Checkpoint) -> StorageChanges | None:
        """What changed after `since`."""
        if version != self._version.number:
            return None
        totals = {name: total for name, total in self._totals.items() if total.op_id > since.op_id}
        lookups = frozenset(name for name, op_id in self._lookup_changes.items() if op_id > since.op_id)
        return StorageChanges(self.newest, totals, lookups)

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
        """Operations above the positions, up to the checkpoint."""
        if version != self._version.number:
            return []
        chunks: list[OpChunk] = []
        left = ops_max
        for bucket, after in positions:
            ops = self._ops.get(bucket, [])
            start = bisect_right(ops, after, key=lambda row: row[0])
            end = bisect_right(ops, checkpoint_op, key=lambda row: row[0])
            rows = ops[start : min(end, start + left)]
            if not rows:
                continue
            left -= len(rows)
            chunks += cut_into_chunks(
                bucket,
                after,
                rows,
                cut=start + len(rows) < end,
                data_size=sum(len(row[6] or "") for row in rows),
                ops_max=chunk_ops_max,
                bytes_max=chunk_bytes_max,
            )
            if left <= 0:
                break
        return chunks

    async def custom_write_checkpoint(self, version: int, user_key: str) -> int | None:
        """None: a source in memory has no table of write checkpoints."""
        return None

    async def close(self) -> None:
        """Nothing to close."""


@dataclass(slots=True)
class _WriteCheckpoint:
    value: int
    position: str
    sequence: int


class MemoryWriteCheckpoints:
    """Write checkpoints per user key. Contract: `syncline.storage.base.WriteCheckpoints`.

    `first` is the first number that is given: a storage that was made anew begins above those of the one before.
    """

    def __init__(self, *, first: int = 1) -> None:
        self._first = first
        self._by_user: dict[str, _WriteCheckpoint] = {}
        self._sequence = 0

    def forget(self) -> None:
        """Lose all of them, as a storage does that is made anew. Numbers go on above those that were given."""
        self._first = max([self._first, *(known.value + 1 for known in self._by_user.values())])
        self._by_user.clear()

    async def create(self, user_keys: Sequence[str], position: str) -> list[int]:
        """Count one up per user key."""
        values: list[int] = []
        for user_key in user_keys:
            known = self._by_user.get(user_key)
            self._sequence += 1
            value = max(self._first, known.value + 1 if known else 0)
            self._by_user[user_key] = _WriteCheckpoint(value, position, self._sequence)
            values.append(value)
        return values

    async def request(self, user_key: str, request_id: int, position: str) -> int:
        """Store an id that the client chose, unless a greater one is stored; the stored id."""
        known = self._by_user.get(user_key)
        if known is None or request_id > known.value:
            self._sequence += 1
            self._by_user[user_key] = known = _WriteCheckpoint(request_id, position, self._sequence)
        return known.value

    async def expire_requests(self, *, older_than_s: float) -> int:
        """Nothing expires here."""
        return 0

    async def reached(self, user_key: str, position: str) -> int | None:
        """The user's write checkpoint if replication at `position` has reached it."""
        return (await self.reached_all([user_key], position)).get(user_key)

    async def reached_all(self, user_keys: Collection[str], position: str) -> dict[str, int]:
        """`reached` of several users."""
        found = ((key, self._by_user.get(key)) for key in user_keys)
        return {key: known.value for key, known in found if known is not None and known.position <= position}

    async def newly_reached(
        self, position: str, cursor: WriteCheckpointCursor
    ) -> tuple[dict[str, int], WriteCheckpointCursor]:
        """What was reached, or stored as reached already, since `cursor`."""
        reached = {
            key: known.value
            for key, known in self._by_user.items()
            if known.position <= position and (known.position > cursor.position or known.sequence > cursor.sequence)
        }
        return reached, WriteCheckpointCursor(position, self._sequence)

    async def close(self) -> None:
        """Nothing to close."""
