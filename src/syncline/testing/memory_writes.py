"""What a write does to a row of a source in memory: judged by its table's conflict strategy, then performed as the persisters do it. PURE.

Strategies are asked by the code that the persisters share (`syncline.backend.persisters.judging`), and shown values as devices know them. A
source in memory has neither types nor constraints: what a database refuses for those goes through here.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from syncline.backend.limits import NAME_CHARACTERS_SHOWN_MAX
from syncline.backend.persisters.base import Write, WriteRefused
from syncline.backend.persisters.device_values import device_time
from syncline.backend.persisters.judging import Judged, judged_by, needed_columns
from syncline.protocol.bucket_names import SyncValue
from syncline.protocol.crud import UpdateType
from syncline.testing.memory_guards import check_columns, check_parent, is_own
from syncline.testing.memory_source import SourceWriter

__all__ = ["write_row"]

_log = logging.getLogger(__name__)

Row = Mapping[str, SyncValue]


def write_row(writer: SourceWriter, write: Write) -> tuple[Write, ...]:
    """Perform a write; the records that are to be written along with it. Raises WriteRefused, UnknownFailure where a strategy failed."""
    check_columns(writer, write)
    judged = _judge(writer, write)
    if judged.write is not None:
        try:
            _perform(writer, judged.write)
        except ValueError as exc:  # a value that no synced row can hold
            raise WriteRefused("INVALID_DATA", str(exc), operation_index=write.index) from exc
    return judged.records


def _judge(writer: SourceWriter, write: Write) -> Judged:
    if write.conflict is None:
        return Judged(write)
    names = needed_columns(write, write.conflict)
    if not names:
        return judged_by(write.conflict, write, None, row_exists=None)
    for name in names:
        _check_column(writer, write, name)
    row = writer.get(write.table, write.id)
    if row is None or not is_own(writer, write, row):
        return judged_by(write.conflict, write, None, row_exists=False)
    current = {name: row[name] for name in names} if _is_live(writer, write, row) else None
    return judged_by(write.conflict, write, current, row_exists=True)


def _perform(writer: SourceWriter, write: Write) -> None:
    check_parent(writer, write)
    for name in write.data:
        _check_column(writer, write, name)
    row = writer.get(write.table, write.id)
    if write.op is UpdateType.PUT:
        _put(writer, write, row)
    elif row is not None and not is_own(writer, write, row):
        _log.warning(
            "A %s reached for another user's row of %s",
            write.op,
            write.table,
            extra={"event": "backend.foreign_row", "table": write.table},
        )
    elif row is not None and write.op is UpdateType.PATCH:
        if _is_live(writer, write, row):
            writer.update(write.table, write.id, **_values(write))
    elif row is not None and write.soft_delete is None:
        writer.delete(write.table, write.id)
    elif row is not None and write.soft_delete is not None and _is_live(writer, write, row):
        writer.update(write.table, write.id, **{write.soft_delete: _mark(writer, write, write.soft_delete)})


def _put(writer: SourceWriter, write: Write, row: Row | None) -> None:
    """Make the row, or change the one that is there; a marked row is there again."""
    unmarked: dict[str, Any] = {}
    if write.soft_delete is not None:
        unmarked = {write.soft_delete: 0 if writer.is_integer(write.table, write.soft_delete) else None}
    if row is None:
        kept = {name: _kept(writer, write.table, name, value) for name, value in write.belongs_to}
        writer.insert(write.table, write.id, **{**_values(write), **kept, **unmarked})
        return
    if not is_own(writer, write, row):
        message = f"The row of {write.table} belongs to another user."
        raise WriteRefused("UNAUTHORIZED", message, operation_index=write.index)
    if not write.only_new:
        writer.update(write.table, write.id, **{**dict.fromkeys(write.replaces), **_values(write), **unmarked})


def _values(write: Write) -> dict[str, Any]:
    return {name: value for name, value in write.data.items() if name != "id"}


def _check_column(writer: SourceWriter, write: Write, name: str) -> None:
    if name not in writer.columns(write.table):
        message = f"{write.table} has no column {name[:NAME_CHARACTERS_SHOWN_MAX]!r}."
        raise WriteRefused("SCHEMA_MISMATCH", message, operation_index=write.index)


def _is_live(writer: SourceWriter, write: Write, row: Row) -> bool:
    """Whether the row is not marked as deleted: the mark is a time, or a flag that may be 0."""
    if write.soft_delete is None:
        return True
    mark = row[write.soft_delete]
    return not mark if writer.is_integer(write.table, write.soft_delete) else mark is None


def _mark(writer: SourceWriter, write: Write, column: str) -> int | str:
    if writer.is_integer(write.table, column):
        return 1
    return device_time(write.context.received_at.replace(tzinfo=None), has_zone=True)


def _kept(writer: SourceWriter, table: str, column: str, value: str) -> int | str:
    """A user id or a claim, which are text, as the column has it."""
    is_whole = value.removeprefix("-").isdecimal() and value.isascii()
    return int(value) if is_whole and writer.is_integer(table, column) else value
