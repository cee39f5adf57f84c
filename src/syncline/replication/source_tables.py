"""Storage's records of the source's tables, kept in step with what the source says of them.

Two voices speak of tables: the catalog, asked now and then, and the stream, which announces a table before its first change but may
be far behind the catalog. What the catalog says is acted upon when the stream has passed the position at which it was asked: the
changes that follow are then published as it said. What the stream says of a table that was copied, or looked for in vain, after that
position in the log is old: the copy holds the outcome, and the changes are passed over. Others before and after them may not have
been, and then rows are left in a state in between; so nothing becomes visible (`is_whole`) until the stream is where the catalog is,
and the table was copied once more.

    the catalog has a table that is not stored               it is copied
    a stored table is not in the catalog's list any more     its rows are removed (taken out of the publication, dropped, renamed)
    another table under the name, or another identity        its rows are removed, it is copied
    row filter, column list or publication were altered      its rows are removed, it is copied
    other columns or types                                   it is copied over the stored rows

A table of which nothing is stored, and one that is copied over, are copied beside the stream, once the version has had its first copy
and where the source can be asked for single rows. The others have to be whole at the next checkpoint: the stream waits for them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from syncline.failpoints import failpoint
from syncline.replication.apply import ChangeApplier, TableNeedsCopy
from syncline.replication.source import ALL_ROWS, Relation
from syncline.storage.base import StorageWriter
from syncline.storage.model import SnapshotState, StoredTable

__all__ = ["NO_RELATION", "SourceTables"]

log = logging.getLogger(__name__)

NO_RELATION = 0  # relation id of a stored table that the source does not publish any more; it has no rows


class SourceTables:
    """The tables of one version. Positions are the source's, as in `StorageWriter.position`."""

    def __init__(self, writer: StorageWriter, version: int, applier: ChangeApplier) -> None:
        self._writer = writer
        self._version = version
        self._applier = applier
        self._listed: dict[tuple[str, str], Relation] = {}
        self._listed_at = ""  # the list was made before this position
        self._copied_at: dict[int, str] = {}  # stored table -> a position before its copy by this process began
        self._columns: dict[
            int, list[tuple[str, int]]
        ] = {}  # stored table -> names and types when it was heard of last
        self._skipped: set[int] = set()  # stored tables some of whose changes were passed over since `begin`
        self._heard: tuple[dict[tuple[str, str], Relation], str] | None = None
        self._streams = False  # whether the version has had its first copy
        self._given_up: set[int] = set()  # relation ids of the tables given up last: those that come back were renamed
        self.ignored: set[int] = set()  # relation ids whose changes lie before the copy, or concern no table of ours

    def add(self, relations: Sequence[Relation]) -> None:
        """Record tables of a version that has no slot yet."""
        for relation in relations:
            self._add(relation, str(relation.definition))

    def begin(
        self, relations: Sequence[Relation], listed_at: str, *, streams: bool
    ) -> tuple[list[tuple[Relation, StoredTable]], list[tuple[Relation, StoredTable]]]:
        """Take the catalog's list (made before the position `listed_at`) and follow its tables.

        Returns those that have to be copied before the stream goes on, and those that are copied beside it. `streams`: the version has
        had its first copy, as it has from `stream_begins` on.
        """
        self._streams = streams
        self._listed = _by_name(relations)
        self._listed_at = listed_at
        self._heard = None
        self._skipped.clear()
        self._given_up.clear()
        self.ignored.clear()
        ids = {relation.id for relation in relations}
        for stored in self._writer.tables(self._version):
            if stored.relation_id in ids and (stored.schema, stored.name) not in self._listed:
                self._give_up(stored)  # it is followed under its new name from here on
        followed = [(relation, self._follow(relation)) for relation in relations]
        return (
            [pair for pair in followed if pair[1].snapshot is SnapshotState.PENDING],
            [pair for pair in followed if pair[1].snapshot is SnapshotState.BESIDE],
        )

    def stream_begins(self) -> None:
        """All that `begin` said has to be copied before is copied."""
        self._streams = True

    def copied(self, stored: StoredTable) -> None:
        """The table was copied, after `begin`: it holds what was committed before the list was made."""
        self._copied_at[stored.id] = self._listed_at

    def announced(self, relation: Relation, commit_at: str) -> bool:
        """A transaction that was committed at `commit_at` has changes of this table; True when the catalog should be asked soon.

        Raises TableNeedsCopy when its changes cannot be applied to what is stored.
        """
        self.ignored.discard(relation.id)
        stored = self._find(relation)
        if stored is not None and stored.snapshot is not SnapshotState.PENDING and _same_rows(stored, relation):
            self._applier.follow(relation, stored)
            columns = _columns(relation)
            known = self._columns.setdefault(stored.id, columns)
            self._columns[stored.id] = columns
            return known != columns
        copied_since = stored is not None and self._copied_at.get(stored.id, "") > commit_at
        listed = self._listed.get((relation.schema, relation.name))
        if copied_since or (listed is None and self._listed_at > commit_at):
            self.ignored.add(relation.id)
            if stored is not None and listed is not None:
                self._skipped.add(stored.id)
            return True
        if stored is None:
            raise TableNeedsCopy(f"{relation.schema}.{relation.name}", "it is new here")
        self._renew(stored, listed or relation, trusted=False)
        raise TableNeedsCopy(f"{relation.schema}.{relation.name}", "it was replaced, or its identity has changed")

    def copy_over(self, stored: StoredTable) -> None:
        """Have a table copied again whose stored rows lack something."""
        relation = self._listed.get((stored.schema, stored.name))
        self._writer.replace_table(
            stored.id,
            relation_id=stored.relation_id,
            key_columns=stored.key_columns,
            definition=stored.definition,
            snapshot=self._way_of_copying(relation),
        )

    @property
    def is_whole(self) -> bool:
        """Whether what is stored may become visible: False from when changes were passed over until `settle`."""
        return not self._skipped

    def heard(self, relations: Sequence[Relation], listed_at: str) -> bool:
        """Take note of a new list of the catalog; True when it differs from what is stored, so that `settle` has to follow."""
        listed = _by_name(relations)
        differs = self._gone(listed) or self._changed(listed) or self._skipped
        self._heard = (listed, listed_at) if differs else None
        return self._heard is not None

    def settle(self, reached: str) -> list[str]:
        """Act upon the list that was heard, where the stream (complete up to `reached`) has passed it; what was done, a sentence each.

        Call with nothing pending, and commit `reached` where the answer is not empty: removed rows become visible with it, but where
        a table has to be copied again, nothing does until the stream has passed the end of that copy.
        """
        if self._heard is None or reached < self._heard[1]:
            return []
        listed, _ = self._heard
        self._heard = None
        self._given_up.clear()
        done: list[str] = []
        for stored in self._gone(listed):
            self._give_up(stored)
            done.append(f"{stored.schema}.{stored.name} is not published any more: its rows are removed")
        for relation, stored, reason in self._changed(listed):
            done.append(f"{relation.schema}.{relation.name} is copied: {reason}")
            if stored is None:
                self._add(relation, str(relation.definition))
            elif self._renew(stored, relation, trusted=True).snapshot is SnapshotState.PENDING:
                self._writer.delay_checkpoints(self._version, position=_just_after(reached))
        if self._skipped and not done:
            done.append("A table that changed back and forth is gone")
        self._skipped.clear()
        return done

    def unpublished(self) -> set[str]:
        """Names of the stored tables that the source does not publish any more."""
        return {f"{t.schema}.{t.name}" for t in self._writer.tables(self._version) if t.relation_id == NO_RELATION}

    def _follow(self, relation: Relation) -> StoredTable:
        """Storage's record of a listed table, made or renewed where it does not fit."""
        stored = self._find(relation)
        if stored is None:
            stored = self._add(relation, _known_definition(relation, ""))
        elif not _same_rows(stored, relation):
            stored = self._renew(stored, relation, trusted=False)
        elif stored.snapshot is not SnapshotState.DONE and stored.progress is None and not stored.definition:
            # Announced by the stream when it was on no list: its definition is known only now.
            self._writer.replace_table(
                stored.id,
                relation_id=stored.relation_id,
                key_columns=stored.key_columns,
                definition=_known_definition(relation, ""),
                snapshot=stored.snapshot,
            )
        self._applier.follow(relation, stored)
        self._columns[stored.id] = _columns(relation)
        return stored

    def _gone(self, listed: dict[tuple[str, str], Relation]) -> list[StoredTable]:
        return [
            stored
            for stored in self._writer.tables(self._version)
            if stored.relation_id != NO_RELATION and (stored.schema, stored.name) not in listed
        ]

    def _changed(self, listed: dict[tuple[str, str], Relation]) -> list[tuple[Relation, StoredTable | None, str]]:
        known = {(stored.schema, stored.name): stored for stored in self._writer.tables(self._version)}
        changed: list[tuple[Relation, StoredTable | None, str]] = []
        for name, relation in listed.items():
            stored = known.get(name)
            reason = _why_copied(stored, relation)
            if stored is not None and stored.id in self._skipped:
                reason = reason or "its identity changed back and forth"
            if reason:
                changed.append((relation, stored, reason))
        return changed

    def _add(self, relation: Relation, definition: str) -> StoredTable:
        return self._writer.add_table(
            self._version,
            schema=relation.schema,
            name=relation.name,
            relation_id=relation.id,
            key_columns=relation.key_columns,
            definition=definition,
            snapshot=self._way_of_copying(relation),
        )

    def _way_of_copying(self, relation: Relation | None) -> SnapshotState:
        """How a table is copied whose rows at the next checkpoints may be some of the old and some of the new."""
        beside = (
            self._streams
            and relation is not None
            and relation.can_be_copied_beside
            and relation.id
            not in self._given_up  # under the old name its rows were there, and go at the next checkpoint
        )
        return SnapshotState.BESIDE if beside else SnapshotState.PENDING

    def _renew(self, stored: StoredTable, relation: Relation, *, trusted: bool) -> StoredTable:
        """Have the table copied again. `trusted`: the stream is known to publish it as `relation.definition` says from here on."""
        only_columns = str(relation.definition) != stored.definition and _only_columns_differ(stored, relation)
        copied_over = trusted and only_columns and _same_rows(stored, relation)
        if not copied_over:
            self._applier.remove_all(stored)
        is_empty = stored.relation_id == NO_RELATION
        way = self._way_of_copying(relation) if copied_over or is_empty else SnapshotState.PENDING
        failpoint("after-table-removed-before-replaced")
        definition = str(relation.definition) if trusted else _known_definition(relation, stored.definition)
        self._writer.replace_table(
            stored.id, relation_id=relation.id, key_columns=relation.key_columns, definition=definition, snapshot=way
        )
        return self._find(relation) or stored

    def _give_up(self, stored: StoredTable) -> None:
        self._given_up.add(stored.relation_id)
        self._applier.remove_all(stored)
        self._writer.replace_table(stored.id, relation_id=NO_RELATION, key_columns=(), definition="")

    def _find(self, relation: Relation) -> StoredTable | None:
        tables = self._writer.tables(self._version)
        return next((t for t in tables if (t.schema, t.name) == (relation.schema, relation.name)), None)


def _by_name(relations: Sequence[Relation]) -> dict[tuple[str, str], Relation]:
    return {(relation.schema, relation.name): relation for relation in relations}


def _just_after(position: str) -> str:
    """Before every other position that is after this one: all have the same length."""
    return position + "~"


def _columns(relation: Relation) -> list[tuple[str, int]]:
    return [(column.name, column.type_id) for column in relation.columns]


def _same_rows(stored: StoredTable, relation: Relation) -> bool:
    """Whether a row of the relation has the key that it is stored under."""
    return (stored.relation_id, stored.key_columns) == (relation.id, relation.key_columns)


def _only_columns_differ(stored: StoredTable, relation: Relation) -> bool:
    """Whether the same rows are published as before, under the same keys, so that copying over them leaves none behind."""
    if not relation.key_columns:  # a row is known by all of its columns
        return False
    return relation.definition is not None and stored.definition.split(" ")[1:] == list(relation.definition[1:])


def _known_definition(relation: Relation, before: str) -> str:
    """What to store of a definition that was read ahead of the stream: "" (copied once more when the stream is there) where changes
    in between may have been published by other rules.
    """
    definition = relation.definition
    if definition is None or (str(definition) != before and definition.rows != ALL_ROWS):
        return ""
    return str(definition)


def _why_copied(stored: StoredTable | None, relation: Relation) -> str:
    """Why a listed table has to be copied; empty where it has not."""
    if stored is None or stored.relation_id == NO_RELATION:
        return "it is new in the publication"
    if stored.relation_id != relation.id:
        return "it was replaced by another table"
    if stored.key_columns != relation.key_columns:
        return "its replica identity has changed"
    if stored.snapshot is SnapshotState.PENDING:
        return "its copy is not complete"
    if stored.definition == str(relation.definition):
        return ""
    return "its columns have changed" if _only_columns_differ(stored, relation) else "its publication has changed"
