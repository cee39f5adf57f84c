"""PURE: pages of a backend's own change feed as lines of a sync stream, so that nothing behind the transport knows the difference.

A page is `{"changes": {table: [row, …]}, "timestamp": …, "hasMore": false}`; a row with `"_deleted": true` is gone. All rows go into one
bucket of this device's own making, whose operations have the checksum 0: there is nothing to compare with. `timestamp` is what the next
request sends as `since`. It is kept in the name of a second bucket, which is stored in the same transaction as the page: it survives a
restart, and can never be ahead of the rows.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from syncline.errors import RemoteProtocolError
from syncline.protocol.lines import (
    BucketChecksum,
    Checkpoint,
    CheckpointComplete,
    CheckpointDiff,
    DataBatch,
    Line,
    OplogEntry,
    encode_line,
)
from syncline.protocol.ops import OpType
from syncline.protocol.requests import BucketPosition

__all__ = ["OPS_PER_LINE_MAX", "SINCE_CHARACTERS_MAX", "PolledPages"]

OPS_PER_LINE_MAX = 1000  # rows of one data line, as the service has it
SINCE_CHARACTERS_MAX = 256  # characters of a `timestamp`, which becomes a name

_ROWS = "polled[]"
_SINCE = "polled:since="


class _Page(msgspec.Struct):
    changes: dict[str, list[msgspec.Raw]]
    timestamp: str | int | float
    hasMore: bool = False  # noqa: N815 - the name on the wire


class _Row(msgspec.Struct):
    id: str | int
    deleted: bool = msgspec.field(default=False, name="_deleted")


_read_page = msgspec.json.Decoder(_Page).decode
_read_row = msgspec.json.Decoder(_Row).decode


class PolledPages:
    """The conversion of one stream. `positions` are those of the request: they say how far an earlier stream came."""

    def __init__(self, positions: Iterable[BucketPosition]) -> None:
        known = {position.name: int(position.after) for position in positions}
        marks = {name: after for name, after in known.items() if name.startswith(_SINCE)}
        self._mark = max(marks, key=lambda name: marks[name]) if marks else None
        self._last_op = max([0, *marks.values(), known.get(_ROWS, 0)])
        self._count = 0  # rows of this stream: progress is counted by it

    @property
    def since(self) -> str | None:
        """What the next request asks for; None for everything."""
        return None if self._mark is None else self._mark.removeprefix(_SINCE)

    def begin(self) -> list[bytes]:
        """The first lines of a stream."""
        return [encode_line(Checkpoint(str(self._last_op), self._buckets()))]

    def page(self, body: bytes) -> tuple[list[bytes], bool]:
        """The lines of a page, and whether more pages wait. They belong into one transaction. Raises RemoteProtocolError."""
        try:
            page = _read_page(body)
        except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise RemoteProtocolError(f"A page of changes cannot be read: {exc}") from exc
        mark = _SINCE + str(page.timestamp)
        if len(mark) - len(_SINCE) > SINCE_CHARACTERS_MAX:
            raise RemoteProtocolError(f"The timestamp of a page is longer than {SINCE_CHARACTERS_MAX} characters.")
        if page.hasMore and mark == self._mark:
            raise RemoteProtocolError(
                "A page says hasMore, but has the timestamp that was asked for: the next request would bring the same page.",
                hint="`timestamp` must be that of the last row of the page while hasMore is true.",
            )
        operations = [self._operation(table, row) for table, rows in page.changes.items() for row in rows]
        if not operations and mark == self._mark:
            return [], False
        return self._lines(operations, mark), page.hasMore

    def complete(self, write_checkpoint: int) -> list[bytes]:
        """The lines that make everything visible which was paged. `write_checkpoint`: what the last request came after."""
        diff = CheckpointDiff(str(self._last_op), [], [], str(write_checkpoint))
        return [encode_line(diff), encode_line(CheckpointComplete(str(self._last_op)))]

    def _lines(self, operations: list[OplogEntry], mark: str) -> list[bytes]:
        before, self._mark = self._mark, mark
        self._count += len(operations)
        self._last_op += 1
        moved = OplogEntry(str(self._last_op), OpType.MOVE, 0)  # makes the bucket exist, and holds no row
        removed = [] if before is None or before == mark else [before]
        lines: list[Line] = [CheckpointDiff(str(self._last_op), removed, self._buckets())]
        lines += [
            DataBatch(_ROWS, operations[start : start + OPS_PER_LINE_MAX])
            for start in range(0, len(operations), OPS_PER_LINE_MAX)
        ]
        lines.append(DataBatch(mark, [moved]))
        return [encode_line(line) for line in lines]

    def _buckets(self) -> list[BucketChecksum]:
        rows = BucketChecksum(_ROWS, 0, self._count)
        return [rows] if self._mark is None else [rows, BucketChecksum(self._mark, 0, 0)]

    def _operation(self, table: str, raw: msgspec.Raw) -> OplogEntry:
        try:
            row = _read_row(raw)
        except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise RemoteProtocolError(f"A row of {table!r} in a page of changes cannot be read: {exc}") from exc
        self._last_op += 1
        row_id = str(row.id)
        if row.deleted:
            return OplogEntry(str(self._last_op), OpType.REMOVE, 0, table, row_id)
        text = bytes(raw).decode() if isinstance(row.id, str) else _with_text_id(raw, row_id)
        return OplogEntry(str(self._last_op), OpType.PUT, 0, table, row_id, data=text)


def _with_text_id(raw: msgspec.Raw, row_id: str) -> str:
    """The row with its id as text, the other values as they were written."""
    columns = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    columns["id"] = msgspec.Raw(msgspec.json.encode(row_id))
    return msgspec.json.encode(columns).decode()
