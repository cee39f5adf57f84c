"""One statement per write. Identifiers are composed, values are parameters: nothing of a client's becomes SQL."""

from __future__ import annotations

from collections.abc import Mapping

from psycopg import sql

from syncline.backend.limits import NAME_CHARACTERS_SHOWN_MAX
from syncline.backend.persisters.base import Write, WriteRefused
from syncline.backend.persisters.postgres.columns import ColumnKind, TableColumn, TableColumns
from syncline.backend.persisters.postgres.guards import (
    ID,
    Statement,
    all_of,
    cast_to,
    identifier,
    live,
    own_row,
    whose,
)
from syncline.backend.persisters.postgres.values import postgres_text
from syncline.protocol.crud import UpdateType

__all__ = ["Statement", "assignments", "foreign_row", "identifier", "known_column", "mark_of", "statement_for"]

Values = list[tuple[TableColumn, str | None]]


def statement_for(write: Write, columns: TableColumns, parents: Mapping[str, TableColumns]) -> Statement | None:
    """The statement of a write; None where there is nothing to do. Raises WriteRefused for unknown columns and wrong values.

    `parents` has the columns of the tables by which the row is the user's.
    """
    postgres_text(write.id, ID, operation_index=write.index)
    values = _values(write, columns)
    if write.op is UpdateType.PUT:
        return _upsert(write, columns, parents, values)
    if write.op is UpdateType.PATCH:
        return _update(write, columns, parents, values) if values else None
    if write.soft_delete is not None:
        return _update(write, columns, parents, [(columns[write.soft_delete], mark_of(write, columns))])
    condition = own_row(write, columns, parents)
    return Statement(
        sql.SQL("DELETE FROM {} WHERE {}").format(identifier(write.table), condition.query), condition.parameters
    )


def foreign_row(write: Write, columns: TableColumns, parents: Mapping[str, TableColumns]) -> Statement:
    """A query that finds a row under the write's id that is not the user's."""
    condition = all_of(whose(write, columns, parents))
    query = sql.SQL("SELECT 1 FROM {} WHERE id = {} AND ({}) IS NOT TRUE").format(
        identifier(write.table), cast_to(columns["id"]), condition.query
    )
    return Statement(query, [write.id, *condition.parameters])


def known_column(write: Write, columns: TableColumns, name: str) -> TableColumn:
    """A column of the write's table. Raises WriteRefused (SCHEMA_MISMATCH)."""
    column = columns.get(name)
    if column is None:
        message = f"{write.table} has no column {name[:NAME_CHARACTERS_SHOWN_MAX]!r}."
        raise WriteRefused("SCHEMA_MISMATCH", message, operation_index=write.index)
    return column


def _values(write: Write, columns: TableColumns) -> Values:
    values: Values = []
    for name, value in write.data.items():
        column = known_column(write, columns, name)
        if not column.generated:
            values.append((column, postgres_text(value, column, operation_index=write.index)))
    return values


def _upsert(write: Write, columns: TableColumns, parents: Mapping[str, TableColumns], values: Values) -> Statement:
    """INSERT, or an update where the row is there; another user's row is left alone (no row counted)."""
    inserted: Values = [(columns["id"], write.id), *values]
    inserted += [(columns[name], value) for name, value in write.belongs_to]
    query = sql.SQL("INSERT INTO {} ({}) VALUES ({}) ON CONFLICT (id) DO ").format(
        identifier(write.table),
        sql.SQL(", ").join(identifier(column.name) for column, _ in inserted),
        sql.SQL(", ").join(cast_to(column) for column, _ in inserted),
    )
    parameters = [value for _, value in inserted]
    if write.only_new:
        return Statement(query + sql.SQL("NOTHING"), parameters)
    query += sql.SQL("UPDATE SET {}").format(sql.SQL(", ").join(assignments(write, columns, values)))
    if write.guarded:
        condition = all_of(whose(write, columns, parents))
        query += sql.SQL(" WHERE {}").format(condition.query)
        parameters += condition.parameters
    return Statement(query, parameters)


def assignments(write: Write, columns: TableColumns, values: Values) -> list[sql.Composed]:
    """What a PUT changes in a row that is there: EXCLUDED has the default of a column that is not listed."""
    listed = [column.name for column, _ in values]
    listed += [name for name in write.replaces if name not in listed and not columns[name].generated]
    assignments = [sql.SQL("{0} = EXCLUDED.{0}").format(identifier(name)) for name in listed]
    if write.soft_delete is not None:
        unmarked = "false" if columns[write.soft_delete].kind == ColumnKind.BOOLEAN else "NULL"
        assignments.append(sql.SQL("{} = {}").format(identifier(write.soft_delete), sql.SQL(unmarked)))
    return assignments or [sql.SQL("{0} = EXCLUDED.{0}").format(identifier("id"))]


def _update(write: Write, columns: TableColumns, parents: Mapping[str, TableColumns], values: Values) -> Statement:
    condition = all_of([own_row(write, columns, parents), *live(write, columns)])
    query = sql.SQL("UPDATE {} SET {} WHERE {}").format(
        identifier(write.table),
        sql.SQL(", ").join(sql.SQL("{} = {}").format(identifier(column.name), cast_to(column)) for column, _ in values),
        condition.query,
    )
    return Statement(query, [value for _, value in values] + condition.parameters)


def mark_of(write: Write, columns: TableColumns) -> str:
    """What a DELETE puts into the column that marks deleted rows."""
    boolean = write.soft_delete is not None and columns[write.soft_delete].kind == ColumnKind.BOOLEAN
    return "true" if boolean else write.context.received_at.isoformat()
