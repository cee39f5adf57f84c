"""Writes of the same shape (operation, table, columns, guards) share a statement: composed once, executed with other values.

In a pipeline nothing can be looked at between two statements. So a statement whose effect has to be checked checks itself: it fails where
it does not write its row, and the transaction is then applied again, statement by statement, which finds out why.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from syncline.backend.limits import WRITE_SHAPES_MAX
from syncline.backend.persisters.base import ParentGuard, Write
from syncline.backend.persisters.postgres.columns import TableColumn, TableColumns
from syncline.backend.persisters.postgres.groups import array_text, group_statement
from syncline.backend.persisters.postgres.guards import ID, parent_is_own
from syncline.backend.persisters.postgres.pipeline import Command, Query, fails_as
from syncline.backend.persisters.postgres.statements import mark_of, statement_for
from syncline.backend.persisters.postgres.values import postgres_text
from syncline.protocol.crud import UpdateType

__all__ = ["WriteShapes", "encoded", "numbered", "shape_key"]

_COUNTED = "SELECT CASE WHEN count(*) = {} THEN 0 ELSE {} END FROM {}"
_NO_ROW = fails_as("a write did not reach its row")
_NO_PARENT = fails_as("a write names a parent row that is not the user''s")
_PLACEHOLDER = re.compile("%s|%%")


@dataclass(frozen=True, slots=True)
class _Shape:
    """`columns` and `parents` are the tables by which it was composed: others need another statement."""

    columns: TableColumns
    parents: Mapping[str, TableColumns]
    query: Query | None  # None where there is nothing to do
    parent_query: Query | None
    data: tuple[TableColumn | None, ...]  # for each column of the write; None for one that the database makes
    group_query: (
        Query | None
    )  # as `query`, for several writes; its last parameter is their number where that is checked

    def fits(self, columns: TableColumns, parents: Mapping[str, TableColumns]) -> bool:
        """Whether the tables are still those that it was composed by."""
        return self.columns is columns and all(self.parents[name] is table for name, table in parents.items())


class WriteShapes:
    """The statements of writes that need no look at the current row. At most WRITE_SHAPES_MAX are remembered."""

    def __init__(self) -> None:
        self._shapes: dict[tuple[Any, ...], _Shape] = {}

    def commands(self, write: Write, columns: TableColumns, parents: Mapping[str, TableColumns]) -> list[Command]:
        """What performs the write: nothing for a write without effect, a check of the parent row first where there is one.

        Raises WriteRefused as `statement_for`, and ValueError for what cannot be sent.
        """
        shape = self._shape(write, columns, parents)
        guards = _guard_values(write)
        commands = _parent_checks(shape, [write], guards)
        if shape.query is not None:
            commands.append(Command(shape.query, encoded(_parameters(write, shape, guards))))
        return commands

    def group_commands(
        self, writes: Sequence[Write], columns: TableColumns, parents: Mapping[str, TableColumns]
    ) -> list[Command]:
        """What performs writes of one shape and one user, with different ids. Raises as `commands`."""
        first = writes[0]
        shape = self._shape(first, columns, parents)
        guards = _guard_values(first)
        commands = _parent_checks(shape, writes, guards)
        if shape.group_query is not None:
            commands.append(Command(shape.group_query, encoded(_group_parameters(writes, shape, guards))))
        return commands

    def _shape(self, write: Write, columns: TableColumns, parents: Mapping[str, TableColumns]) -> _Shape:
        key = shape_key(write)
        shape = self._shapes.get(key)
        if shape is None or not shape.fits(columns, parents):
            if len(self._shapes) >= WRITE_SHAPES_MAX:
                self._shapes.clear()
            shape = self._shapes[key] = _composed(write, columns, parents)
        return shape


def numbered(composed: sql.Composable) -> str:
    """A statement's text with `$1`, `$2`, … in the place of `%s`."""
    count = 0

    def replace(match: re.Match[str]) -> str:
        nonlocal count
        if match[0] == "%%":
            return "%"
        count += 1
        return f"${count}"

    return _PLACEHOLDER.sub(replace, composed.as_string())


def encoded(texts: list[str | None]) -> list[bytes | None]:
    """Parameters as they are sent. Raises ValueError for half a surrogate pair."""
    return [None if text is None else text.encode() for text in texts]


def shape_key(write: Write) -> tuple[Any, ...]:
    """Equal for writes that share a statement."""
    return (
        write.table,
        write.op,
        tuple(write.data),
        None if write.owner is None else write.owner[0],
        tuple([name for name, _ in write.tenants]),
        write.soft_delete,
        write.replaces,
        _guard_key(write.parent),
    )


def _guard_key(guard: ParentGuard | None) -> tuple[Any, ...] | None:
    if guard is None:
        return None
    return (guard.column, guard.table, tuple([name for name, _ in guard.belongs_to]), _guard_key(guard.parent))


def _composed(write: Write, columns: TableColumns, parents: Mapping[str, TableColumns]) -> _Shape:
    """Compose by the first write of a shape. Its parameters show that those of the others will be the right ones."""
    statement = statement_for(write, columns, parents)
    data = tuple([None if columns[name].generated else columns[name] for name in write.data])
    parent_query: Query | None = None
    guard = write.parent
    if guard is not None and (write.op is UpdateType.PUT or guard.column in write.data):
        check = parent_is_own(guard, write.data[guard.column], parents, operation_index=write.index)
        parent_query = Query(_COUNTED.format("1", _NO_PARENT, f"({numbered(check.query)}) AS found"))
    if statement is None:
        return _Shape(columns, dict(parents), None, parent_query, data, None)
    group = group_statement(write, columns, parents, [column for column in data if column is not None])
    number = f"${len(group.parameters) + 1}::bigint"
    queries = [_checked(statement.query, write, "1"), _checked(group.query, write, number)]
    shape = _Shape(columns, dict(parents), queries[0], parent_query, data, queries[1])
    guards = _guard_values(write)
    assert _parameters(write, shape, guards) == statement.parameters
    arrays = [f"{{{index}}}" for index in range(group.parameters.count(None))]
    assert _around(arrays, write, shape, guards) == _filled(group.parameters, arrays)
    return shape


def _checked(statement: sql.Composed, write: Write, rows: str) -> Query:
    text = numbered(statement)
    if _is_counted(write):
        text = f"WITH written AS ({text} RETURNING 1) {_COUNTED.format(rows, _NO_ROW, 'written')}"
    return Query(text)


def _is_counted(write: Write) -> bool:
    """Whether a row that is not written means more than that it is not there."""
    return write.op is UpdateType.PUT or write.guarded


def _filled(parameters: list[str | None], arrays: Sequence[str]) -> list[str | None]:
    left = iter(arrays)
    return [next(left) if one is None else one for one in parameters]


def _parent_checks(shape: _Shape, writes: Sequence[Write], guards: list[str | None]) -> list[Command]:
    """Commands that fail where a write names a parent row that is not the user's; one for each parent."""
    guard = writes[0].parent
    if shape.parent_query is None or guard is None:
        return []
    column = shape.parents[guard.table]["id"]
    names = {postgres_text(write.data[guard.column], column, operation_index=write.index): None for write in writes}
    above = guards[len(writes[0].belongs_to) :]
    return [Command(shape.parent_query, encoded([name, *above])) for name in names]


def _guard_values(write: Write) -> list[str | None]:
    """The values of a write's guards, in the order of `guards.whose`."""
    values: list[str | None] = [value for _, value in write.belongs_to]
    guard = write.parent
    while guard is not None:
        values += [value for _, value in guard.belongs_to]
        guard = guard.parent
    return values


def _values(write: Write, shape: _Shape) -> list[str | None]:
    index = write.index
    postgres_text(write.id, ID, operation_index=index)
    return [
        postgres_text(value, column, operation_index=index)
        for column, value in zip(shape.data, write.data.values(), strict=True)
        if column is not None
    ]


def _group_parameters(writes: Sequence[Write], shape: _Shape, guards: list[str | None]) -> list[str | None]:
    """The values of a group, in the order of its statement's placeholders."""
    rows = [[write.id, *_values(write, shape)] for write in writes]
    arrays = [array_text(column) for column in zip(*rows, strict=True)]
    counted: list[str | None] = [str(len(writes))] if _is_counted(writes[0]) else []
    return [*_around(arrays, writes[0], shape, guards), *counted]


def _around(arrays: Sequence[str], write: Write, shape: _Shape, guards: list[str | None]) -> list[str | None]:
    """The arrays of a group among the values that its writes have in common."""
    if write.op is UpdateType.PUT:
        belongs: list[str | None] = [value for _, value in write.belongs_to]
        return [*belongs, *arrays, *(guards if write.guarded else ())]
    if write.op is UpdateType.DELETE and write.soft_delete is not None:
        return [mark_of(write, shape.columns), *arrays, *guards]
    return [*arrays, *guards]


def _parameters(write: Write, shape: _Shape, guards: list[str | None]) -> list[str | None]:
    """The values of a write, in the order of its statement's placeholders."""
    values = _values(write, shape)
    if write.op is UpdateType.PUT:
        belongs: list[str | None] = [value for _, value in write.belongs_to]
        return [write.id, *values, *belongs, *(guards if write.guarded else ())]
    if write.op is UpdateType.DELETE and write.soft_delete is not None:
        return [mark_of(write, shape.columns), write.id, *guards]
    return [*values, write.id, *guards]
