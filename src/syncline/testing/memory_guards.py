"""PURE: whose a row of a source in memory is: its owner, its tenants, the parent row that it names; and the columns that say so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from syncline.backend.persisters.base import ParentGuard, Write, WriteRefused
from syncline.backend.persisters.device_values import plain
from syncline.protocol.crud import UpdateType
from syncline.testing.memory_source import SourceWriter

__all__ = ["check_columns", "check_parent", "is_own"]


def check_columns(writer: SourceWriter, write: Write) -> None:
    """Raise WriteRefused (SCHEMA_MISMATCH) for tables and columns that the table's policy needs and the source has not."""
    needed = {"id", *write.replaces, *(name for name, _ in write.belongs_to)}
    needed |= {write.soft_delete} if write.soft_delete is not None else set()
    needed |= {write.parent.column} if write.parent is not None else set()
    _check_table(writer, write.table, needed, write.index)
    guard = write.parent
    while guard is not None:
        above = {guard.parent.column} if guard.parent is not None else set[str]()
        _check_table(writer, guard.table, {"id", *(name for name, _ in guard.belongs_to)} | above, write.index)
        guard = guard.parent


def check_parent(writer: SourceWriter, write: Write) -> None:
    """The parent that a write names must be the user's. One that is not there looks the same from outside. Raises WriteRefused."""
    guard = write.parent
    if guard is None or (write.op is not UpdateType.PUT and guard.column not in write.data):
        return
    if not _parent_is_own(writer, guard, write.data):
        message = f"{guard.column} of {write.table} must name a row of {guard.table} that is the user's."
        raise WriteRefused("UNAUTHORIZED", message, operation_index=write.index)


def is_own(writer: SourceWriter, write: Write, row: Mapping[str, Any]) -> bool:
    """Whether a row that is there is one which the user of the write may reach."""
    return _has(row, write.belongs_to) and _parent_is_own(writer, write.parent, row)


def _check_table(writer: SourceWriter, table: str, needed: Iterable[str], operation_index: int) -> None:
    columns = writer.columns(table)
    missing = ", ".join(sorted({*needed} - {*columns}))
    if missing:
        what = f"has no column {missing}" if columns else "does not exist"
        raise WriteRefused("SCHEMA_MISMATCH", f"The table {table} {what}.", operation_index=operation_index)


def _parent_is_own(writer: SourceWriter, guard: ParentGuard | None, row: Mapping[str, Any]) -> bool:
    """Whether the parent that a row names is there and the user's, as this transaction sees it; True where none is asked for."""
    if guard is None:
        return True
    named = row.get(guard.column)
    parent = None if named is None else writer.get(guard.table, plain(named))
    return parent is not None and _has(parent, guard.belongs_to) and _parent_is_own(writer, guard.parent, parent)


def _has(row: Mapping[str, Any], values: Iterable[tuple[str, str]]) -> bool:
    """Ids and claims are text, whatever the column holds; a row without the value belongs to nobody."""
    return all(row[column] is not None and plain(row[column]) == value for column, value in values)
