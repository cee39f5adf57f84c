"""Which column could not hold its value: Postgres does not say where a text is none of a type's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import psycopg
from psycopg import sql
from psycopg_pool import AsyncConnectionPool

from syncline.backend.persisters.base import Write, WriteRefused
from syncline.backend.persisters.postgres.columns import TableColumn, TableColumns
from syncline.backend.persisters.postgres.values import invalid_value, postgres_text

__all__ = ["naming_column"]

# An explicit cast to a type with a length cuts the text; an assignment refuses it. So these are measured.
_TOO_LONG = {
    "character varying": "length(rtrim({text}, ' ')) > {length}",
    "character": "length(rtrim({text}, ' ')) > {length}",
    "bit varying": "length({text}) > {length}",
    "bit": "length({text}) <> {length}",
}


async def naming_column(
    pool: AsyncConnectionPool[psycopg.AsyncConnection[Any]],
    refused: WriteRefused,
    writes: Iterable[Write],
    tables: Mapping[str, TableColumns],
) -> WriteRefused:
    """The same refusal with the column's name, where the database refused a value as such and one is found that it refuses again."""
    if refused.error_code != "INVALID_DATA" or refused.details is not None:
        return refused
    try:
        for write in writes:
            columns = tables.get(write.table)
            if columns is None or write.index != refused.operation_index:
                continue
            for name, value in {"id": write.id, **write.data}.items():
                if name in columns and not await _holds(pool, columns[name], value):
                    return invalid_value(columns[name], operation_index=refused.operation_index)
    except (psycopg.Error, WriteRefused):  # it stays without a name
        return refused
    return refused


async def _holds(pool: AsyncConnectionPool[psycopg.AsyncConnection[Any]], column: TableColumn, value: Any) -> bool:
    """Whether a column's type takes a value."""
    text = value if column.name == "id" else postgres_text(value, column, operation_index=0)
    name, _, rest = column.declared.partition("(")
    length = rest.partition(")")[0]
    test = "CAST(%(text)s::text AS {}) IS NULL".format(column.declared.replace("%", "%%"))
    if name in _TOO_LONG and length.isdecimal():
        test = _TOO_LONG[name].format(text="%(text)s::text", length=length)
    try:
        async with pool.connection() as connection:
            cursor = await connection.execute(sql.SQL("SELECT " + test), {"text": text})  # pyright: ignore[reportArgumentType]  # from the catalog
            return text is None or await cursor.fetchone() == (False,)
    except psycopg.DataError:
        return False
