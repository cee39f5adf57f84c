"""PURE: what a download holds, by bucket and by table, kept as counts and not as rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from syncline.protocol.lines import BucketChecksum, Checkpoint, CheckpointComplete, CheckpointDiff, DataBatch, Line
from syncline.protocol.ops import OpType, to_unsigned32

__all__ = ["ROWS_MAX", "Download", "TooManyRows", "reasons_of"]

ROWS_MAX = 1_000_000  # rows of one download: their keys are held in memory, some 200 bytes each


class TooManyRows(Exception):
    """The download has more than ROWS_MAX rows."""


@dataclass(slots=True)
class _Bucket:
    """One bucket on its way: `rows` has the bytes of each live row's data, by key and subkey."""

    state: BucketChecksum
    reasons: list[str]
    ops: int = 0
    bytes: int = 0  # of lines
    checksum: int = 0
    rows: dict[tuple[str, str, str], int] = field(default_factory=dict[tuple[str, str, str], int])


class Download:
    """Takes the lines of a stream until its first checkpoint is complete."""

    def __init__(self, subscriptions: list[str], *, rows_max: int = ROWS_MAX) -> None:
        """`subscriptions`: names of the streams that the request subscribes to, in its order."""
        self.last_op_id = ""
        self.streams: list[str] = []
        self.errors: list[str] = []
        self.is_complete = False
        self._subscriptions = subscriptions
        self._rows_max = rows_max
        self._rows = 0
        self._buckets: dict[str, _Bucket] = {}

    def receive(self, line: Line, size: int) -> None:
        """Count one line of `size` bytes. Raises TooManyRows."""
        match line:
            case Checkpoint():
                self._begin(line)
            case CheckpointDiff():
                # Something was committed while we download: what counts is the newest state.
                self.last_op_id = line.last_op_id
                for name in line.removed_buckets:
                    self._forget(name)
                for state in line.updated_buckets:
                    self._update(state)
            case DataBatch():
                self._store(line, size)
            case CheckpointComplete():
                self.is_complete = True
            case _:
                pass

    def as_value(self, *, sizes: bool) -> dict[str, Any]:
        """The result: buckets as the checkpoint has them; with `sizes` what was downloaded of them, and tables."""
        value: dict[str, Any] = {"checkpoint": self.last_op_id, "streams": self.streams, "errors": self.errors}
        value["buckets"] = [self._shown(name, sizes=sizes) for name in sorted(self._buckets)]
        if sizes:
            value |= {"tables": self._tables(), "problems": self._problems()}
        return value

    def _begin(self, checkpoint: Checkpoint) -> None:
        self.last_op_id = checkpoint.last_op_id
        self.streams = [stream.name for stream in checkpoint.streams]
        self.errors = [
            f"stream {stream.name}: {error.message}" for stream in checkpoint.streams for error in stream.errors
        ]
        for state in checkpoint.buckets:
            self._update(state)

    def _update(self, state: BucketChecksum) -> None:
        reasons = reasons_of(state, self.streams, self._subscriptions)
        known = self._buckets.get(state.bucket)
        if known is None:
            self._buckets[state.bucket] = _Bucket(state, reasons)
        else:
            known.state, known.reasons = state, reasons

    def _store(self, batch: DataBatch, size: int) -> None:
        bucket = self._buckets.get(batch.bucket)
        if bucket is None:
            return  # of a checkpoint that has been replaced meanwhile
        bucket.bytes += size
        for entry in batch.data:
            bucket.ops += 1
            bucket.checksum += int(entry.checksum)
            key = (entry.object_type or "", entry.object_id or "", entry.subkey or "")
            before = len(bucket.rows)
            if entry.op is OpType.PUT:
                bucket.rows[key] = len(entry.data or "")
            elif entry.op is OpType.REMOVE:
                bucket.rows.pop(key, None)
            elif entry.op is OpType.CLEAR:
                bucket.rows.clear()
                bucket.checksum = int(entry.checksum)
            self._rows += len(bucket.rows) - before
        if self._rows > self._rows_max:
            raise TooManyRows

    def _forget(self, name: str) -> None:
        gone = self._buckets.pop(name, None)
        self._rows -= len(gone.rows) if gone else 0

    def _shown(self, name: str, *, sizes: bool) -> dict[str, Any]:
        bucket = self._buckets[name]
        value: dict[str, Any] = {
            "name": name,
            "priority": bucket.state.priority,
            "ops": bucket.state.count,
            "reasons": bucket.reasons,
        }
        if sizes:
            value |= {
                "rows": len({key[:2] for key in bucket.rows}),
                "ops_downloaded": bucket.ops,
                "bytes_downloaded": bucket.bytes,
                "bytes_data": sum(bucket.rows.values()),
            }
        return value

    def _tables(self) -> list[dict[str, Any]]:
        """Rows and bytes by table; a row that stands in several buckets is one row, with the bytes of each."""
        ids: dict[str, set[str]] = {}
        sizes: dict[str, int] = {}
        for bucket in self._buckets.values():
            for (table, row_id, _), size in bucket.rows.items():
                ids.setdefault(table, set()).add(row_id)
                sizes[table] = sizes.get(table, 0) + size
        return [{"name": name, "rows": len(ids[name]), "bytes_data": sizes[name]} for name in sorted(ids)]

    def _problems(self) -> list[str]:
        """Buckets whose operations do not have the checksum that the checkpoint says."""
        return [
            f"bucket {name}: the checksums of its operations do not add up to the checkpoint's"
            for name, bucket in sorted(self._buckets.items())
            if to_unsigned32(bucket.checksum) != to_unsigned32(bucket.state.checksum)
        ]


def reasons_of(state: BucketChecksum, streams: list[str], subscriptions: list[str]) -> list[str]:
    """Why the user has the bucket: names of streams, by default or by a subscription of the request."""
    found: list[str] = []
    for reason in state.subscriptions:
        if reason.default is not None and reason.default < len(streams):
            found.append(f"{streams[reason.default]}, by default")
        elif reason.sub is not None and reason.sub < len(subscriptions):
            found.append(f"{subscriptions[reason.sub]}, subscribed")
    return found
