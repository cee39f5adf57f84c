"""Keys of `ps_oplog` in files of older JavaScript clients, which wrote the subkey as JSON (client SQLite reference, 2 and 8)."""

from __future__ import annotations

import json

import apsw

__all__ = ["MIGRATED_SUBKEYS", "migrate_subkeys", "plain_key"]

MIGRATED_SUBKEYS = "powersync_js_migrated_subkeys"  # row of ps_kv: the keys of this file are plain


def plain_key(key: str) -> str | None:
    """`type/id/"sub\\"key"` as `type/id/sub"key`; None for a key that is plain already."""
    start = key.find('/"')
    while start >= 0:
        # The subkey comes last, and a type or an id may contain the same characters: only what is JSON to the end counts.
        try:
            subkey = json.loads(key[start + 1 :])
        except ValueError:
            start = key.find('/"', start + 1)
            continue
        return key[: start + 1] + subkey if isinstance(subkey, str) else None
    return None


def migrate_subkeys(connection: apsw.Connection) -> None:
    """Make every key plain, once for a file; in the caller's write transaction."""
    if connection.execute("SELECT 1 FROM ps_kv WHERE key = ?", (MIGRATED_SUBKEYS,)).fetchall():
        return
    quoted = connection.execute("SELECT rowid, key FROM ps_oplog WHERE key LIKE '%/\"%\"'").fetchall()
    renamed = [(plain, rowid) for rowid, key in quoted if (plain := plain_key(str(key))) is not None]
    connection.executemany("UPDATE ps_oplog SET key = ? WHERE rowid = ?", renamed)
    connection.execute("INSERT INTO ps_kv(key, value) VALUES (?, '1')", (MIGRATED_SUBKEYS,))
