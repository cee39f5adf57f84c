"""PURE: what bucket storage holds. Words as in docs/glossary.md; layout in docs/internals/storage-schema.md."""

from __future__ import annotations

import enum
from binascii import b2a_base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple, cast, overload

from syncline.protocol.bucket_names import SyncValue, canonical_json
from syncline.protocol.ops import OpType

__all__ = [
    "OP_CODES",
    "BucketSize",
    "BucketTotals",
    "Checkpoint",
    "ClearedPrefix",
    "CompactedOps",
    "CurrentRow",
    "FlushBatch",
    "Lookup",
    "Membership",
    "NewOp",
    "OpChunk",
    "OpRow",
    "SnapshotProgress",
    "SnapshotState",
    "StorageChanges",
    "StorageSizes",
    "StoredOp",
    "StoredOps",
    "StoredTable",
    "Version",
    "VersionState",
    "WriteCheckpointCursor",
    "draw_version_number",
    "row_key",
    "row_key_prefix",
    "subkey_text",
]

OP_CODES: dict[OpType, int] = {OpType.PUT: 1, OpType.REMOVE: 2, OpType.MOVE: 3, OpType.CLEAR: 4}
"""Kinds of operations as numbers, in every storage."""
ZERO_POSITION = ""
"""Before every position of every source: positions are texts that compare in the order of the source's log."""


class VersionState(enum.StrEnum):
    """Life of a version: one deployed sync config together with its replicated data."""

    PROCESSING = "processing"  # set when made; serves nobody; leaves at its first consistent checkpoint
    ACTIVE = "active"  # replicates and serves; exactly one version is
    STOPPED = "stopped"  # replaced; its data and its slot are to be dropped


class SnapshotState(enum.StrEnum):
    """How far the initial copy of a source table is."""

    PENDING = "pending"  # not begun, or to be begun again; the stream waits for it
    BESIDE = "beside"  # under way beside the stream: what is copied becomes visible piece by piece, as of the checkpoint at hand
    DONE = "done"  # all rows copied; checkpoints are consistent from the version's `consistent_from` on


@dataclass(frozen=True, slots=True)
class Version:
    """A deployed sync config. `number` is in the names of its buckets and never recurs (design decision 13)."""

    number: int
    state: VersionState
    sync_config: str
    slot_name: str
    source_identity: str  # system identifier, timeline and database of the source that was copied
    snapshot_done: bool
    consistent_from: str  # no checkpoint is visible before this source position
    last_error: str = ""  # why the version does not replicate at present; empty while it does

    @property
    def bucket_prefix(self) -> str:
        """What the names of this version's buckets begin with."""
        return f"{self.number}#"


class SnapshotProgress(NamedTuple):
    """How far a table's copy is: every row of the blocks before `next_block` is flushed.

    The blocks are those of the file `filenode`: a table that was rewritten meanwhile has another one, and is begun again.
    """

    filenode: int
    next_block: int
    blocks: int  # of the whole table, as measured when the copy began
    rows: int  # copied so far


@dataclass(frozen=True, slots=True)
class StoredTable:
    """A source table that a version follows. `id` is storage's own. `progress` is that of an unfinished copy.

    `definition` is the source's own text for the columns and rows that it publishes; another text means to copy the table again.
    """

    id: int
    schema: str
    name: str
    relation_id: int
    key_columns: tuple[str, ...]
    snapshot: SnapshotState
    progress: SnapshotProgress | None = None
    definition: str = ""


class Checkpoint(NamedTuple):
    """A state of a version at which all buckets are consistent. `op_id` is the highest op visible."""

    version: int
    op_id: int
    position: str


class BucketTotals(NamedTuple):
    """Running total of a bucket: unsigned checksum and number of operations, up to and including `op_id`."""

    op_id: int
    checksum: int
    op_count: int


class Membership(NamedTuple):
    """That a source row stands in a bucket as an object."""

    bucket: str
    object_type: str
    object_id: str


class Lookup(NamedTuple):
    """A parameter lookup entry of a source row; `output` None takes the entry back."""

    table_id: int
    row_key: bytes
    lookup: str
    output: str | None


class CurrentRow(NamedTuple):
    """What storage remembers of a source row: where it stands, and the values that the source may leave out later.

    What is in `values` is the replicator's own business: storage gives back what it was given.
    """

    memberships: tuple[Membership, ...]
    lookups: tuple[tuple[str, str], ...]  # name and output of each entry
    values: tuple[SyncValue, ...] | None = None


class NewOp(NamedTuple):
    """An operation to append. Its op id is given by storage, in the order of the batch."""

    bucket: str
    op: OpType
    object_type: str
    object_id: str
    checksum: int
    subkey: str
    data: str | None


@dataclass(slots=True)
class FlushBatch:
    """What one storage transaction writes, in this order: operations, lookups, current rows, custom write checkpoints (by user key)."""

    ops: list[NewOp] = field(default_factory=list[NewOp])
    lookups: list[Lookup] = field(default_factory=list[Lookup])
    rows: dict[tuple[int, bytes], CurrentRow | None] = field(default_factory=dict[tuple[int, bytes], CurrentRow | None])
    custom_write_checkpoints: dict[str, int] = field(default_factory=dict[str, int])

    def __bool__(self) -> bool:
        return bool(self.ops or self.lookups or self.rows or self.custom_write_checkpoints)


class OpRow(NamedTuple):
    """A stored operation as it is read back."""

    op_id: int
    op: OpType
    object_type: str | None
    object_id: str | None
    checksum: int
    subkey: str | None
    data: str | None
    target_op: int | None = None  # for MOVE and CLEAR: the newer op that it gave way to


StoredOp = tuple[int, int, str | None, str | None, int, str | None, str | None, int | None]
"""An operation as a row of storage: the fields of `OpRow`, its kind as in `OP_CODES`."""


class StoredOps(Sequence[OpRow]):
    """Operations as storage has them, which are `OpRow`s to whoever looks at one.

    A download passes millions of them on without looking: it encodes `rows` as they are.
    """

    __slots__ = ("rows",)

    def __init__(self, rows: Sequence[StoredOp]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> OpRow: ...

    @overload
    def __getitem__(self, index: slice) -> StoredOps: ...

    def __getitem__(self, index: int | slice) -> OpRow | StoredOps:
        return StoredOps(self.rows[index]) if isinstance(index, slice) else _op_row(self.rows[index])

    def __iter__(self) -> Iterator[OpRow]:
        return map(_op_row, self.rows)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(cast("Sequence[object]", other))

    __hash__ = None  # pyright: ignore[reportAssignmentType] - a sequence of values, like a list

    def __repr__(self) -> str:
        return repr(list(self))


def _op_row(row: StoredOp) -> OpRow:
    return OpRow(row[0], _OP_TYPES[row[1]], *row[2:])


_OP_TYPES: dict[int, OpType] = {number: op for op, number in OP_CODES.items()}


@dataclass(frozen=True, slots=True)
class OpChunk:
    """Consecutive operations of one bucket with op ids in (`after`, `next_after`]."""

    bucket: str
    after: int
    next_after: int
    has_more: bool
    ops: Sequence[OpRow]  # of storage: StoredOps

    @property
    def op_count(self) -> int:
        """How many operations these are."""
        return len(self.ops)

    @property
    def rows(self) -> Sequence[StoredOp]:
        """The operations as storage has them."""
        if isinstance(self.ops, StoredOps):
            return self.ops.rows
        return [(op.op_id, OP_CODES[op.op], *op[2:]) for op in self.ops]

    @property
    def newest_target(self) -> int:
        """The newest op that one of these gave way to, 0 where none did."""
        return max((row[7] for row in self.rows if row[7] is not None), default=0)


class BucketSize(NamedTuple):
    """How much there is to compact in a bucket: `new_ops` were appended since it was compacted, out of `op_count`."""

    bucket: str
    op_count: int
    new_ops: int


class ClearedPrefix(NamedTuple):
    """The oldest ops of a bucket, up to and including `op_id`, that become one CLEAR at that op id (replication reference, 8)."""

    op_id: int
    checksum: int  # wrapping sum of theirs
    op_count: int  # how many they are
    target_op: int | None  # the newest of theirs


@dataclass(frozen=True, slots=True)
class CompactedOps:
    """What compaction changes in one bucket: ops that become MOVE, each with its target op, and a prefix that becomes CLEAR."""

    moves: Sequence[tuple[int, int]] = ()
    cleared: ClearedPrefix | None = None

    def __bool__(self) -> bool:
        return bool(self.moves) or self.cleared is not None


class StorageSizes(NamedTuple):
    """What storage takes, in bytes on disk, index pages included; of one version, or of all where it cannot be told apart."""

    ops_bytes: int
    current_rows_bytes: int
    lookups_bytes: int
    total_bytes: int


class WriteCheckpointCursor(NamedTuple):
    """Up to where a reader knows the write checkpoints: replication's position, and the order of storing."""

    position: str = ""
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class StorageChanges:
    """What changed between two checkpoints: new totals of the touched buckets, the touched lookups, and custom write checkpoints."""

    checkpoint: Checkpoint
    totals: dict[str, BucketTotals]
    lookups: frozenset[str]
    custom_write_checkpoints: dict[str, int] = field(default_factory=dict[str, int])


def draw_version_number(*, now_ms: int, random_bits: int, above: int) -> int:
    """A number for a new version that never recurs for any rebuild, restore or clock that stepped back.

    `now_ms` is the time since 1970 in milliseconds, `random_bits` 10 random bits, `above` the highest number seen.
    """
    return max((now_ms - 1_767_225_600_000) * 1024 + (random_bits & 1023), above + 1)


def row_key_prefix(schema: str, table: str) -> str:
    """What the keys of a table's rows are made from, besides the row's own values; see `row_key`."""
    return canonical_json([schema, table])[:-1] + ","


def row_key(prefix: str, values: Sequence[SyncValue]) -> bytes:
    """The key of a source row: 16 bytes from its table's name and its replica identity's values, stable over rebuilds."""
    text = prefix + canonical_json([value.hex() if isinstance(value, bytes) else value for value in values])[1:]
    return blake2b(text.encode(), digest_size=16).digest()


def subkey_text(key: bytes) -> str:
    """A row key as it goes over the wire: 22 characters."""
    return b2a_base64(key, newline=False).translate(_URL_SAFE).rstrip(b"=").decode()


_URL_SAFE = bytes.maketrans(b"+/", b"-_")
