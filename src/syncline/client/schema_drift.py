"""What the service sends and the app's schema has no place for: columns and whole tables.

Such values are stored and cannot be seen in any view, which is right (a later schema shows them) and silent. So they are told twice: a
warning in the log when one is first noticed, from the newest rows alone, and `count_drift` counts all rows. Rows of raw tables are not
looked at: their own statements say what they take.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import apsw
import orjson

from syncline.client.core.instructions import LogWarning
from syncline.client.local.data_tables import SYNCED_PREFIX, data_tables
from syncline.client.local.sql_text import quote_identifier
from syncline.client.schema import Schema

__all__ = ["NAMED_MAX", "ROWS_LOOKED_AT", "DriftWatch", "SchemaDrift", "count_drift"]

ROWS_LOOKED_AT = 3  # newest rows of a table after each checkpoint: rows of one query have the same columns
NAMED_MAX = 20  # names in one warning, and unknown tables that are told at once

_EVENT = "schema_drift"
# A row that is written gets the highest rowid (INSERT OR REPLACE), so the newest rows are at the end.
_NEWEST = "SELECT data FROM {table} ORDER BY rowid DESC LIMIT ?"
# The lowest type, then the next one above it: as many look-ups as there are types, however many rows.
_UNKNOWN_TABLES = """
WITH RECURSIVE found(kind) AS (
  SELECT min(type) FROM ps_untyped
  UNION ALL SELECT (SELECT min(type) FROM ps_untyped WHERE type > found.kind) FROM found WHERE found.kind IS NOT NULL
) SELECT kind FROM found WHERE kind IS NOT NULL LIMIT ?
"""
_COUNT_COLUMNS = """
SELECT found.key, count(*) FROM {table} AS rows_, json_each(iif(json_valid(rows_.data), rows_.data, '{{}}')) AS found
WHERE found.key NOT IN (SELECT value FROM json_each(?)) GROUP BY found.key ORDER BY found.key
"""
_COUNT_TABLES = "SELECT type, count(*) FROM ps_untyped GROUP BY type ORDER BY type"


@dataclass(frozen=True, slots=True)
class SchemaDrift:
    """A column, or with `column` None a whole table, that was received and is not in the schema; `rows` have it."""

    table: str
    column: str | None
    rows: int


def count_drift(connection: apsw.Connection, schema: Schema) -> list[SchemaDrift]:
    """Count everything that is in the file and not in the schema, by table and column. Reads every synced row."""
    found: list[SchemaDrift] = []
    for name, known in _known_columns(connection, schema).items():
        counts = connection.execute(
            _COUNT_COLUMNS.format(table=_data_table(name)), (orjson.dumps(sorted(known)).decode(),)
        )
        found += [SchemaDrift(name, str(column), int(str(rows))) for column, rows in counts]
    found += [SchemaDrift(str(name), None, int(str(rows))) for name, rows in connection.execute(_COUNT_TABLES)]
    return found


class DriftWatch:
    """Looks at what the last checkpoint has written, and warns of each column and table once. Lives in the writer thread."""

    __slots__ = ("_connection", "_known", "_seen", "_told_columns", "_told_tables")

    def __init__(self, connection: apsw.Connection, schema: Schema) -> None:
        self._connection = connection
        self._known = _known_columns(connection, schema)
        self._seen: dict[str, int] = {}  # a hash of the newest rows of each table: those are not read again
        self._told_columns: dict[str, set[str]] = {name: set() for name in self._known}
        self._told_tables: set[str] = set()

    def look(self) -> list[LogWarning]:
        """Warnings of what was not told yet; costs a few rows of each table that has changed since the last call."""
        warnings: list[LogWarning] = []
        for name in self._known:
            new = self._new_columns(name)
            if new:
                self._told_columns[name] |= new
                message = f"The service sends columns of table {name!r} that the schema has not: {_listed(new)}."
                warnings.append(LogWarning(_EVENT, f"{message} Queries do not see them."))
        unknown = {str(kind) for (kind,) in self._connection.execute(_UNKNOWN_TABLES, (NAMED_MAX,)).fetchall()}
        new = unknown - self._told_tables
        if new:
            self._told_tables |= new
            warnings.append(LogWarning(_EVENT, f"The service sends tables that the schema has not: {_listed(new)}."))
        return warnings

    def _new_columns(self, name: str) -> set[str]:
        query = _NEWEST.format(table=_data_table(name))
        rows = tuple(str(data) for (data,) in self._connection.execute(query, (ROWS_LOOKED_AT,)))
        if self._seen.get(name) == hash(rows):
            return set()
        self._seen[name] = hash(rows)
        columns = {column for row in rows for column in _columns_of(row)}
        return columns - self._known[name] - self._told_columns[name]


def _known_columns(connection: apsw.Connection, schema: Schema) -> Mapping[str, set[str]]:
    """The columns of each table of the schema that sync writes to. The id is one of them: it is in the data too."""
    present = set(data_tables(connection))
    return {
        table.name: {"id", *(column.name for column in table.columns)}
        for table in schema.tables
        if table.internal_name in present
    }


def _data_table(name: str) -> str:
    return quote_identifier(SYNCED_PREFIX + name)


def _columns_of(data: str) -> Iterable[str]:
    try:
        row: object = orjson.loads(data)
    except orjson.JSONDecodeError:
        return ()  # a query on the table will say so; it must not end sync
    return cast("dict[str, object]", row) if isinstance(row, dict) else ()


def _listed(names: Iterable[str]) -> str:
    chosen = sorted(names)
    more = f" and {len(chosen) - NAMED_MAX} more" if len(chosen) > NAMED_MAX else ""
    return ", ".join(map(repr, chosen[:NAMED_MAX])) + more
