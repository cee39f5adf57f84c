"""One statement per write. Identifiers are composed, values are parameters: nothing of a client's becomes SQL."""

from __future__ import annotations

from typing import NamedTuple

from psycopg import sql

from syncline.backend.persisters.base import Write, WriteRefused
from syncline.backend.persisters.postgres.columns import TableColumn, TableColumns
from syncline.backend.persisters.postgres.values import postgres_text
from syncline.protocol.crud import UpdateType

__all__ = ["Statement", "statement_for"]


class Statement(NamedTuple):
    """SQL and its parameters."""

    query: sql.Composed
    parameters: list[str | None]


def statement_for(write: Write, columns: TableColumns) -> Statement | None:
    """The statement of a write; None where there is nothing to do. Raises WriteRefused for unknown columns and wrong values."""
    values = _values(write, columns)
    if write.op is UpdateType.PUT:
        return _upsert(write, columns, values)
    if write.op is UpdateType.PATCH:
        return _update(write, columns, values) if values else None
    return _delete(write, columns)


def _values(write: Write, columns: TableColumns) -> list[tuple[TableColumn, str | None]]:
    values: list[tuple[TableColumn, str | None]] = []
    for name, value in write.data.items():
        column = columns.get(name)
        if column is None:
            raise WriteRefused("SCHEMA_MISMATCH", f"{write.table} has no column {name!r}.", operation_index=write.index)
        if not column.generated:
            values.append((column, postgres_text(value, column, operation_index=write.index)))
    return values


def _upsert(write: Write, columns: TableColumns, values: list[tuple[TableColumn, str | None]]) -> Statement:
    """INSERT, or an update of the listed columns where the row is there; another user's row is left alone (no row counted)."""
    inserted = [(columns["id"], write.id), *values]
    if write.owner is not None:
        inserted.append((columns[write.owner[0]], write.owner[1]))
    table = sql.Identifier(write.table)
    query = sql.SQL("INSERT INTO {} ({}) VALUES ({}) ON CONFLICT (id) DO UPDATE SET {}").format(
        table,
        sql.SQL(", ").join(sql.Identifier(column.name) for column, _ in inserted),
        sql.SQL(", ").join(_cast(column) for column, _ in inserted),
        sql.SQL(", ").join(
            sql.SQL("{0} = EXCLUDED.{0}").format(sql.Identifier(name))
            for name in ([column.name for column, _ in values] or ["id"])
        ),
    )
    parameters = [value for _, value in inserted]
    if write.owner is not None:
        query += sql.SQL(" WHERE {}.{} = {}").format(
            table, sql.Identifier(write.owner[0]), _cast(columns[write.owner[0]])
        )
        parameters.append(write.owner[1])
    return Statement(query, parameters)


def _update(write: Write, columns: TableColumns, values: list[tuple[TableColumn, str | None]]) -> Statement:
    query = sql.SQL("UPDATE {} SET {}").format(
        sql.Identifier(write.table),
        sql.SQL(", ").join(
            sql.SQL("{} = {}").format(sql.Identifier(column.name), _cast(column)) for column, _ in values
        ),
    )
    condition, parameters = _only_own(write, columns)
    return Statement(query + condition, [value for _, value in values] + parameters)


def _delete(write: Write, columns: TableColumns) -> Statement:
    condition, parameters = _only_own(write, columns)
    return Statement(sql.SQL("DELETE FROM {}").format(sql.Identifier(write.table)) + condition, parameters)


def _only_own(write: Write, columns: TableColumns) -> tuple[sql.Composed, list[str | None]]:
    condition = sql.SQL(" WHERE id = {}").format(_cast(columns["id"]))
    parameters: list[str | None] = [write.id]
    if write.owner is not None:
        condition += sql.SQL(" AND {} = {}").format(sql.Identifier(write.owner[0]), _cast(columns[write.owner[0]]))
        parameters.append(write.owner[1])
    return condition, parameters


def _cast(column: TableColumn) -> sql.Composed:
    return sql.SQL("CAST(%s::text AS {})").format(sql.SQL(column.cast))  # type: ignore[arg-type]  # from the catalog
