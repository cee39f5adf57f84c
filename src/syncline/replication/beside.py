"""Copies of tables beside the running stream: a table that is new in the publication holds up nobody.

A row is read at one moment and stored at a later one, when the stream may have brought newer states of it. So:

    read     a chunk of rows; from before the reading on, the keys of all changes that the stream brings are noted
    wait     until the stream is complete up to a position behind the reading; a marker sees to it that there is one
    store    the chunk's rows but for those whose keys were noted (they are stored already, as they are now), and commit

A row that moves to pages that were read already has its change in the stream. What an update may leave out (large values that it
did not touch) of a row that was not copied yet is asked of the source. A transaction whose commit was streamed before the reading saw
it would be undone by the chunk: the reading's view tells, and then the part is read again.

Rows become visible chunk by chunk, each as of the checkpoint at hand; what clients see of the table is incomplete until the copy is
done, never outdated. A crash between storing a chunk and its commit leaves rows of a later state: no checkpoint is visible before the
stream has passed it again (`delay_checkpoints`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from syncline.failpoints import failpoint
from syncline.metrics import ServiceMetrics
from syncline.protocol.bucket_names import SyncValue
from syncline.replication.apply import ChangeApplier
from syncline.replication.copy_report import CopyReport, copy_event
from syncline.replication.limits import BESIDE_KEYS_MAX, BESIDE_PAUSE_S
from syncline.replication.source import (
    ROWS_ASKED_MAX,
    UNCHANGED,
    ChangeKind,
    Relation,
    RowChange,
    SnapshotChunk,
    Source,
    SourceEvent,
)
from syncline.replication.status import JobStatus
from syncline.storage.base import StorageWriter
from syncline.storage.model import StoredTable, Version
from syncline.sync_config.value_format import ValueFormat

__all__ = ["BesideCopier"]

log = logging.getLogger(__name__)


class _ReadAgain(Exception):
    """The part at hand has to be read again, from the last progress, or from the table's begin."""

    def __init__(self, reason: str, *, from_begin: bool = False) -> None:
        super().__init__(reason)
        self.from_begin = from_begin


@dataclass(slots=True)
class _Part:
    """The part of a table that is being read: since when the stream's changes are noted, and whose."""

    seen_before: frozenset[int]  # transactions that the stream brought before
    changed: set[bytes]  # keys of the rows that it brings since
    void: _ReadAgain | None = None  # why what is read cannot be stored


@dataclass(slots=True)
class _Waiting:
    """A chunk that waits for the stream to pass `due`."""

    chunk: SnapshotChunk
    due: str
    stored: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class BesideCopier:
    """Copies the tables of one stream, one after another. Made anew with each stream; `run` beside it.

    The job tells it of each change that it applies (`note`), of each transaction's end (`note_end`), and each time that everything up
    to a position is applied and flushed, right before it commits (`reach`). `ended` holds the transactions that streams brought lately.
    """

    def __init__(
        self,
        source: Source,
        writer: StorageWriter,
        status: JobStatus,
        *,
        version: Version,
        applier: ChangeApplier,
        value_format: ValueFormat,
        tables: Sequence[tuple[Relation, StoredTable]],
        ended: deque[int],
        metrics: ServiceMetrics,
    ) -> None:
        self._source = source
        self._writer = writer
        self._status = status
        self._version = version
        self._applier = applier
        self._value_format = value_format
        self._tables = list(tables)
        self._at_hand: Relation | None = None
        self._ids = {relation.id for relation, _ in tables}  # of tables that are not complete
        self._part: _Part | None = None
        self._waiting: _Waiting | None = None
        self._open: set[bytes] | None = set()  # keys of the transaction at hand; None where they are too many
        self._ended = ended
        self._metrics = metrics
        applier.copied_beside = self._ids
        self._transaction_ended = asyncio.Event()
        self._position = ""

    @property
    def active(self) -> bool:
        """Whether a table is still to be completed: only then the other calls are needed."""
        return bool(self._ids)

    async def run(self) -> None:
        """Copy all tables. Raises what the source raises."""
        for relation, stored in self._tables:
            await self._copy(relation, stored)

    async def values_left_out(self, events: Sequence[SourceEvent]) -> None:
        """Ask the source for rows of which an update leaves out values that may not be stored yet, and hand them to the applier.

        What comes may be newer than the update. Later changes, which are in the stream, come after it.
        """
        wanted: dict[Relation, set[tuple[SyncValue, ...]]] = {}
        for event in events:
            if isinstance(event, RowChange) and event.relation.id in self._ids and _leaves_out(event):
                key = _key_values(event)
                if key is not None:
                    wanted.setdefault(event.relation, set()).add(key)
        offers: list[tuple[Relation, list[tuple[SyncValue, ...]]]] = []
        for relation, keys in wanted.items():
            asked = list(keys)
            for start in range(0, len(asked), ROWS_ASKED_MAX):
                part = asked[start : start + ROWS_ASKED_MAX]
                offers.append((relation, await self._source.rows(relation, part, value_format=self._value_format)))
        self._applier.offer(offers)

    def note(self, change: RowChange) -> None:
        """The stream brings this change."""
        if change.relation.id not in self._ids:
            return
        at_hand = self._at_hand is not None and change.relation.id == self._at_hand.id
        if change.kind is ChangeKind.TRUNCATE:
            if at_hand:
                self._spoil(_ReadAgain("the table was truncated", from_begin=True))
            return
        keys = self._applier.keys_of(change)
        if self._open is not None:
            self._open |= keys
            if len(self._open) > BESIDE_KEYS_MAX:
                self._open = None
        part = self._part
        if at_hand and part is not None and part.void is None:
            part.changed |= keys
            if len(part.changed) > BESIDE_KEYS_MAX:
                self._spoil(_ReadAgain("too many of its rows were changed meanwhile"))

    def note_end(self) -> None:
        """The transaction at hand is complete."""
        self._open = set()
        self._transaction_ended.set()

    def reach(self, position: str) -> None:
        """Everything up to `position` is applied and flushed, and is about to become visible: store the chunk that waited for it."""
        self._position = position
        waiting, part = self._waiting, self._part
        if waiting is None or part is None or position < waiting.due or waiting.stored.done():
            return
        self._waiting = None
        if part.void is not None:
            waiting.stored.set_exception(part.void)
            return
        assert self._at_hand is not None
        self._writer.delay_checkpoints(self._version.number, position=position)
        self._applier.copy(self._at_hand, waiting.chunk.rows, look_up=True, but_for=part.changed)
        self._applier.flush()
        failpoint("after-beside-flush-before-commit")
        waiting.stored.set_result(None)

    async def _copy(self, relation: Relation, stored: StoredTable) -> None:
        progress = stored.progress
        report = CopyReport(relation, status=self._status, metrics=self._metrics, log=log, resume=progress)
        log.info("Copying %s beside the stream", report.name, extra=copy_event("copying_beside", report.name))
        complete = False
        while not complete:
            self._at_hand, self._part = relation, self._begin_part()
            chunks = self._source.snapshot(
                relation,
                slot_name=self._version.slot_name,
                resume=progress,
                value_format=self._value_format,
                published_later=True,
                beside=True,
            )
            try:
                async with contextlib.aclosing(chunks):
                    async for chunk in chunks:
                        await self._hand_over(chunk, self._part)
                        progress = chunk.progress
                        assert progress is not None, "each chunk is a part of its own"
                        self._writer.save_snapshot_progress(stored.id, progress)
                        failpoint("after-beside-progress")
                        self._part = self._begin_part()
                        report.stored(chunk)
                complete = True
            except _ReadAgain as again:
                log.info(
                    "A part of %s is read again: %s", report.name, again, extra=copy_event("read_again", report.name)
                )
                progress = None if again.from_begin else progress
                await self._until_open_is_small()
                await asyncio.sleep(BESIDE_PAUSE_S)
        self._at_hand = self._part = None
        self._ids.discard(relation.id)
        self._writer.finish_table_snapshot(self._version.number, stored.id, position=self._position)
        report.finished()

    async def _hand_over(self, chunk: SnapshotChunk, part: _Part) -> None:
        """Have a chunk stored. Raises _ReadAgain."""
        assert chunk.view is not None, "the source says what a reading beside its stream sees"
        if any(not chunk.view.sees(transaction) for transaction in part.seen_before):
            raise _ReadAgain("the stream was ahead of the reading")
        due = await self._source.head()
        waiting = self._waiting = _Waiting(chunk, due)
        await self._source.emit_marker()
        await waiting.stored

    def _begin_part(self) -> _Part:
        """From now on the stream's changes are noted, with those of the transaction that is under way."""
        if self._open is None:
            part = _Part(frozenset(self._ended), set())
            part.void = _ReadAgain("a transaction under way changes too many of its rows")
            return part
        return _Part(frozenset(self._ended), set(self._open))

    def _spoil(self, reason: _ReadAgain) -> None:
        part = self._part
        if part is not None and (part.void is None or reason.from_begin):
            part.void = reason
            part.changed = set()

    async def _until_open_is_small(self) -> None:
        """Nothing of the table can be read in peace while a transaction changes more of its rows than are noted."""
        while self._open is None:
            self._transaction_ended.clear()
            await self._transaction_ended.wait()


def _leaves_out(change: RowChange) -> bool:
    return change.row is not None and UNCHANGED in change.row and not change.relation.updates_are_complete


def _key_values(change: RowChange) -> tuple[SyncValue, ...] | None:
    """The values of a row's key after an update, None where they are not known; what the update left out is as it was before."""
    assert change.row is not None, "an update has a row"
    key: list[SyncValue] = []
    for index, column in enumerate(change.relation.columns):
        if not column.in_key:
            continue
        value = change.row[index]
        if value is UNCHANGED:
            if change.old_key is None:
                return None
            value = change.old_key[len(key)]
        key.append(value)
    return tuple(key)
