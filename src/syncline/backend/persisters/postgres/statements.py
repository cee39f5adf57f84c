"""One statement per write. Identifiers are composed, values are parameters: nothing of a client's becomes SQL."""

from __future__ import annotations

from typing import NamedTuple

from psycopg import sql

from syncline.backend.limits import NAME_CHARACTERS_SHOWN_MAX
from syncline.backend.persisters.base import Write, WriteRefused
from syncline.backend.persisters.postgres.columns import ColumnKind, TableColumn, TableColumns
from syncline.backend.persisters.postgres.values import postgres_text
from syncline.protocol.crud import UpdateType

__all__ = ["Statement", "identifier", "row_exists", "statement_for"]


_ID = TableColumn("id", "text", ColumnKind.OTHER)  # ids of clients are text, whatever the column is


class Statement(NamedTuple):
    """SQL and its parameters."""

    query: sql.Composed
    parameters: list[str | None]


def statement_for(write: Write, columns: TableColumns) -> Statement | None:
    """The statement of a write; None where there is nothing to do. Raises WriteRefused for unknown columns and wrong values."""
    postgres_text(write.id, _ID, operation_index=write.index)
    values = _values(write, columns)
    if write.op is UpdateType.PUT:
        return _upsert(write, columns, values)
    if write.op is UpdateType.PATCH:
        return _update(write, columns, values) if values else None
    return _delete(write, columns)


def row_exists(write: Write, columns: TableColumns) -> Statement:
    """A query that finds a row under the write's id, whoever owns it."""
    query = sql.SQL("SELECT 1 FROM {} WHERE id = {}").format(identifier(write.table), _cast(columns["id"]))
    return Statement(query, [write.id])


def identifier(name: str) -> sql.Identifier:
    """A quoted name, for statements with parameters: psycopg reads a single % as a placeholder even inside quotes."""
    return sql.Identifier(name.replace("%", "%%"))


def _values(write: Write, columns: TableColumns) -> list[tuple[TableColumn, str | None]]:
    values: list[tuple[TableColumn, str | None]] = []
    for name, value in write.data.items():
        column = columns.get(name)
        if column is None:
            message = f"{write.table} has no column {name[:NAME_CHARACTERS_SHOWN_MAX]!r}."
            raise WriteRefused("SCHEMA_MISMATCH", message, operation_index=write.index)
        if not column.generated:
            values.append((column, postgres_text(value, column, operation_index=write.index)))
    return values


def _upsert(write: Write, columns: TableColumns, values: list[tuple[TableColumn, str | None]]) -> Statement:
    """INSERT, or an update of the listed columns where the row is there; another user's row is left alone (no row counted)."""
    inserted = [(columns["id"], write.id), *values]
    if write.owner is not None:
        inserted.append((columns[write.owner[0]], write.owner[1]))
    table = identifier(write.table)
    query = sql.SQL("INSERT INTO {} ({}) VALUES ({}) ON CONFLICT (id) DO UPDATE SET {}").format(
        table,
        sql.SQL(", ").join(identifier(column.name) for column, _ in inserted),
        sql.SQL(", ").join(_cast(column) for column, _ in inserted),
        sql.SQL(", ").join(
            sql.SQL("{0} = EXCLUDED.{0}").format(identifier(name))
            for name in ([column.name for column, _ in values] or ["id"])
        ),
    )
    parameters = [value for _, value in inserted]
    if write.owner is not None:
        query += sql.SQL(" WHERE {}.{} = {}").format(table, identifier(write.owner[0]), _cast(columns[write.owner[0]]))
        parameters.append(write.owner[1])
    return Statement(query, parameters)


def _update(write: Write, columns: TableColumns, values: list[tuple[TableColumn, str | None]]) -> Statement:
    query = sql.SQL("UPDATE {} SET {}").format(
        identifier(write.table),
        sql.SQL(", ").join(sql.SQL("{} = {}").format(identifier(column.name), _cast(column)) for column, _ in values),
    )
    condition, parameters = _only_own(write, columns)
    return Statement(query + condition, [value for _, value in values] + parameters)


def _delete(write: Write, columns: TableColumns) -> Statement:
    condition, parameters = _only_own(write, columns)
    return Statement(sql.SQL("DELETE FROM {}").format(identifier(write.table)) + condition, parameters)


def _only_own(write: Write, columns: TableColumns) -> tuple[sql.Composed, list[str | None]]:
    condition = sql.SQL(" WHERE id = {}").format(_cast(columns["id"]))
    parameters: list[str | None] = [write.id]
    if write.owner is not None:
        condition += sql.SQL(" AND {} = {}").format(identifier(write.owner[0]), _cast(columns[write.owner[0]]))
        parameters.append(write.owner[1])
    return condition, parameters


def _cast(column: TableColumn) -> sql.Composed:
    name = column.cast.replace("%", "%%")
    return sql.SQL("CAST(%s::text AS {})").format(sql.SQL(name))  # pyright: ignore[reportArgumentType]  # from the catalog
