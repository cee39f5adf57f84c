"""The row that a write meets: read and locked, in the values that devices know, and shown to the table's conflict strategy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg import sql

from syncline.backend.persisters.base import Write
from syncline.backend.persisters.judging import Judged, judged_by, needed_columns
from syncline.backend.persisters.postgres.columns import ColumnKind, TableColumn, TableColumns
from syncline.backend.persisters.postgres.guards import ID, Statement, all_of, identifier, live, own_row
from syncline.backend.persisters.postgres.statements import known_column
from syncline.backend.persisters.postgres.values import postgres_text

__all__ = ["judge"]


async def judge(
    connection: psycopg.AsyncConnection[Any], write: Write, columns: TableColumns, parents: Mapping[str, TableColumns]
) -> Judged:
    """Ask the write's strategy. The row that it sees is locked until the transaction ends.

    Raises WriteRefused for a rejection, UnknownFailure where the strategy itself failed, psycopg.Error.
    """
    if write.conflict is None:
        return Judged(write)
    names = needed_columns(write, write.conflict)
    there, current = await _read(connection, write, names, columns, parents) if names else (None, None)
    return judged_by(write.conflict, write, current, row_exists=there)


async def _read(
    connection: psycopg.AsyncConnection[Any],
    write: Write,
    names: list[str],
    columns: TableColumns,
    parents: Mapping[str, TableColumns],
) -> tuple[bool, dict[str, Any] | None]:
    """Whether the user has the row, marked as deleted or not, and its columns if it is not marked."""
    postgres_text(write.id, ID, operation_index=write.index)
    wanted = [known_column(write, columns, name) for name in names]
    query, parameters = _select(write, wanted, columns, parents)
    row = await (await connection.execute(query, parameters)).fetchone()
    if row is None or not row[0]:
        return row is not None, None
    return True, {column.name: _device_value(text, column) for column, text in zip(wanted, row[1:], strict=True)}


def _select(
    write: Write, wanted: list[TableColumn], columns: TableColumns, parents: Mapping[str, TableColumns]
) -> Statement:
    condition = own_row(write, columns, parents)
    query = sql.SQL("SELECT {}, {} FROM {} WHERE {} FOR UPDATE OF {}").format(
        all_of(live(write, columns)).query,
        sql.SQL(", ").join(_as_text(column) for column in wanted),
        identifier(write.table),
        condition.query,
        identifier(write.table),
    )
    return Statement(query, condition.parameters)


def _as_text(column: TableColumn) -> sql.Composed:
    """The column's value as text that does not depend on the settings of the connection."""
    name = identifier(column.name)
    if column.kind == ColumnKind.TIMESTAMP and column.cast.endswith("with time zone"):
        return sql.SQL("""to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')""").format(name)
    if column.kind == ColumnKind.TIMESTAMP:
        return sql.SQL("""to_char({}, 'YYYY-MM-DD"T"HH24:MI:SS.US')""").format(name)
    if column.kind == ColumnKind.ARRAY:
        return sql.SQL("to_json({})::text").format(name)
    if column.kind == ColumnKind.BYTES:
        return sql.SQL("translate(encode({}, 'base64'), chr(10), '')").format(name)
    return sql.SQL("CAST({} AS text)").format(name)


def _device_value(text: str | None, column: TableColumn) -> Any:
    if text is None:
        return None
    if column.kind == ColumnKind.BOOLEAN:
        return 1 if text == "true" else 0
    if column.kind == ColumnKind.INTEGER:
        return int(text)
    return float(text) if column.cast in ("real", "double precision") else text
