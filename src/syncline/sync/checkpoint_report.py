"""PURE: what is told of a stream and of its checkpoints: how much was sent, of what, and what the time was spent on.

Where the reference's log lines have a field for it, it has that field's meaning (golden operations, "Log lines").
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from syncline.protocol.lines import Checkpoint, CheckpointComplete, CheckpointDiff, Line
from syncline.sync.encoding import EncodedChunk, OpCounts

__all__ = ["AnnouncedCheckpoint", "CheckpointObserver", "CheckpointTeller", "CompletedCheckpoint", "StreamTotals"]

DEFINITIONS_TOLD_MAX = 10  # stream definitions that one line names
NO_OPERATIONS = OpCounts(0, 0, 0, 0)


@dataclass(slots=True)
class StreamTotals:
    """What a stream has sent so far. `large_buckets`: operations by definition, of those whose buckets came in several lines."""

    operation_count: int = 0
    line_bytes: int = 0  # before compression
    large_buckets: dict[str, int] | None = None  # most streams have none, and there are thousands of streams
    _others: OpCounts | None = None  # operations that are no PUT, where there are any

    @property
    def operations(self) -> OpCounts:
        """All operations, by their kinds."""
        others = self._others or NO_OPERATIONS
        return others._replace(put=self.operation_count - sum(others))

    def add_chunk(self, chunk: EncodedChunk) -> None:
        """A data line is made. This is done for each line of each stream: the usual one costs an addition."""
        self.operation_count += chunk.op_count
        counts = chunk.counts
        if counts is not None:
            _, remove, move, clear = self._others or NO_OPERATIONS
            self._others = OpCounts(0, remove + counts.remove, move + counts.move, clear + counts.clear)
        if chunk.has_more or self.large_buckets is not None:
            self._add_large(chunk)

    def _add_large(self, chunk: EncodedChunk) -> None:
        name, large = _definition_of(chunk.bucket), self.large_buckets or {}
        if chunk.has_more or name in large:
            self.large_buckets = large | {name: large.get(name, 0) + chunk.op_count}


@dataclass(frozen=True, slots=True)
class AnnouncedCheckpoint:
    """A checkpoint whose head is made."""

    op_id: str
    write_checkpoint: str | None
    bucket_count: int
    definitions: dict[str, int]  # how many buckets of each, of the DEFINITIONS_TOLD_MAX that have most
    parameter_results: int


@dataclass(frozen=True, slots=True)
class CompletedCheckpoint:
    """A checkpoint whose last line was sent: how much came after its head, and where the seconds went."""

    announced: AnnouncedCheckpoint
    operations: int
    line_bytes: int  # before compression
    view_s: float  # reading buckets and totals
    data_s: float  # waiting for operations
    sending_s: float
    total_s: float


class CheckpointObserver(Protocol):
    """Hears of a stream's checkpoints, once their lines were taken by whoever sends them."""

    def checkpoint_announced(self, checkpoint: AnnouncedCheckpoint) -> None:
        """Its head was sent, and its last line is not made yet. A small checkpoint goes out whole, and is only told as completed."""
        ...

    def checkpoint_completed(self, checkpoint: CompletedCheckpoint) -> None:
        """Its last line was sent."""
        ...


@dataclass(slots=True)
class _Completion:
    announced: AnnouncedCheckpoint
    operations: int
    line_bytes: int


class CheckpointTeller:
    """Collects what there is to tell of a stream's checkpoints: until the first is complete, or of `each`. Times are in seconds."""

    __slots__ = (
        "_announced",
        "_began_s",
        "_data_s",
        "_each",
        "_lines_before",
        "_operations_before",
        "_sending_s",
        "_untold",
        "_view_s",
        "is_done",
    )

    def __init__(self, *, each: bool, now_s: float) -> None:
        self._each = each
        self._announced: AnnouncedCheckpoint | None = None  # the newest
        self._untold: list[AnnouncedCheckpoint | _Completion] = []
        self._operations_before = self._lines_before = 0
        self._restart(now_s)
        self.is_done = False

    def _restart(self, now_s: float) -> None:
        self._began_s = now_s
        self._view_s = self._data_s = self._sending_s = 0.0

    def made(self, line: Line, totals: StreamTotals, *, buckets: Iterable[str], parameter_results: int) -> None:
        """A line is made; `totals` include it, `buckets` are those of the checkpoint at hand."""
        if isinstance(line, Checkpoint | CheckpointDiff):
            names = list(buckets)
            self._operations_before, self._lines_before = totals.operation_count, totals.line_bytes
            self._announced = AnnouncedCheckpoint(
                line.last_op_id, line.write_checkpoint, len(names), _definition_counts(names), parameter_results
            )
            self._untold.append(self._announced)
        elif isinstance(line, CheckpointComplete) and self._announced is not None:
            operations, size = totals.operation_count - self._operations_before, totals.line_bytes - self._lines_before
            if self._untold and self._untold[-1] is self._announced:
                self._untold.pop()
            self._untold.append(_Completion(self._announced, operations, size))

    def waited(self, seconds: float, *, for_view: bool) -> None:
        """A reading took so long: of buckets and totals, or of operations."""
        if for_view:
            self._view_s += seconds
        else:
            self._data_s += seconds

    def sent(self, seconds: float, observer: CheckpointObserver | None, *, now_s: float) -> None:
        """All lines made so far were sent, which took `seconds`: tell of them."""
        self._sending_s += seconds
        untold, self._untold = self._untold, []
        for told in untold:
            if self.is_done:
                return
            if isinstance(told, AnnouncedCheckpoint):
                if observer is not None:
                    observer.checkpoint_announced(told)
                continue
            if observer is not None:
                observer.checkpoint_completed(self._completed(told, now_s))
            self._restart(now_s)
            self.is_done = not self._each

    def _completed(self, completion: _Completion, now_s: float) -> CompletedCheckpoint:
        return CompletedCheckpoint(
            completion.announced,
            completion.operations,
            completion.line_bytes,
            self._view_s,
            self._data_s,
            self._sending_s,
            now_s - self._began_s,
        )


def _definition_of(bucket: str) -> str:
    """The stream and its query that a bucket is of, without the version and without the values, which are users' data."""
    return bucket.partition("#")[2].partition("[")[0]


def _definition_counts(buckets: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for bucket in buckets:
        name = _definition_of(bucket)
        counts[name] = counts.get(name, 0) + 1
    if len(counts) <= DEFINITIONS_TOLD_MAX:
        return counts
    return dict(sorted(counts.items(), key=lambda entry: -entry[1])[:DEFINITIONS_TOLD_MAX])
