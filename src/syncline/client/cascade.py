"""Deleting a row with what belongs to it: synced tables have no foreign keys on the device (requirements, 90).

The source database may well have foreign keys; children are deleted before their parents, so that uploads pass them in this order.
"""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from syncline.client.local.sql_text import quote_identifier
from syncline.client.statements import ThreadTransaction
from syncline.errors import ClientError

__all__ = ["OnDelete", "Reference", "delete_with_children"]


class OnDelete(enum.StrEnum):
    """What happens to rows whose parent is deleted."""

    CASCADE = "cascade"  # they are deleted too
    SET_NULL = "set_null"  # their column becomes NULL
    RESTRICT = "restrict"  # nothing is deleted: ClientError


@dataclass(frozen=True, slots=True)
class Reference:
    """A column that holds ids of another table's rows: `Reference("todos", "list_id", "lists")`."""

    table: str
    column: str
    parent: str
    on_delete: OnDelete = OnDelete.CASCADE


def delete_with_children(
    transaction: ThreadTransaction, table: str, ids: Iterable[str], references: Iterable[Reference]
) -> dict[str, int]:
    """Delete rows and all that belongs to them, in the caller's transaction; returns how many rows of each table were deleted.

    >>> await db.run(lambda tx: delete_with_children(tx, "lists", [list_id], REFERENCES))

    Works for trees (a table that refers to itself) and for circles. Raises ClientError, with nothing deleted, where a RESTRICT reference
    still has rows that would stay.
    """
    by_parent: dict[str, list[Reference]] = defaultdict(list)
    for reference in references:
        by_parent[reference.parent].append(reference)
    levels = _collect(transaction, table, ids, by_parent)
    doomed = {name: {row_id for level in found for row_id in level} for name, found in levels.items()}
    _refuse_restricted(transaction, doomed, by_parent)
    _set_null(transaction, doomed, by_parent)
    for name in _children_first(list(levels), by_parent):
        delete = f"DELETE FROM {quote_identifier(name)} WHERE id IN (SELECT value FROM json_each(?))"  # noqa: S608 - quoted
        for level in reversed(levels[name]):
            _by_ids(transaction, delete, level)
    return {name: len(found) for name, found in doomed.items()}


def _collect(
    transaction: ThreadTransaction, table: str, ids: Iterable[str], by_parent: Mapping[str, list[Reference]]
) -> dict[str, list[list[str]]]:
    """All rows to delete by table, in the levels in which they were found: parents before their children."""
    levels: dict[str, list[list[str]]] = {}
    seen: dict[str, set[str]] = defaultdict(set)
    waiting = [(table, _existing(transaction, table, list(ids)))]
    while waiting:
        name, found = waiting.pop(0)
        new = sorted(set(found) - seen[name])
        if not new:
            continue
        seen[name].update(new)
        levels.setdefault(name, []).append(new)
        waiting += [
            (reference.table, _children(transaction, reference, new))
            for reference in by_parent.get(name, [])
            if reference.on_delete is OnDelete.CASCADE
        ]
    return levels


def _children_first(tables: list[str], by_parent: Mapping[str, list[Reference]]) -> list[str]:
    """Tables in the order in which their rows can go; where tables refer to each other in a circle there is no such order."""
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for name in tables:
        children = {reference.table for reference in by_parent.get(name, [])} & set(tables) - {name}
        sorter.add(name, *sorted(children))
    try:
        return list(sorter.static_order())
    except CycleError:
        return tables[::-1]


def _existing(transaction: ThreadTransaction, table: str, ids: list[str]) -> list[str]:
    sql = f"SELECT id FROM {quote_identifier(table)} WHERE id IN (SELECT value FROM json_each(?))"  # noqa: S608 - quoted
    return transaction.fetch(str, sql, [ids])


def _children(transaction: ThreadTransaction, reference: Reference, parents: Iterable[str]) -> list[str]:
    sql = (
        f"SELECT id FROM {quote_identifier(reference.table)} "  # noqa: S608 - quoted
        f"WHERE {quote_identifier(reference.column)} IN (SELECT value FROM json_each(?))"
    )
    return transaction.fetch(str, sql, [list(parents)])


def _refuse_restricted(
    transaction: ThreadTransaction, doomed: Mapping[str, set[str]], by_parent: Mapping[str, list[Reference]]
) -> None:
    for name, ids in doomed.items():
        for reference in by_parent.get(name, []):
            if reference.on_delete is not OnDelete.RESTRICT:
                continue
            staying = set(_children(transaction, reference, ids)) - doomed.get(reference.table, set())
            if staying:
                raise ClientError(
                    f'{len(staying)} rows of "{reference.table}" still belong to rows of "{name}" that are to be deleted.',
                    hint=f'Delete them first, or make the reference "{reference.column}" CASCADE or SET_NULL.',
                )


def _set_null(
    transaction: ThreadTransaction, doomed: Mapping[str, set[str]], by_parent: Mapping[str, list[Reference]]
) -> None:
    for name, ids in doomed.items():
        for reference in by_parent.get(name, []):
            if reference.on_delete is not OnDelete.SET_NULL:
                continue
            staying = set(_children(transaction, reference, ids)) - doomed.get(reference.table, set())
            sql = (
                f"UPDATE {quote_identifier(reference.table)} SET {quote_identifier(reference.column)} = NULL "  # noqa: S608 - quoted names
                "WHERE id IN (SELECT value FROM json_each(?))"
            )
            _by_ids(transaction, sql, sorted(staying))


def _by_ids(transaction: ThreadTransaction, sql: str, ids: list[str]) -> None:
    if ids:
        transaction.execute(sql, [ids])
