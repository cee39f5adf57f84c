"""Full-text search over synced tables, with SQLite's FTS5.

The index is kept by triggers on the table behind the view, in plain SQL: whatever changes a row (the app, sync, another process or SDK)
changes the index in the same transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import apsw

from syncline.client.local.sql_text import quote_identifier, quote_text
from syncline.client.schema import Schema, Table
from syncline.errors import ClientError

__all__ = ["FullTextIndex", "drop_index", "match_query", "put_index_in_place", "search_sql"]

TOKENIZER = "unicode61 remove_diacritics 2"


@dataclass(frozen=True, slots=True)
class FullTextIndex:
    """Which columns of a table can be searched. `prefixes`: lengths of word beginnings that are indexed for themselves, for speed."""

    table: str
    columns: tuple[str, ...]
    tokenizer: str = TOKENIZER
    prefixes: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """The FTS5 table."""
        return f"fts_{self.table}"

    @property
    def ids_name(self) -> str:
        """The table that says which document of the index is which row: implicit rowids would change with VACUUM."""
        return f"fts_{self.table}_ids"


def put_index_in_place(connection: apsw.Connection, schema: Schema, index: FullTextIndex) -> bool:
    """Create the index and fill it, in the caller's transaction; says whether there was something to do.

    One of the same definition stays; another is made anew. Raises ClientError for a table or column that the schema does not have.
    """
    table = _table(schema, index)
    wanted = _definitions(table, index)
    names = ", ".join("?" * len(wanted))
    found = connection.execute(f"SELECT name, sql FROM sqlite_schema WHERE name IN ({names})", tuple(wanted))  # noqa: S608 - marks
    if {str(name): str(sql) for name, sql in found.fetchall()} == wanted:
        return False
    drop_index(connection, index.table)
    for sql in wanted.values():
        connection.execute(sql)
    _fill(connection, table, index)
    return True


def drop_index(connection: apsw.Connection, table: str) -> None:
    """Remove the index of a table, where there is one; in the caller's transaction."""
    index = FullTextIndex(table, ())
    for kind in ("insert", "update", "delete"):
        connection.execute(f"DROP TRIGGER IF EXISTS {quote_identifier(f'{index.name}_{kind}')}")
    for name in (index.name, index.ids_name):
        connection.execute(f"DROP TABLE IF EXISTS {quote_identifier(name)}")


def search_sql(table: str, *, columns: str = "*") -> str:
    """The query for rows of a view, best first, with the parameters (`match_query(text)`, limit): to run, or to watch."""
    index = FullTextIndex(table, ())
    fts, ids, view = quote_identifier(index.name), quote_identifier(index.ids_name), quote_identifier(table)
    chosen = f"{view}.*" if columns == "*" else columns
    return (
        f"SELECT {chosen} FROM {fts} JOIN {ids} ON {ids}.docid = {fts}.rowid JOIN {view} ON {view}.id = {ids}.id "  # noqa: S608 - quoted
        f"WHERE {fts} MATCH ? ORDER BY {fts}.rank LIMIT ?"
    )


def match_query(text: str, *, prefix: bool = True) -> str:
    """What a person typed, as an FTS5 query: all words, in any order, the last one as a beginning unless `prefix` is False.

    Quotes and operators have no meaning in it. Empty for text without words, which finds nothing.

    >>> match_query('to "do')
    '"to" "do"*'
    """
    words = [word for word in (part.strip('"') for part in text.replace('"', " ").split()) if word]
    quoted = [f'"{word}"' for word in words]
    return " ".join(quoted) + ("*" if quoted and prefix else "")


def _table(schema: Schema, index: FullTextIndex) -> Table:
    table = next((table for table in schema.tables if table.name == index.table), None)
    if table is None or table.insert_only:
        raise ClientError(
            f'The schema has no table "{index.table}" that can be searched.',
            hint="Full-text search is for tables of the schema whose rows are stored: synced and local-only ones.",
        )
    missing = [name for name in index.columns if name not in {column.name for column in table.columns}]
    if missing or not index.columns:
        raise ClientError(
            f'Table "{index.table}" has no column "{missing[0] if missing else ""}" to search.',
            hint=f"Its columns are: {', '.join(column.name for column in table.columns)}.",
        )
    return table


def _definitions(table: Table, index: FullTextIndex) -> dict[str, str]:
    fts, ids, data = (quote_identifier(name) for name in (index.name, index.ids_name, table.internal_name))
    columns = ", ".join(map(quote_identifier, index.columns))
    options = [f"tokenize={quote_text(index.tokenizer)}"]
    if index.prefixes:
        options.append(f"prefix={quote_text(' '.join(map(str, index.prefixes)))}")
    # The conflict clause of the statement that fires a trigger rules inside it: no INSERT here rests on one.
    drop_new = f"DELETE FROM {fts} WHERE rowid = (SELECT docid FROM {ids} WHERE id = NEW.id); DELETE FROM {ids} WHERE id = NEW.id; "  # noqa: S608 - quoted names
    put_new = (
        f"INSERT INTO {ids}(id) VALUES (NEW.id); "  # noqa: S608 - quoted
        f"INSERT INTO {fts}(rowid, {columns}) SELECT docid, {_values('NEW', index.columns)} FROM {ids} WHERE id = NEW.id; "
    )
    drop_old = f"DELETE FROM {fts} WHERE rowid = (SELECT docid FROM {ids} WHERE id = OLD.id); DELETE FROM {ids} WHERE id = OLD.id; "  # noqa: S608 - quoted names
    return {
        index.ids_name: f"CREATE TABLE {ids}(docid INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE)",
        index.name: f"CREATE VIRTUAL TABLE {fts} USING fts5({columns}, {', '.join(options)})",
        f"{index.name}_insert": f"CREATE TRIGGER {quote_identifier(index.name + '_insert')} AFTER INSERT ON {data} "
        f"BEGIN {drop_new}{put_new}END",
        f"{index.name}_update": f"CREATE TRIGGER {quote_identifier(index.name + '_update')} AFTER UPDATE ON {data} "
        f"WHEN OLD.data IS NOT NEW.data OR OLD.id IS NOT NEW.id BEGIN {drop_old}{drop_new}{put_new}END",
        f"{index.name}_delete": f"CREATE TRIGGER {quote_identifier(index.name + '_delete')} AFTER DELETE ON {data} "
        f"BEGIN {drop_old}END",
    }


def _fill(connection: apsw.Connection, table: Table, index: FullTextIndex) -> None:
    fts, ids, data = (quote_identifier(name) for name in (index.name, index.ids_name, table.internal_name))
    columns = ", ".join(map(quote_identifier, index.columns))
    connection.execute(f"INSERT INTO {ids}(id) SELECT id FROM {data}")  # noqa: S608 - quoted
    connection.execute(
        f"INSERT INTO {fts}(rowid, {columns}) SELECT {ids}.docid, {_values(data, index.columns)} "  # noqa: S608 - quoted
        f"FROM {data} JOIN {ids} ON {ids}.id = {data}.id"
    )


def _values(row: str, columns: Sequence[str]) -> str:
    """The columns of a JSON row as SQL; names of a schema have no characters with a meaning in paths."""
    return ", ".join(f"json_extract({row}.data, {quote_text('$.' + column)})" for column in columns)
