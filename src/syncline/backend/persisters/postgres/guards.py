"""Conditions that a row must meet to be the user's: owner, tenants, a parent row. For UPDATE, DELETE, ON CONFLICT and locking reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from psycopg import sql

from syncline.backend.persisters.base import ParentGuard, Write
from syncline.backend.persisters.postgres.columns import ColumnKind, TableColumn, TableColumns
from syncline.backend.persisters.postgres.values import postgres_text

__all__ = [
    "ID",
    "Condition",
    "Statement",
    "all_of",
    "cast_to",
    "identifier",
    "live",
    "own_row",
    "parent_guards",
    "parent_is_own",
    "type_name",
    "whose",
]

ID = TableColumn("id", "text")  # ids of clients are text, whatever the column is


class Statement(NamedTuple):
    """SQL and its parameters."""

    query: sql.Composed
    parameters: list[str | None]


Condition = Statement
"""A condition, with its parameters in the order of its placeholders."""


def identifier(name: str) -> sql.Identifier:
    """A quoted name, for statements with parameters: psycopg reads a single % as a placeholder even inside quotes."""
    return sql.Identifier(name.replace("%", "%%"))


def cast_to(column: TableColumn) -> sql.Composed:
    """A placeholder whose text is read as the column's type."""
    return sql.SQL("CAST(%s::text AS {})").format(type_name(column))


def type_name(column: TableColumn) -> sql.SQL:
    """The type that a column's values are cast to, for statements with parameters."""
    return sql.SQL(column.cast.replace("%", "%%"))  # pyright: ignore[reportArgumentType]  # from the catalog


def all_of(conditions: Iterable[Condition]) -> Condition:
    """One condition of several; true for none."""
    parts = list(conditions)
    if not parts:
        return Condition(sql.Composed([sql.SQL("true")]), [])
    query = sql.SQL(" AND ").join(part.query for part in parts)
    return Condition(query, [value for part in parts for value in part.parameters])


def parent_guards(guard: ParentGuard | None) -> list[ParentGuard]:
    """A guard and those above it."""
    return [] if guard is None else [guard, *parent_guards(guard.parent)]


def own_row(write: Write, columns: TableColumns, parents: Mapping[str, TableColumns]) -> Condition:
    """The row under the write's id, if it is the user's."""
    row = identifier(write.table)
    by_id = Condition(sql.SQL("{}.id = {}").format(row, cast_to(columns["id"])), [write.id])
    return all_of([by_id, *whose(write, columns, parents)])


def whose(write: Write, columns: TableColumns, parents: Mapping[str, TableColumns]) -> list[Condition]:
    """What makes a row of the table the user's; nothing where every row is everybody's."""
    row = identifier(write.table)
    conditions = _equal(row, write.belongs_to, columns)
    if write.parent is not None:
        conditions.append(_has_parent(row, write.parent, parents, depth=0))
    return conditions


def live(write: Write, columns: TableColumns) -> list[Condition]:
    """That the row is not marked as deleted, where the table marks."""
    if write.soft_delete is None:
        return []
    test = "IS NOT TRUE" if columns[write.soft_delete].kind == ColumnKind.BOOLEAN else "IS NULL"
    column = sql.SQL("{}.{} ").format(identifier(write.table), identifier(write.soft_delete))
    return [Condition(column + sql.SQL(test), [])]


def parent_is_own(
    guard: ParentGuard, value: Any, parents: Mapping[str, TableColumns], *, operation_index: int
) -> Statement:
    """A query that finds the parent row `value` if it is the user's, and keeps it from being deleted before the transaction ends.

    Raises WriteRefused (INVALID_DATA) for a value that is no id.
    """
    columns = parents[guard.table]
    row = _alias(0)
    text = postgres_text(value, columns["id"], operation_index=operation_index)
    by_id = Condition(sql.SQL("{}.id = {}").format(row, cast_to(columns["id"])), [text])
    condition = all_of([by_id, *_of_parent(row, guard, parents, depth=0)])
    query = sql.SQL("SELECT 1 FROM {} AS {} WHERE {} FOR KEY SHARE OF {}")
    return Statement(query.format(identifier(guard.table), row, condition.query, row), condition.parameters)


def _has_parent(
    row: sql.Identifier, guard: ParentGuard, parents: Mapping[str, TableColumns], *, depth: int
) -> Condition:
    above = _alias(depth)
    condition = all_of(_of_parent(above, guard, parents, depth=depth))
    query = sql.SQL("EXISTS (SELECT FROM {} AS {} WHERE {}.id = {}.{} AND {})").format(
        identifier(guard.table), above, above, row, identifier(guard.column), condition.query
    )
    return Condition(query, condition.parameters)


def _of_parent(
    row: sql.Identifier, guard: ParentGuard, parents: Mapping[str, TableColumns], *, depth: int
) -> list[Condition]:
    conditions = _equal(row, guard.belongs_to, parents[guard.table])
    if guard.parent is not None:
        conditions.append(_has_parent(row, guard.parent, parents, depth=depth + 1))
    return conditions


def _equal(row: sql.Identifier, pairs: Iterable[tuple[str, str]], columns: TableColumns) -> list[Condition]:
    return [
        Condition(sql.SQL("{}.{} = {}").format(row, identifier(name), cast_to(columns[name])), [value])
        for name, value in pairs
    ]


def _alias(depth: int) -> sql.Identifier:
    return sql.Identifier(f"syncline parent {depth}")
