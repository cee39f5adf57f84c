"""From changes of rows to operations, lookups and current rows.

The rules (replication reference, 7 and 12): each changed row gives a PUT for every bucket it stands in now, and a REMOVE for every
bucket it has left. A changed key is a REMOVE of the old row and a PUT of the new one. An insert needs no look at what was there: it
is either new, or the source sends a transaction again whose further changes follow.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import NamedTuple, cast

from syncline.failpoints import failpoint
from syncline.protocol.bucket_names import SyncValue
from syncline.protocol.ops import OpType, put_checksum, remove_checksum
from syncline.replication.custom_write_checkpoints import CustomCheckpointFeed, RowFeed
from syncline.replication.limits import (
    EVALUATED_ROWS_MAX,
    FLUSH_BYTES_MAX,
    FLUSH_ROWS_MAX,
    ROW_BYTES_MAX,
    TOAST_FROM_BYTES,
    TRUNCATE_PAGE_ROWS,
)
from syncline.replication.source import UNCHANGED, ChangeKind, Relation, RowChange, RowValue
from syncline.storage.base import StorageWriter
from syncline.storage.model import (
    CurrentRow,
    FlushBatch,
    Lookup,
    Membership,
    NewOp,
    StoredTable,
    Version,
    row_key,
    row_key_prefix,
    subkey_text,
)
from syncline.sync_config.evaluation.values import EvaluationError
from syncline.sync_config.plan import RowEvaluation, RowEvaluator, SyncPlan

__all__ = ["ChangeApplier", "Flushed", "TableNeedsCopy"]

log = logging.getLogger(__name__)

ROW_CHARACTERS_MAX = ROW_BYTES_MAX // 4  # a text of no more characters is within the limit, whatever they are
ROW_HEAD_BYTES = 64  # of a stored row: its header and which values are NULL
VALUE_HEAD_BYTES = 16  # of each value: a number, or the length of a text, with what aligns it
TEXT_BYTES = 4  # that a character of a text may take
OTHER_BYTES = 16  # that a character of another value's text may stand for: arrays and JSON may take more than they show
_len = cast("Callable[[SyncValue], int]", len)  # values of types that may be stored out of line are texts and blobs
_STORED_AS_TEXT = frozenset({"text", "varchar", "bpchar", "json", "xml", "citext", "bytea"})


class TableNeedsCopy(Exception):
    """A table has to be copied (again) before its changes can be applied.

    `incomplete` is the stored table where it counts as copied and has to be copied over, keeping more than before.
    """

    def __init__(self, name: str, reason: str, *, incomplete: StoredTable | None = None) -> None:
        super().__init__(f"{name}: {reason}")
        self.reason = reason
        self.incomplete = incomplete


ValueGetter = Callable[[Sequence[SyncValue]], tuple[SyncValue, ...]]
"""Takes some of a row's values."""


@dataclass(frozen=True, slots=True)
class FollowedTable:
    """A source table while its changes are applied."""

    stored: StoredTable
    relation: Relation
    evaluator: RowEvaluator
    key_prefix: str
    key_indexes: tuple[int, ...]
    large_texts: ValueGetter  # values of the columns that may be stored out of line as they are
    fixed_bytes: int  # that a row takes beside those values, at most
    large_others: ValueGetter  # and of those that may take more there than their text shows
    checkpoint_feed: RowFeed | None  # where the table holds write checkpoints of the app's own
    columns_mark: str  # stands before the values that are kept: those of other columns must not be taken for them

    def key(self, values: Sequence[SyncValue]) -> bytes:
        """Row key of a row's key values."""
        return row_key(self.key_prefix, values)

    def key_of_row(self, row: Sequence[SyncValue]) -> bytes:
        """Row key of a whole row."""
        return row_key(self.key_prefix, [row[index] for index in self.key_indexes])


class Flushed(NamedTuple):
    """What was handed to storage since the start, for the log."""

    flushes: int
    operations: int
    data_bytes: int  # of rows, before they are stored


Evaluated = tuple[tuple[SyncValue, ...], RowEvaluation]
"""A complete row and what it contributes."""


class ChangeApplier:
    """Applies the changes of one version. Call `add` and `copy`, then `flush`; the caller commits.

    A batch flushes itself at `FLUSH_ROWS_MAX` or `FLUSH_BYTES_MAX`, so memory stays bounded whatever a transaction's size.
    """

    def __init__(self, writer: StorageWriter, version: Version, plan: SyncPlan) -> None:
        self._writer = writer
        self._version = version
        self._plan = plan
        self._feed = CustomCheckpointFeed(plan.events)
        self._tables: dict[int, FollowedTable] = {}
        self._batch = FlushBatch()
        self._batch_rows = 0
        self._batch_bytes = 0
        # Rows as the changes at hand left them; outlives a flush in the middle of those changes.
        self._overlay: dict[tuple[int, bytes], CurrentRow | None] = {}
        self._keep_all_values: set[int] = set()
        self._offered: dict[tuple[int, bytes], tuple[SyncValue, ...]] = {}
        self.copied_beside: set[int] = set()  # relation ids; where a value is left out, the source was asked (`offer`)
        self.rows_applied = 0  # source rows since the start, for metrics and logs
        self.flushed = Flushed(0, 0, 0)
        self.row_errors = 0  # rows that a query could not evaluate

    def follow(self, relation: Relation, stored: StoredTable) -> FollowedTable:
        """Begin (or go on) with a table under its present definition."""
        table = self._tables[relation.id] = self._prepared(relation, stored)
        return table

    def _prepared(self, relation: Relation, stored: StoredTable) -> FollowedTable:
        return FollowedTable(
            stored=stored,
            relation=relation,
            evaluator=self._plan.row_evaluator(
                relation.schema, relation.name, relation.column_names, self._version.bucket_prefix
            ),
            key_prefix=row_key_prefix(relation.schema, relation.name),
            key_indexes=_key_indexes(relation),
            large_texts=_getter(relation, stored_as_text=True),
            fixed_bytes=ROW_HEAD_BYTES + VALUE_HEAD_BYTES * len(relation.columns),
            large_others=_getter(relation, stored_as_text=False),
            checkpoint_feed=self._feed.of_table(relation.schema, relation.name, relation.column_names),
            columns_mark=relation.columns_mark,
        )

    def keep_all_values(self, table_id: int) -> None:
        """Remember the values of every row of this table: an update left one out that was thought too small for that."""
        self._keep_all_values.add(table_id)

    def copy(
        self,
        relation: Relation,
        rows: Iterable[tuple[SyncValue, ...]],
        *,
        look_up: bool,
        but_for: Collection[bytes] = (),
    ) -> None:
        """Apply rows of a snapshot, of the columns of `relation`, but for those with the keys `but_for`.

        `look_up` where an earlier attempt may have copied some of them in another state.
        """
        table = self._tables[relation.id]
        if (
            table.relation.columns != relation.columns
        ):  # the stream, which is behind, announced the table as it was before
            table = self._prepared(relation, table.stored)
        keyed = [(key, row) for row in rows if (key := table.key_of_row(row)) not in but_for]
        self._remember({table.stored.id: {key for key, _ in keyed}} if look_up else {})
        for start in range(0, len(keyed), EVALUATED_ROWS_MAX):
            block = keyed[start : start + EVALUATED_ROWS_MAX]
            evaluations = table.evaluator.batch(row for _, row in block)
            for (key, row), evaluation in zip(block, evaluations, strict=True):
                self._put(table, key, row, evaluation, self._current(table, key) if look_up else None)

    def offer(self, offers: Iterable[tuple[Relation, Iterable[tuple[SyncValue, ...]]]]) -> None:
        """Rows as they are at the source now, for the changes that are added next: values left out are taken from them."""
        self._offered = {
            (table.stored.id, table.key_of_row(row)): row
            for relation, rows in offers
            for table in [self._prepared(relation, self._tables[relation.id].stored)]
            for row in rows
        }

    def keys_of(self, change: RowChange) -> set[bytes]:
        """The row keys that a change concerns: before it, and after."""
        table = self._tables[change.relation.id]
        keys: set[bytes] = set()
        if change.old_key is not None:
            keys.add(table.key(change.old_key))
        if change.row is not None:
            values = [change.row[index] for index in table.key_indexes]
            keys.add(table.key([value for value in values if value is not UNCHANGED]))
        return keys

    def add(self, changes: Sequence[RowChange]) -> None:
        """Apply changes in order."""
        for start in range(0, len(changes), FLUSH_ROWS_MAX):
            self._add(changes[start : start + FLUSH_ROWS_MAX])

    def remove_all(self, table: FollowedTable | StoredTable) -> None:
        """Remove every row of a table: TRUNCATE, or another table under the same name."""
        stored = table.stored if isinstance(table, FollowedTable) else table
        self.flush()
        after = b""
        while page := self._writer.table_rows(stored.id, after=after, limit=TRUNCATE_PAGE_ROWS):
            for key, current in page:
                self._remove(stored, key, current)
            self.flush()
            failpoint("in-truncate")
            after = page[-1][0]

    def flush(self) -> None:
        """Write what is pending. It stays invisible until the caller commits."""
        if self._batch:
            self._writer.flush(self._version.number, self._batch)
            flushes, operations, data_bytes = self.flushed
            self.flushed = Flushed(flushes + 1, operations + len(self._batch.ops), data_bytes + self._batch_bytes)
            self._overlay.update(self._batch.rows)
            self._batch = FlushBatch()
        self._batch_rows = 0
        self._batch_bytes = 0

    def _add(self, changes: Sequence[RowChange]) -> None:
        self._look_up(changes)
        for change, evaluated in self._evaluated(changes):
            table = self._tables[change.relation.id]
            if change.kind is ChangeKind.TRUNCATE:
                self.remove_all(table)
                self._overlay = {place: row for place, row in self._overlay.items() if place[0] != table.stored.id}
            elif change.row is None:
                assert change.old_key is not None, "a DELETE names its row"
                key = table.key(change.old_key)
                self._remove(table.stored, key, self._current(table, key))
            else:
                self._upsert(table, change, change.row, evaluated)

    def _evaluated(self, changes: Sequence[RowChange]) -> Iterator[tuple[RowChange, Evaluated | None]]:
        """Each change with its evaluated row; None where a value was left out or there is no row."""
        for start in range(0, len(changes), EVALUATED_ROWS_MAX):
            block = changes[start : start + EVALUATED_ROWS_MAX]
            complete: dict[int, tuple[list[int], list[tuple[SyncValue, ...]]]] = {}
            for index, change in enumerate(block):
                if change.row is not None and UNCHANGED not in change.row:
                    indexes, rows = complete.setdefault(change.relation.id, ([], []))
                    indexes.append(index)
                    rows.append(change.row)  # type: ignore[arg-type]  # no value of it is UNCHANGED
            evaluated: list[Evaluated | None] = [None] * len(block)
            for relation_id, (indexes, rows) in complete.items():
                evaluations = self._tables[relation_id].evaluator.batch(rows)
                for index, row, evaluation in zip(indexes, rows, evaluations, strict=True):
                    evaluated[index] = row, evaluation
            yield from zip(block, evaluated, strict=True)

    def _upsert(
        self, table: FollowedTable, change: RowChange, row: tuple[RowValue, ...], evaluated: Evaluated | None
    ) -> None:
        complete, evaluation = evaluated or (self._complete(table, row, change.old_key, None), None)
        if change.kind is ChangeKind.INSERT:
            assert complete is not None
            assert evaluation is not None, "an INSERT has all values"
            self._put(table, table.key_of_row(complete), complete, evaluation, None)
            return
        old_key = table.key(change.old_key) if change.old_key is not None else None
        if complete is None:  # a value was left out
            key_values = [row[index] for index in table.key_indexes]
            new_key = table.key([value for value in key_values if value is not UNCHANGED])
            complete = self._with_known_values(table, change, row, old_key, new_key)
            if complete is None:  # not there any more at the source: a later change takes it away, under its new key
                if old_key is not None and old_key != new_key:
                    self._remove(table.stored, old_key, self._current(table, old_key))
                return
        key = table.key_of_row(complete)
        if old_key is not None and old_key != key:
            self._remove(table.stored, old_key, self._current(table, old_key))
        self._put(table, key, complete, evaluation or table.evaluator(complete), self._current(table, key))

    def _with_known_values(
        self,
        table: FollowedTable,
        change: RowChange,
        row: tuple[RowValue, ...],
        old_key: bytes | None,
        new_key: bytes,
    ) -> tuple[SyncValue, ...] | None:
        """The row with what the update left out, from storage or from the source; None where the row is gone there.

        Raises TableNeedsCopy where the value was not kept, and nobody was asked.
        """
        current = self._current(table, old_key or new_key) or self._current(table, new_key)
        offered = self._offered.get((table.stored.id, new_key))
        if current is None and offered is None:
            return None
        complete = self._complete(table, row, change.old_key, current)
        if complete is None and offered is not None:
            return _filled(row, offered)
        knows_all = table.stored.id in self._keep_all_values or change.relation.id in self.copied_beside
        if complete is None and not knows_all:
            self.keep_all_values(table.stored.id)
            name = f"{table.stored.schema}.{table.stored.name}"
            raise TableNeedsCopy(name, "an update left out a value that was not kept", incomplete=table.stored)
        return complete

    def _look_up(self, changes: Sequence[RowChange]) -> None:
        """Read the current rows of everything that these changes may have to take back, at once."""
        wanted: dict[int, set[bytes]] = {}
        for change in changes:
            if change.kind is ChangeKind.INSERT or change.kind is ChangeKind.TRUNCATE:
                continue
            table_id = self._tables[change.relation.id].stored.id
            wanted.setdefault(table_id, set()).update(self.keys_of(change))
        self._remember(wanted)

    def _remember(self, wanted: dict[int, set[bytes]]) -> None:
        """Fill the overlay with what storage knows of these rows, but for those that are pending, which is newer."""
        self._overlay = {}
        for table_id, keys in wanted.items():
            unknown = [key for key in keys if (table_id, key) not in self._batch.rows]
            for key, row in self._writer.current_rows(table_id, unknown).items():
                self._overlay[table_id, key] = row

    def _current(self, table: FollowedTable, key: bytes) -> CurrentRow | None:
        """The row as the changes so far have left it."""
        place = (table.stored.id, key)
        return self._overlay[place] if place in self._overlay else self._batch.rows.get(place)

    def _complete(
        self,
        table: FollowedTable,
        row: tuple[RowValue, ...],
        old_key: tuple[SyncValue, ...] | None,
        current: CurrentRow | None,
    ) -> tuple[SyncValue, ...] | None:
        """The row with the values that the source left out, or None where they are not known."""
        if UNCHANGED not in row:
            return row  # type: ignore[return-value]  # no value of it is UNCHANGED
        filled = list(row)
        if old_key is not None:
            for index, value in zip(table.key_indexes, old_key, strict=True):
                if filled[index] is UNCHANGED:
                    filled[index] = value
        if current is not None and current.values is not None and current.values[0] == table.columns_mark:
            for index, value in enumerate(current.values[1:]):
                if filled[index] is UNCHANGED:
                    filled[index] = value
        return None if UNCHANGED in filled else tuple(filled)  # type: ignore[arg-type]  # no value of it is UNCHANGED

    def _put(
        self,
        table: FollowedTable,
        key: bytes,
        row: tuple[SyncValue, ...],
        evaluation: RowEvaluation,
        current: CurrentRow | None,
    ) -> None:
        stored = table.stored
        if evaluation.errors:
            self._report(table, evaluation.errors)
        subkey = subkey_text(key)
        ops = self._batch.ops
        memberships: dict[Membership, None] = {}
        for found in evaluation.rows:
            bucket, object_type, object_id, data = found.bucket, found.object_type, found.object_id, found.data
            if len(data) > ROW_CHARACTERS_MAX and len(data.encode()) > ROW_BYTES_MAX:
                self._report(
                    table, [f"[PSYNC_S1002] it has {len(data.encode())} bytes as {object_type}, more than clients take"]
                )
                continue
            checksum = put_checksum(object_type, object_id, data)
            ops.append(NewOp(bucket, OpType.PUT, object_type, object_id, checksum, subkey, data))
            memberships[Membership(bucket, object_type, object_id)] = None
            self._batch_bytes += len(data)
        lookups = tuple((entry.lookup, entry.output) for entry in evaluation.lookups)
        if table.checkpoint_feed is not None:
            self._note_checkpoint(table, table.checkpoint_feed, row)
        if current is not None:
            self._take_back(stored, key, subkey, current, memberships)
        self._write_lookups(stored, key, current.lookups if current is not None else (), lookups)
        self._keep(stored, key, CurrentRow(tuple(memberships), lookups, self._values_to_keep(table, row)))

    def _note_checkpoint(self, table: FollowedTable, feed: RowFeed, row: tuple[SyncValue, ...]) -> None:
        try:
            found = feed(row)
        except EvaluationError as exc:
            self._report(table, [str(exc)])
            return
        if found is not None:
            self._batch.custom_write_checkpoints[found.user_key] = found.value

    def _remove(self, stored: StoredTable, key: bytes, current: CurrentRow | None) -> None:
        if current is None:
            return  # replayed, or never seen
        self._take_back(stored, key, subkey_text(key), current, {})
        self._write_lookups(stored, key, current.lookups, ())
        self._keep(stored, key, None)

    def _take_back(
        self, stored: StoredTable, key: bytes, subkey: str, current: CurrentRow, still: dict[Membership, None]
    ) -> None:
        """REMOVE the row where it stands no more."""
        for membership in current.memberships:
            if membership not in still:
                self._batch.ops.append(NewOp(*_remove_fields(membership, subkey)))

    def _write_lookups(
        self, stored: StoredTable, key: bytes, old: tuple[tuple[str, str], ...], new: tuple[tuple[str, str], ...]
    ) -> None:
        """Only what differs is written: an unchanged lookup makes no session look again."""
        if old == new:
            return
        known, present = dict(old), dict(new)
        entries = self._batch.lookups
        entries += [
            Lookup(stored.id, key, lookup, output) for lookup, output in present.items() if known.get(lookup) != output
        ]
        entries += [Lookup(stored.id, key, lookup, None) for lookup in known if lookup not in present]

    def _values_to_keep(self, table: FollowedTable, row: tuple[SyncValue, ...]) -> tuple[SyncValue, ...] | None:
        texts = table.large_texts(row)
        others = table.fixed_bytes + OTHER_BYTES * sum(map(_len, filter(None, table.large_others(row))))
        size = others + TEXT_BYTES * sum(map(_len, filter(None, texts)))
        if size >= TOAST_FROM_BYTES:  # it may be: count what is known to be smaller
            size = others + sum(map(_stored_bytes, filter(None, texts)))
        if size < TOAST_FROM_BYTES and table.stored.id not in self._keep_all_values:
            return None
        self._batch_bytes += size
        return table.columns_mark, *row

    def _keep(self, stored: StoredTable, key: bytes, row: CurrentRow | None) -> None:
        """Remember what became of a row; flush where the batch is full."""
        place = (stored.id, key)
        self._batch.rows[place] = row
        self._overlay.pop(place, None)
        self.rows_applied += 1
        self._batch_rows += 1
        if self._batch_rows >= FLUSH_ROWS_MAX or self._batch_bytes >= FLUSH_BYTES_MAX:
            self.flush()

    def _report(self, table: FollowedTable, errors: Sequence[str]) -> None:
        self.row_errors += 1
        log.warning(
            "A row of %s.%s could not be evaluated: %s",
            table.relation.schema,
            table.relation.name,
            "; ".join(errors),
            extra={"event": "replication.row_error", "table": f"{table.relation.schema}.{table.relation.name}"},
        )


def _key_indexes(relation: Relation) -> tuple[int, ...]:
    """Where a row's key stands. A table without identity can only grow: there the whole row is its key."""
    key = tuple(index for index, column in enumerate(relation.columns) if column.in_key)
    return key or tuple(range(len(relation.columns)))


def _getter(relation: Relation, *, stored_as_text: bool) -> ValueGetter:
    """Of the columns that may be stored out of line, those whose values stand there as their text does, or the others."""
    indexes = [
        index
        for index, column in enumerate(relation.columns)
        if column.toastable and (column.type_name in _STORED_AS_TEXT) is stored_as_text
    ]
    if len(indexes) > 1:
        return itemgetter(*indexes)
    return lambda row: tuple([row[index] for index in indexes])


def _filled(row: tuple[RowValue, ...], known: tuple[SyncValue, ...]) -> tuple[SyncValue, ...]:
    """The row with the values that were left out taken from another state of it."""
    return tuple([known[index] if value is UNCHANGED else value for index, value in enumerate(row)])


def _stored_bytes(value: SyncValue) -> int:
    """At most so many bytes a text or blob takes where it is stored as it is."""
    assert isinstance(value, (str, bytes)), "types that may be stored out of line give texts and blobs"
    return len(value) * (1 if isinstance(value, bytes) or value.isascii() else TEXT_BYTES)


def _remove_fields(membership: Membership, subkey: str) -> tuple[str, OpType, str, str, int, str, None]:
    bucket, object_type, object_id = membership
    return bucket, OpType.REMOVE, object_type, object_id, remove_checksum(subkey), subkey, None
