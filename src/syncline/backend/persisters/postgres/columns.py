"""The tables as the database has them: which columns there are, and of what type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg

__all__ = ["NESTING_MAX", "ColumnKind", "TableColumn", "TableColumns", "ValueType", "read_columns"]

NESTING_MAX = 10  # levels of arrays, composites and ranges in each other; what lies deeper is written as text

# A cast to char(n) or bit(n) without its length would cut the value: their unlimited kin leaves that check to the assignment.
_CAST_NAMES = {"character": "bpchar", "bit": "bit varying"}

# A domain is written as the type below it (domains may be stacked).
_COLUMNS = """
WITH RECURSIVE below(attnum, oid, typmod) AS (
  SELECT attnum, atttypid, atttypmod FROM pg_attribute
   WHERE attrelid = to_regclass(quote_ident(%(table)s)) AND attnum > 0 AND NOT attisdropped
  UNION ALL
  SELECT below.attnum, t.typbasetype, t.typtypmod FROM below JOIN pg_type t ON t.oid = below.oid WHERE t.typtype = 'd'
)
SELECT a.attname, t.oid::bigint, format_type(t.oid, NULL), format_type(t.oid, below.typmod),
       a.attgenerated <> '' OR a.attidentity = 'a'
  FROM below
  JOIN pg_attribute a ON a.attrelid = to_regclass(quote_ident(%(table)s)) AND a.attnum = below.attnum
  JOIN pg_type t ON t.oid = below.oid
 WHERE t.typtype <> 'd'
"""
_TYPES = """
WITH RECURSIVE reached(oid) AS (
  SELECT unnest(%(oids)s::oid[])
  UNION
  SELECT inner_type.oid FROM reached JOIN pg_type t ON t.oid = reached.oid
   CROSS JOIN LATERAL (
     SELECT t.typelem WHERE t.typcategory = 'A' AND t.typelem <> 0
     UNION ALL SELECT t.typbasetype WHERE t.typtype = 'd'
     UNION ALL SELECT atttypid FROM pg_attribute
                WHERE t.typtype = 'c' AND attrelid = t.typrelid AND attnum > 0 AND NOT attisdropped
     UNION ALL SELECT rngsubtype FROM pg_range WHERE rngtypid = t.oid
     UNION ALL SELECT rngtypid FROM pg_range WHERE rngmultitypid = t.oid
   ) AS inner_type(oid)
)
SELECT t.oid::bigint, t.typtype, t.typcategory, t.typname, t.typelem::bigint, t.typbasetype::bigint,
       coalesce((SELECT rngsubtype::bigint FROM pg_range WHERE rngtypid = t.oid), 0),
       coalesce((SELECT rngtypid::bigint FROM pg_range WHERE rngmultitypid = t.oid), 0),
       ARRAY(SELECT attname::text FROM pg_attribute
              WHERE t.typtype = 'c' AND attrelid = t.typrelid AND attnum > 0 AND NOT attisdropped ORDER BY attnum),
       ARRAY(SELECT atttypid::bigint FROM pg_attribute
              WHERE t.typtype = 'c' AND attrelid = t.typrelid AND attnum > 0 AND NOT attisdropped ORDER BY attnum)
  FROM reached JOIN pg_type t USING (oid)
"""


_ROWS_ARE_ALONE = """
SELECT relkind = 'r' AND NOT relhasrules AND NOT relrowsecurity
   AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND NOT tgisinternal)
   AND NOT EXISTS (SELECT FROM pg_constraint WHERE contype = 'f' AND conrelid = c.oid AND confrelid = c.oid)
   AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhparent = c.oid OR inhrelid = c.oid)
  FROM pg_class c WHERE c.oid = to_regclass(quote_ident(%(table)s))
"""


class ColumnKind:
    """How a client's value has to be written for a type."""

    BOOLEAN = "boolean"
    INTEGER = "integer"
    NUMBER = "number"
    TIMESTAMP = "timestamp"
    DATE = "date"
    TIME = "time"
    INTERVAL = "interval"
    JSON = "json"
    ARRAY = "array"
    COMPOSITE = "composite"
    RANGE = "range"
    MULTIRANGE = "multirange"
    BYTES = "bytes"
    OTHER = "other"


_KINDS = {
    "bool": ColumnKind.BOOLEAN,
    **dict.fromkeys(("int2", "int4", "int8"), ColumnKind.INTEGER),
    **dict.fromkeys(("float4", "float8", "numeric"), ColumnKind.NUMBER),
    **dict.fromkeys(("timestamp", "timestamptz"), ColumnKind.TIMESTAMP),
    **dict.fromkeys(("time", "timetz"), ColumnKind.TIME),
    **dict.fromkeys(("json", "jsonb"), ColumnKind.JSON),
    "date": ColumnKind.DATE,
    "interval": ColumnKind.INTERVAL,
    "bytea": ColumnKind.BYTES,
}


@dataclass(frozen=True, slots=True)
class ValueType:
    """A type, with those inside it: of an array's or multirange's elements, of a range's bounds, of a composite's fields."""

    kind: str = ColumnKind.OTHER
    element: ValueType | None = None
    fields: tuple[tuple[str, ValueType], ...] = ()
    zoned: bool = False  # a time with its zone


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column; `cast` is a type name from the catalog, safe in SQL, and `declared` the same with its length or precision.

    `generated` columns get their values from the database, whatever is sent.
    """

    name: str
    cast: str
    type: ValueType = field(default_factory=ValueType)
    generated: bool = False
    declared: str = ""

    @property
    def kind(self) -> str:
        """Of `ColumnKind`."""
        return self.type.kind


class TableColumns(dict[str, TableColumn]):
    """The columns of a table by name. `rows_are_alone`: no row's fate depends on others of the table that are written with it."""

    rows_are_alone: bool = False


async def read_columns(connection: psycopg.AsyncConnection[Any], table: str) -> TableColumns:
    """Columns of a table on the search path; empty where there is no such table."""
    cursor = await connection.execute(_COLUMNS, {"table": table})
    rows: list[tuple[str, int, str, str, bool]] = await cursor.fetchall()
    cursor = await connection.execute(_TYPES, {"oids": [row[1] for row in rows]})
    types = {row[0]: row[1:] for row in await cursor.fetchall()}
    columns = TableColumns(
        (name, TableColumn(name, _CAST_NAMES.get(cast, cast), _value_type(oid, types, 0), generated, declared))
        for name, oid, cast, declared, generated in rows
    )
    cursor = await connection.execute(_ROWS_ARE_ALONE, {"table": table})
    columns.rows_are_alone = await cursor.fetchone() == (True,)
    return columns


def _value_type(oid: int, types: Mapping[int, Sequence[Any]], depth: int) -> ValueType:
    if depth > NESTING_MAX:
        return ValueType()
    form, category, name, element, base, subtype, range_type, names, oids = types[oid]
    if form == "d":
        return _value_type(base, types, depth)
    if form == "c":
        inner = [_value_type(one, types, depth + 1) for one in oids]
        return ValueType(ColumnKind.COMPOSITE, fields=tuple(zip(names, inner, strict=True)))
    if form == "r":
        return ValueType(ColumnKind.RANGE, _value_type(subtype, types, depth + 1))
    if form == "m":
        return ValueType(ColumnKind.MULTIRANGE, _value_type(range_type, types, depth + 1))
    if category == "A" and element:
        return ValueType(ColumnKind.ARRAY, _value_type(element, types, depth + 1))
    return ValueType(_KINDS.get(name, ColumnKind.OTHER), zoned=name in ("timestamptz", "timetz"))
