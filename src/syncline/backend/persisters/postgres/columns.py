"""The tables as the database has them: which columns there are, and of what type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg

__all__ = ["ColumnKind", "TableColumn", "TableColumns", "read_columns"]

# A cast to char(n) or bit(n) without its length would cut the value: their unlimited kin leaves that check to the assignment.
_CAST_NAMES = {"character": "bpchar", "bit": "bit varying"}

# A domain is written as the type below it (domains may be stacked), an array as its elements are.
_COLUMNS = """
WITH RECURSIVE below(attnum, oid) AS (
  SELECT attnum, atttypid FROM pg_attribute
   WHERE attrelid = to_regclass(quote_ident(%(table)s)) AND attnum > 0 AND NOT attisdropped
  UNION ALL
  SELECT below.attnum, t.typbasetype FROM below JOIN pg_type t ON t.oid = below.oid WHERE t.typtype = 'd'
)
SELECT a.attname, format_type(a.atttypid, NULL), t.typcategory, t.typname,
       coalesce(e.typcategory, ''), coalesce(e.typname, ''), a.attgenerated <> ''
  FROM below
  JOIN pg_attribute a ON a.attrelid = to_regclass(quote_ident(%(table)s)) AND a.attnum = below.attnum
  JOIN pg_type t ON t.oid = below.oid
  LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
 WHERE t.typtype <> 'd'
"""


class ColumnKind:
    """How a client's value has to be written for a column."""

    BOOLEAN = "boolean"
    INTEGER = "integer"
    TIMESTAMP = "timestamp"
    JSON = "json"
    ARRAY = "array"
    BYTES = "bytes"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column; `cast` is a type name from the catalog, safe in SQL; `element` is the kind of an array's elements."""

    name: str
    cast: str
    kind: str
    element: str = ColumnKind.OTHER
    generated: bool = False


TableColumns = dict[str, TableColumn]


async def read_columns(connection: psycopg.AsyncConnection[Any], table: str) -> TableColumns:
    """Columns of a table on the search path; empty where there is no such table."""
    cursor = await connection.execute(_COLUMNS, {"table": table})
    rows: list[tuple[str, str, str, str, str, str, bool]] = await cursor.fetchall()
    return {
        name: TableColumn(
            name,
            _CAST_NAMES.get(cast, cast),
            _kind(category, type_name),
            element=_kind(element_category, element_name),
            generated=generated,
        )
        for name, cast, category, type_name, element_category, element_name, generated in rows
    }


def _kind(category: str, type_name: str) -> str:
    if category == "B":
        return ColumnKind.BOOLEAN
    if category == "A":
        return ColumnKind.ARRAY
    if type_name in ("int2", "int4", "int8"):
        return ColumnKind.INTEGER
    if type_name in ("timestamp", "timestamptz"):
        return ColumnKind.TIMESTAMP
    if type_name in ("json", "jsonb"):
        return ColumnKind.JSON
    return ColumnKind.BYTES if type_name == "bytea" else ColumnKind.OTHER
