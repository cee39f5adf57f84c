"""Which tables a statement reads (client API reference, 5; Python client reference, 1.4)."""

from __future__ import annotations

import apsw
import apsw.ext

from syncline.client.sql_hints import explained
from syncline.errors import ClientError

__all__ = ["QUERIES_CACHED_MAX", "TableFinder"]

QUERIES_CACHED_MAX = 1000  # statements whose tables are remembered

_READ = "SQLITE_READ"


class TableFinder:
    """Asks SQLite, once per statement and version of the schema. Safe in several threads.

    SQLite tells its authorizer every table that a statement reads, those behind views and those that the plan leaves out included. For a
    virtual table (FTS5) they are its shadow tables too, into which it writes.
    """

    def __init__(self) -> None:
        self._found: dict[tuple[str, int], frozenset[str]] = {}

    def tables(self, connection: apsw.Connection, sql: str) -> frozenset[str]:
        """Internal names of the tables that `sql` reads. Raises ClientError for a statement that writes, apsw.Error for a wrong one."""
        [(version,)] = connection.execute("PRAGMA schema_version").fetchall()
        key = (sql, int(str(version)))
        found = self._found.get(key)
        if found is None:
            found = self._ask(connection, sql)
            if len(self._found) >= QUERIES_CACHED_MAX:
                self._found.clear()
            self._found[key] = found
        return found

    def _ask(self, connection: apsw.Connection, sql: str) -> frozenset[str]:
        with explained(connection):
            info = apsw.ext.query_info(connection, sql, actions=True)
        if not info.is_readonly:
            raise ClientError(
                "A statement that writes cannot be watched.", hint="Watch a SELECT, and write with `execute`."
            )
        names = {
            str(action.table_name) for action in info.actions or [] if action.action_name == _READ and action.table_name
        }
        return frozenset(_written(connection, names))


def _written(connection: apsw.Connection, names: set[str]) -> set[str]:
    """The tables whose rows they are: not the views, and of virtual tables their shadow tables too."""
    listed = connection.execute("SELECT name, type FROM pragma_table_list").fetchall()
    kinds = {str(name): str(kind) for name, kind in listed}
    owners = [name + "_" for name in names if kinds.get(name) == "virtual"]
    shadows = {name for name, kind in kinds.items() if kind == "shadow" and name.startswith(tuple(owners))}
    return shadows | {name for name in names if kinds.get(name) != "view"}
