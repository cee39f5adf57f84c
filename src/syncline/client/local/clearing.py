"""Forgetting what was synced: clear, hard or soft, and having all rows written again (client SQLite reference, 7 and 13)."""

# ruff: noqa: S608 - our own and quoted names

from __future__ import annotations

from collections.abc import Iterable

import apsw

from syncline.client.local.data_tables import data_tables
from syncline.client.local.local_connection import sync_writes
from syncline.client.local.raw_tables import clear_raw_tables
from syncline.client.local.sql_text import quote_identifier
from syncline.client.local.subkeys import MIGRATED_SUBKEYS

__all__ = ["clear", "clear_local_rows", "trigger_resync"]

_ALWAYS = ("ps_crud", "ps_untyped", "ps_updated_rows", "ps_stream_subscriptions", "ps_sync_state")


def clear(connection: apsw.Connection, clear_local: bool = False, *, soft: bool = False) -> None:
    """Delete everything that was synced or queued, in the caller's write transaction; no stream may be open.

    The client id stays, and so do the counters of transactions and crud entries. Local-only rows go with `clear_local`. `soft`
    keeps the downloaded operations, out of sight: the same user gets the rows back at the next checkpoint without a download;
    what another user may not see, the service removes before that. Rows of a raw table go where its schema says how.
    """
    if soft:
        connection.execute("UPDATE ps_buckets SET last_applied_op = 0")
    else:
        connection.execute("DELETE FROM ps_oplog")
        connection.execute("DELETE FROM ps_buckets")
    for table in _ALWAYS:
        connection.execute(f"DELETE FROM {table}")
    # What is known about the form of the keys in ps_oplog stays true.
    connection.execute("DELETE FROM ps_kv WHERE key NOT IN ('client_id', ?)", (MIGRATED_SUBKEYS,))
    _empty(connection, data_tables(connection))
    if clear_local:
        clear_local_rows(connection)
    with sync_writes(connection):  # no local writes: triggers that capture them look away
        clear_raw_tables(connection)


def clear_local_rows(connection: apsw.Connection) -> None:
    """Delete the rows of all local-only tables, in the caller's transaction."""
    _empty(connection, data_tables(connection, local=True))


def trigger_resync(connection: apsw.Connection, *, clear_progress: bool = False) -> None:
    """Have every row written again at the next checkpoint, without a download; in the caller's transaction, no stream open.

    For raw tables whose columns or statements have changed. `clear_progress` also forgets that anything was synced before, so that
    an app waits for the first sync again.
    """
    connection.execute("UPDATE ps_buckets SET last_applied_op = 0")
    if clear_progress:
        connection.execute("DELETE FROM ps_sync_state")
        connection.execute("UPDATE ps_stream_subscriptions SET last_synced_at = NULL")


def _empty(connection: apsw.Connection, tables: Iterable[str]) -> None:
    for table in map(quote_identifier, tables):
        # One row first: SQLite truncates a whole table without calling the update hooks that watches rest on.
        connection.execute(f"DELETE FROM {table} WHERE rowid = (SELECT rowid FROM {table} LIMIT 1)")
        connection.execute(f"DELETE FROM {table}")
