"""Consecutive writes of one shape in one statement: their values go as arrays, and Postgres makes rows of them again, in order.

It has the effect of the single statements where no row's fate depends on another's of the same table: no triggers or rules of the app's
own, no reference to the table itself, no row-level security (`TableColumns.rows_are_alone`). Rows of one group have different ids. What
fails is applied again row by row, which finds the operation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from psycopg import sql

from syncline.backend.limits import GROUP_ROWS_MAX
from syncline.backend.persisters.base import Write
from syncline.backend.persisters.postgres.columns import TableColumn, TableColumns
from syncline.backend.persisters.postgres.guards import Statement, all_of, cast_to, identifier, live, type_name, whose
from syncline.backend.persisters.postgres.statements import assignments, mark_of
from syncline.protocol.crud import UpdateType

__all__ = ["array_text", "group_statement", "runs_of"]

_ROWS = sql.Identifier("syncline rows")


def runs_of(writes: Sequence[Write], keys: Sequence[object]) -> Iterator[Sequence[Write]]:
    """The writes in order, cut where the shape changes or an id comes again, and after GROUP_ROWS_MAX."""
    start = 0
    ids: set[str] = set()
    for at, write in enumerate(writes):
        if at > start and (keys[at] != keys[start] or write.id in ids or at - start >= GROUP_ROWS_MAX):
            yield writes[start:at]
            start = at
            ids.clear()
        ids.add(write.id)
    if start < len(writes):
        yield writes[start:]


def group_statement(
    write: Write, columns: TableColumns, parents: Mapping[str, TableColumns], data: Sequence[TableColumn]
) -> Statement:
    """The statement of a group, by one of its writes; `data` are the columns that it gives values to.

    Its parameters are those that all have in common, in the order of the placeholders; None stands for an array: of the ids first, then of
    each column.
    """
    arrays = [columns["id"], *data]
    rows = sql.SQL("unnest({}) AS {} ({})").format(
        sql.SQL(", ").join(sql.SQL("%s::text[]") for _ in arrays),
        _ROWS,
        sql.SQL(", ").join(sql.Identifier(f"v{n}") for n in range(len(arrays))),
    )
    values = [_value(n, column) for n, column in enumerate(arrays)]
    holes: list[str | None] = [None] * len(arrays)
    if write.op is UpdateType.PUT:
        return _insert(write, columns, parents, data, rows, values, holes)
    marks: list[tuple[sql.Composed, list[str | None]]] = []
    if write.op is UpdateType.DELETE and write.soft_delete is not None:
        marks.append((cast_to(columns[write.soft_delete]), [mark_of(write, columns)]))
    condition = all_of([*whose(write, columns, parents), *live(write, columns)])
    own = sql.SQL("{}.id = {} AND {}").format(identifier(write.table), values[0], condition.query)
    if write.op is UpdateType.DELETE and not marks:
        query = sql.SQL("DELETE FROM {} USING {} WHERE {}").format(identifier(write.table), rows, own)
        return Statement(query, [*holes, *condition.parameters])
    pairs = [(column.name, value) for column, value in zip(data, values[1:], strict=True)]
    if write.soft_delete is not None and marks:
        pairs = [(write.soft_delete, marks[0][0])]
    sets = sql.SQL(", ").join(sql.SQL("{} = {}").format(identifier(name), value) for name, value in pairs)
    query = sql.SQL("UPDATE {} SET {} FROM {} WHERE {}").format(identifier(write.table), sets, rows, own)
    return Statement(query, [*(value for _, one in marks for value in one), *holes, *condition.parameters])


def array_text(texts: Sequence[str | None]) -> str:
    """An array literal of texts."""
    parts = ["NULL" if text is None else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' for text in texts]
    return "{" + ",".join(parts) + "}"


def _insert(
    write: Write,
    columns: TableColumns,
    parents: Mapping[str, TableColumns],
    data: Sequence[TableColumn],
    rows: sql.Composed,
    values: list[sql.Composed],
    holes: list[str | None],
) -> Statement:
    belongs = [columns[name] for name, _ in write.belongs_to]
    query = sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {} ON CONFLICT (id) DO UPDATE SET {}").format(
        identifier(write.table),
        sql.SQL(", ").join(identifier(column.name) for column in (columns["id"], *data, *belongs)),
        sql.SQL(", ").join([*values, *(cast_to(column) for column in belongs)]),
        rows,
        sql.SQL(", ").join(assignments(write, columns, [(column, None) for column in data])),
    )
    parameters: list[str | None] = [*(value for _, value in write.belongs_to), *holes]
    if write.guarded:
        condition = all_of(whose(write, columns, parents))
        query += sql.SQL(" WHERE {}").format(condition.query)
        parameters += condition.parameters
    return Statement(query, parameters)


def _value(position: int, column: TableColumn) -> sql.Composed:
    return sql.SQL("CAST({}.{} AS {})").format(_ROWS, sql.Identifier(f"v{position}"), type_name(column))
