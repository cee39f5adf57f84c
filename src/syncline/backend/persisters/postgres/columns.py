"""The tables as the database has them: which columns there are, and of what type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg

__all__ = ["ColumnKind", "TableColumn", "TableColumns", "read_columns"]

# A cast to char(n) or bit(n) without its length would cut the value: their unlimited kin leaves that check to the assignment.
_CAST_NAMES = {"character": "bpchar", "bit": "bit varying"}

_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, NULL), t.typcategory, t.typname, a.attgenerated <> ''
  FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
 WHERE a.attrelid = to_regclass(quote_ident(%s)) AND a.attnum > 0 AND NOT a.attisdropped
"""


class ColumnKind:
    """How a client's value has to be written for a column."""

    BOOLEAN = "boolean"
    INTEGER = "integer"
    JSON = "json"
    ARRAY = "array"
    BYTES = "bytes"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column; `cast` is a type name from the catalog, safe in SQL."""

    name: str
    cast: str
    kind: str
    generated: bool


TableColumns = dict[str, TableColumn]


async def read_columns(connection: psycopg.AsyncConnection[Any], table: str) -> TableColumns:
    """Columns of a table on the search path; empty where there is no such table."""
    cursor = await connection.execute(_COLUMNS, (table,))
    rows: list[tuple[str, str, str, str, bool]] = await cursor.fetchall()
    return {
        name: TableColumn(name, _CAST_NAMES.get(cast, cast), _kind(category, type_name), generated)
        for name, cast, category, type_name, generated in rows
    }


def _kind(category: str, type_name: str) -> str:
    if category == "B":
        return ColumnKind.BOOLEAN
    if category == "A":
        return ColumnKind.ARRAY
    if type_name in ("int2", "int4", "int8"):
        return ColumnKind.INTEGER
    if type_name in ("json", "jsonb"):
        return ColumnKind.JSON
    return ColumnKind.BYTES if type_name == "bytea" else ColumnKind.OTHER
