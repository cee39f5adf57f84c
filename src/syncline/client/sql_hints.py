"""What to do about errors of SQLite that apps meet when they work with synced tables: notes on the exceptions, by their text."""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Generator

import apsw

__all__ = ["explained", "hint_for"]

_HINTS = (
    (
        "cannot UPSERT a view",
        "Synced tables are views, for which SQLite has no ON CONFLICT: use INSERT OR REPLACE, or UPDATE first and INSERT after.",
    ),
    (
        "attempt to write a readonly database",
        "get, get_all, get_optional, fetch and watch only read: use `execute` or a write transaction.",
    ),
    (
        "no such function: powersync_",
        "The file's triggers were written by an official SDK: open it once with `SyncDatabase(...)`, which puts its own in place.",
    ),
    (
        "database is locked",
        "Another process writes to the file for a long time: keep transactions short, and end them before network calls.",
    ),
    ("database or disk is full", "Nothing of the transaction was stored; what was committed before is safe."),
    (
        "from within a transaction",
        "Run it outside of one: `await db.run(lambda tx: tx.execute(sql), transaction=False)`.",
    ),
    ("int too big to convert", "Integers of SQLite have 64 bits: store larger ones as text."),
    ("no such module: fts5", "This SQLite was built without full-text search: use the wheels of apsw from PyPI."),
)
_NO_TABLE = re.compile(r"no such table: (?:main\.)?(\S+)")


@contextlib.contextmanager
def explained(connection: apsw.Connection) -> Generator[None]:
    """Add what to do about it to an error of SQLite (`__notes__`, which tracebacks show). The error keeps its type."""
    try:
        yield
    except (apsw.Error, OverflowError) as exc:
        hint = hint_for(str(exc), connection)
        if hint and hint not in getattr(exc, "__notes__", ()):
            exc.add_note(hint)
        raise


def hint_for(message: str, connection: apsw.Connection | None = None) -> str:
    """The hint for an error text of SQLite; empty where there is none."""
    for part, hint in _HINTS:
        if part in message:
            return hint
    if (match := _NO_TABLE.search(message)) and connection is not None:
        return _missing_table(match[1], connection)
    return ""


def _missing_table(name: str, connection: apsw.Connection) -> str:
    try:
        rows = connection.execute(
            "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT GLOB 'ps_*' AND name NOT GLOB 'sqlite_*'"
        ).fetchall()
    except apsw.Error:
        return ""
    near = difflib.get_close_matches(name, [str(row[0]) for row in rows], n=1)
    if near:
        return f'Did you mean "{near[0]}"?'
    return f'Add Table("{name}", [...]) to the schema, with the name that the sync config gives it.'
