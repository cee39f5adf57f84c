"""What replication asks of a source database. Postgres is the first implementation; others follow the same contract."""

from __future__ import annotations

import enum
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple, Protocol

from syncline.protocol.bucket_names import SyncValue
from syncline.storage.model import SnapshotProgress
from syncline.sync_config.plan import TablePattern
from syncline.sync_config.value_format import EDITION_3_FORMAT, ValueFormat

__all__ = [
    "ALL_ROWS",
    "ROWS_ASKED_MAX",
    "UNCHANGED",
    "ChangeKind",
    "Column",
    "Marker",
    "Relation",
    "RelationChanged",
    "RowChange",
    "SlotState",
    "SnapshotChunk",
    "Source",
    "SourceEvent",
    "SourceHead",
    "SourceView",
    "TableDefinition",
    "TransactionEnd",
]


class Unchanged(enum.Enum):
    """Type of `UNCHANGED`: the source left a large value out because the update did not touch it (TOAST)."""

    UNCHANGED = "unchanged"


UNCHANGED = Unchanged.UNCHANGED
RowValue = SyncValue | Unchanged


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a source table. `toastable`: the source may leave its value out of an update."""

    name: str
    type_id: int
    type_name: str
    in_key: bool
    toastable: bool = False


class TableDefinition(NamedTuple):
    """What has to stay the same for a table's stored rows to stay right: each part is a text without spaces."""

    columns: str  # names and types
    rows: str  # the row filter and the column list; ALL_ROWS where there are none
    publication: (
        str  # changes whenever the publication or the table's part in it is altered, even if it is altered back
    )

    def __str__(self) -> str:
        return " ".join(self)


ALL_ROWS = "-"
ROWS_ASKED_MAX = 1000  # keys of one question for rows
_PLAIN_KEY_TYPES = frozenset({"int2", "int4", "int8", "text", "varchar", "uuid", "bool"})


@dataclass(frozen=True, slots=True)
class Relation:
    """A source table as it is now. Columns stand in the order of the values of its rows.

    `definition` says which columns and rows of it are published and is compared as a whole: see `TableDefinition`. It is known of
    listed tables, not of those that a stream announces.
    """

    id: int
    schema: str
    name: str
    columns: tuple[Column, ...]
    definition: TableDefinition | None = field(default=None, compare=False)

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names in value order."""
        return tuple(column.name for column in self.columns)

    @property
    def columns_mark(self) -> str:
        """A short text that another set or order of columns does not have."""
        return blake2b(repr([(c.name, c.type_id) for c in self.columns]).encode(), digest_size=6).hexdigest()

    @property
    def key_columns(self) -> tuple[str, ...]:
        """Names of the replica identity's columns, in value order; empty where a row has no identity."""
        return tuple(column.name for column in self.columns if column.in_key)

    @property
    def keys_can_be_asked_for(self) -> bool:
        """Whether every key value, as it is replicated, names exactly its row at the source; not so of numbers that are not finite."""
        return bool(self.key_columns) and all(
            column.type_name in _PLAIN_KEY_TYPES for column in self.columns if column.in_key
        )

    @property
    def can_be_copied_beside(self) -> bool:
        """Whether the stream can go on meanwhile: rows have a key, and one of which an update leaves out a value can be asked for.

        A row without a key is known by all of its columns, and is another one for a stream that is behind the last ALTER TABLE.
        """
        return bool(self.key_columns) and (self.updates_are_complete or self.keys_can_be_asked_for)

    @property
    def updates_are_complete(self) -> bool:
        """Whether no update can leave out a value: none is large, or the old row comes with it (REPLICA IDENTITY FULL)."""
        return all(column.in_key for column in self.columns) or not any(column.toastable for column in self.columns)


class ChangeKind(enum.Enum):
    """What happened to a row."""

    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"
    TRUNCATE = "truncate"


class RowChange(NamedTuple):
    """One change of one row (or a TRUNCATE of the table).

    `row` holds all values in column order, some of them UNCHANGED in an UPDATE; None for DELETE and TRUNCATE. `old_key` holds the
    values of the key columns before the change: always for DELETE, for UPDATE only where the key changed or the identity is FULL.
    """

    kind: ChangeKind
    relation: Relation
    row: tuple[RowValue, ...] | None
    old_key: tuple[SyncValue, ...] | None = None


class TransactionEnd(NamedTuple):
    """A source transaction is complete. `position` is where replication restarts after it; `transaction` is its 32-bit id."""

    position: str
    commit_time_ms: int
    transaction: int = 0


class RelationChanged(NamedTuple):
    """The rows that follow are of this relation: new, or with another definition than before.

    `position` is where the commit of the transaction at hand stands in the log.
    """

    relation: Relation
    position: str


class Marker(NamedTuple):
    """A marker of ours (or an idle source's sign of life) stands in the log at `position`, outside of transactions."""

    position: str
    ours: bool


SourceEvent = RowChange | TransactionEnd | RelationChanged | Marker


class SourceView(NamedTuple):
    """Which transactions a reading of the source sees: those before `end` but for the `running` ones. All are 32-bit ids.

    A transaction's commit is in the log, and may be streamed, a moment before readings see it.
    """

    end: int
    running: frozenset[int]

    def sees(self, transaction: int) -> bool:
        """Whether the reading sees what the transaction did, if that has committed."""
        return transaction not in self.running and (self.end - transaction - 1) % 2**32 < 2**31


class SnapshotChunk(NamedTuple):
    """Rows of a table's copy.

    `look_up`: rows of it may have been handed over before, in another state. `progress` is set on the last chunk of each part of the
    table: with it flushed, the copy can go on from there. `view` says what the chunk's part sees of the source's transactions.
    """

    rows: list[tuple[SyncValue, ...]]
    look_up: bool
    progress: SnapshotProgress | None
    view: SourceView | None = None


class SlotState(enum.Enum):
    """What became of a replication slot."""

    MISSING = "missing"
    VALID = "valid"
    LOST = "lost"


class SourceHead(Protocol):
    """The little that write checkpoints need of the source; used by the API."""

    async def head(self) -> str:
        """The position of everything committed so far."""
        ...

    async def emit_marker(self) -> None:
        """Write a marker to the source's log, so that replication passes the head also where nobody writes."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


class Source(SourceHead, Protocol):
    """The replicator's side. All calls raise SourceUnavailable when the source cannot be reached."""

    async def check(self) -> None:
        """Raise SourceNotReady, with the SQL to run, unless the source is set up for replication."""
        ...

    async def identity(self) -> str:
        """System identifier, timeline and database: another text means that positions mean nothing any more."""
        ...

    async def relations(self, patterns: Sequence[TablePattern]) -> list[Relation]:
        """The published tables that match."""
        ...

    async def create_slot(self, slot_name: str, *, tell: Callable[[str], None] | None = None) -> None:
        """Make the slot. Everything committed after this call can be streamed. Call before any snapshot.

        `tell` is called with a sentence each time it has to wait for long: whom for, and since when.
        """
        ...

    async def slot_state(self, slot_name: str) -> SlotState:
        """Whether the slot can still be streamed from."""
        ...

    async def slot_budget(self, slot_name: str) -> float | None:
        """How much of the log that the source keeps for the slot is left, 1 to 0; None where it keeps all."""
        ...

    async def idle_slots(self, prefix: str) -> list[str]:
        """Names of this database's slots that begin with `prefix` and that nobody streams from."""
        ...

    async def drop_slot(self, slot_name: str) -> None:
        """Drop the slot if it is there, ending a walsender that still holds it."""
        ...

    def snapshot(
        self,
        relation: Relation,
        *,
        slot_name: str = "",
        resume: SnapshotProgress | None = None,
        value_format: ValueFormat = EDITION_3_FORMAT,
        published_later: bool = False,
        beside: bool = False,
    ) -> AsyncGenerator[SnapshotChunk]:
        """Copy the table's rows, in chunks of about `SNAPSHOT_CHUNK_ROWS`.

        Each row that is there from before until after the copy is handed over in one of the states that it had meanwhile, some of
        them more than once. Changes are told by the slot, which must be older than the first attempt to copy the table and must not
        be streamed from until it is done, unless the copy is made `beside` the stream: then each chunk is small, a part of its
        own, and says which transactions it sees; a row that moves while the copy is under way may be missing, its changes are in the
        stream.
        `published_later`: the slot may be older than the table's publication; what was written before that is not in the stream,
        so the copy first waits for those who wrote. `resume` goes on where an earlier attempt was. Raises SlotLost.
        """
        ...

    async def rows(
        self,
        relation: Relation,
        keys: Sequence[tuple[SyncValue, ...]],
        *,
        value_format: ValueFormat = EDITION_3_FORMAT,
    ) -> list[tuple[SyncValue, ...]]:
        """The published rows that have these keys now, in any order; at most `ROWS_ASKED_MAX` keys.

        Only for relations whose `keys_can_be_asked_for`.
        """
        ...

    def stream(
        self,
        slot_name: str,
        patterns: Sequence[TablePattern],
        after: str,
        *,
        value_format: ValueFormat = EDITION_3_FORMAT,
    ) -> AsyncGenerator[list[SourceEvent]]:
        """Changes committed after `after` ("" for the slot's own position), in batches of what is at hand.

        Raises SlotLost when the slot is gone. Only tables that match `patterns` are reported, their values in `value_format`.
        """
        ...

    def acknowledge(self, position: str) -> None:
        """Everything up to `position` is on disk here: the source may forget it. Sent with the next feedback."""
        ...
