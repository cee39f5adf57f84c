"""PURE: what bucket storage holds. Words as in docs/glossary.md; layout in docs/internals/storage-schema.md."""

from __future__ import annotations

import enum
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

from syncline.protocol.bucket_names import SyncValue, canonical_json
from syncline.protocol.ops import OpType

__all__ = [
    "BucketTotals",
    "Checkpoint",
    "CurrentRow",
    "FlushBatch",
    "Lookup",
    "Membership",
    "NewOp",
    "OpChunk",
    "OpRow",
    "SnapshotState",
    "StorageChanges",
    "StoredTable",
    "Version",
    "VersionState",
    "WriteCheckpointCursor",
    "draw_version_number",
    "row_key",
    "row_key_prefix",
    "subkey_text",
]

ZERO_POSITION = ""
"""Before every position of every source: positions are texts that compare in the order of the source's log."""


class VersionState(enum.StrEnum):
    """Life of a version: one deployed sync config together with its replicated data."""

    PROCESSING = "processing"  # set when made; serves nobody; leaves at its first consistent checkpoint
    ACTIVE = "active"  # replicates and serves; exactly one version is
    STOPPED = "stopped"  # replaced; its data and its slot are to be dropped


class SnapshotState(enum.StrEnum):
    """How far the initial copy of a source table is."""

    PENDING = "pending"  # not begun, or to be begun again
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

    @property
    def bucket_prefix(self) -> str:
        """What the names of this version's buckets begin with."""
        return f"{self.number}#"


@dataclass(frozen=True, slots=True)
class StoredTable:
    """A source table that a version follows. `id` is storage's own."""

    id: int
    schema: str
    name: str
    relation_id: int
    key_columns: tuple[str, ...]
    snapshot: SnapshotState


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
    """What storage remembers of a source row: where it stands, and the values that the source may leave out later."""

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
    """What one storage transaction writes, in this order: operations, lookups, current rows."""

    ops: list[NewOp] = field(default_factory=list[NewOp])
    lookups: list[Lookup] = field(default_factory=list[Lookup])
    rows: dict[tuple[int, bytes], CurrentRow | None] = field(default_factory=dict[tuple[int, bytes], CurrentRow | None])

    def __bool__(self) -> bool:
        return bool(self.ops or self.lookups or self.rows)


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


@dataclass(frozen=True, slots=True)
class OpChunk:
    """Consecutive operations of one bucket with op ids in (`after`, `next_after`]."""

    bucket: str
    after: int
    next_after: int
    has_more: bool
    ops: Sequence[OpRow]


class WriteCheckpointCursor(NamedTuple):
    """Up to where a reader knows the write checkpoints: replication's position, and the order of storing."""

    position: str = ""
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class StorageChanges:
    """What changed between two checkpoints: new totals of the touched buckets, and the touched lookups."""

    checkpoint: Checkpoint
    totals: dict[str, BucketTotals]
    lookups: frozenset[str]


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
    return urlsafe_b64encode(key).rstrip(b"=").decode()
