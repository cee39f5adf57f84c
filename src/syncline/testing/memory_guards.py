"""PURE: whose a row of a source in memory is: its owner, its tenants, and the parent row that it names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from syncline.backend.persisters.base import ParentGuard, Write
from syncline.testing.memory_source import SourceWriter

__all__ = ["is_own", "parent_is_own"]


def is_own(writer: SourceWriter, write: Write, row: Mapping[str, Any]) -> bool:
    """Whether a row that is there is one which the user of the write may reach."""
    belongs_to = write.tenants if write.owner is None else (write.owner, *write.tenants)
    return _has(row, belongs_to) and parent_is_own(writer, write.parent, row)


def parent_is_own(writer: SourceWriter, guard: ParentGuard | None, row: Mapping[str, Any]) -> bool:
    """Whether the parent that a row names is there and the user's, as this transaction sees it; True where none is asked for."""
    if guard is None:
        return True
    named = row.get(guard.column)
    parent = None if named is None else writer.get(guard.table, str(named))
    return parent is not None and _has(parent, guard.belongs_to) and parent_is_own(writer, guard.parent, parent)


def _has(row: Mapping[str, Any], values: Iterable[tuple[str, str]]) -> bool:
    return all(row[column] == value for column, value in values)
