"""The tables with JSON rows in a file: they are found in `sqlite_master`, whatever the schema says (client SQLite reference, 9)."""

from __future__ import annotations

import apsw

__all__ = ["LOCAL_PREFIX", "SYNCED_PREFIX", "data_tables"]

LOCAL_PREFIX = "ps_data_local__"
SYNCED_PREFIX = "ps_data__"


def data_tables(connection: apsw.Connection, *, local: bool = False) -> list[str]:
    """Names of the tables with JSON rows: synced and insert-only ones, or local-only ones."""
    return [
        str(name)
        for (name,) in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB 'ps_data_*'"
        )
        if str(name).startswith(LOCAL_PREFIX if local else SYNCED_PREFIX)
    ]
