"""How the file of an older SDK becomes one of version 14 (client SQLite reference, 1). Pure text, no I/O."""

# ruff: noqa: S608 - the text is made of our own words

from __future__ import annotations

from syncline.client.local.base_tables import CREATE_STATEMENTS

__all__ = ["UP_MIGRATIONS"]

_SUBSCRIPTIONS, _SYNC_STATE = CREATE_STATEMENTS[-2:]
_INDEXES_AND_ROWS = CREATE_STATEMENTS[
    6:12
]  # of version 5 and later: the index of buckets, the oplog with its own, updated rows

# Operations of the old oplog that stay: the newest PUT of each key. 3 is PUT, 4 REMOVE.
_LIVE = "superseded = 0 AND op = 3"

UP_MIGRATIONS: dict[int, tuple[str, ...]] = {
    2: (
        "CREATE TABLE ps_tx(id INTEGER PRIMARY KEY NOT NULL, current_tx INTEGER, next_tx INTEGER)",
        "INSERT INTO ps_tx(id, current_tx, next_tx) VALUES (1, NULL, 1)",
        "ALTER TABLE ps_crud ADD COLUMN tx_id INTEGER",
    ),
    3: (
        "CREATE TABLE ps_kv(key TEXT PRIMARY KEY NOT NULL, value BLOB)",
        "INSERT INTO ps_kv(key, value) VALUES ('client_id', uuid())",
    ),
    # The checksum of what is in the oplog, which was added up anew for each checkpoint until then.
    4: (
        "ALTER TABLE ps_buckets ADD COLUMN op_checksum INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE ps_buckets ADD COLUMN remove_operations INTEGER NOT NULL DEFAULT 0",
        "UPDATE ps_buckets SET op_checksum = (SELECT ifnull(sum(hash), 0) & 0xffffffff FROM ps_oplog WHERE bucket = name),"
        " remove_operations ="
        " (SELECT count(*) FROM ps_oplog WHERE bucket = name AND superseded = 0 AND op = 4)",
    ),
    # Buckets get numbers; removed and superseded operations leave the oplog, and their checksums stay in add_checksum.
    5: (
        "DROP INDEX ps_oplog_by_row",
        "DROP INDEX ps_oplog_by_opid",
        "DROP INDEX ps_oplog_by_key",
        "ALTER TABLE ps_buckets RENAME TO old_buckets",
        "ALTER TABLE ps_oplog RENAME TO old_oplog",
        "CREATE TABLE ps_buckets(\n  id INTEGER PRIMARY KEY,\n  name TEXT NOT NULL,\n"
        + ",\n".join(
            f"  {column} INTEGER NOT NULL DEFAULT 0"
            for column in ("last_applied_op", "last_op", "target_op", "add_checksum", "op_checksum", "pending_delete")
        )
        + "\n) STRICT",
        *_INDEXES_AND_ROWS,
        "INSERT INTO ps_buckets(name, last_applied_op, last_op, target_op, add_checksum, op_checksum, pending_delete)"
        " SELECT name, last_applied_op, last_op, target_op, (add_checksum + (SELECT ifnull(sum(hash), 0) FROM old_oplog"
        f" WHERE bucket = name AND NOT ({_LIVE}))) & 0xffffffff, (SELECT ifnull(sum(hash), 0) FROM old_oplog"
        f" WHERE bucket = name AND {_LIVE}) & 0xffffffff, pending_delete FROM old_buckets ORDER BY rowid",
        # Rows that a removal has not reached yet, and rows that were written locally.
        "INSERT OR IGNORE INTO ps_updated_rows(row_type, row_id) SELECT o.row_type, o.row_id FROM old_oplog AS o"
        " JOIN old_buckets AS b ON b.name = o.bucket WHERE o.op = 4 AND o.superseded = 0"
        " AND (b.name = '$local' OR o.op_id > b.last_applied_op) AND o.row_type IS NOT NULL AND o.row_id IS NOT NULL",
        "INSERT INTO ps_oplog(bucket, op_id, row_type, row_id, key, data, hash)"
        " SELECT b.id, o.op_id, o.row_type, o.row_id, o.key, o.data,"
        " CAST(iif(o.hash & 0x80000000, (o.hash & 0xffffffff) - 0x100000000, o.hash & 0xffffffff) AS INTEGER)"
        f" FROM old_oplog AS o JOIN ps_buckets AS b ON b.name = o.bucket WHERE {_LIVE} ORDER BY o.rowid",
        "DROP TABLE old_oplog",
        "DROP TABLE old_buckets",
    ),
    # 6 looks for rows without an operation, in tables that only the file names: migrations.py.
    6: (),
    7: (
        "CREATE TABLE ps_sync_state (\n  priority INTEGER NOT NULL,\n  last_synced_at TEXT NOT NULL\n) STRICT",
        "INSERT INTO ps_sync_state(priority, last_synced_at)"
        " SELECT 2147483647, CAST(value AS TEXT) FROM ps_kv WHERE key = 'last_synced_at' AND value IS NOT NULL",
        "DELETE FROM ps_kv WHERE key = 'last_synced_at'",
    ),
    8: (
        "ALTER TABLE ps_sync_state RENAME TO old_sync_state",
        "CREATE TABLE ps_sync_state (\n  priority INTEGER NOT NULL PRIMARY KEY,\n  last_synced_at TEXT NOT NULL\n) STRICT",
        "INSERT INTO ps_sync_state SELECT priority, max(last_synced_at) FROM old_sync_state GROUP BY priority",
        "DROP TABLE old_sync_state",
    ),
    9: (
        "ALTER TABLE ps_buckets ADD COLUMN count_at_last INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE ps_buckets ADD COLUMN count_since_last INTEGER NOT NULL DEFAULT 0",
    ),
    10: (),
    11: (_SUBSCRIPTIONS,),
    12: ("ALTER TABLE ps_buckets ADD COLUMN downloaded_size INTEGER NOT NULL DEFAULT 0",),
    13: (
        "UPDATE ps_stream_subscriptions SET expires_at = expires_at * 1000000, last_synced_at = last_synced_at * 1000000",
        "ALTER TABLE ps_sync_state RENAME TO old_sync_state",
        _SYNC_STATE,
        "INSERT INTO ps_sync_state SELECT priority, unixepoch(last_synced_at) * 1000000 FROM old_sync_state",
        "DROP TABLE old_sync_state",
    ),
    14: (
        "INSERT OR REPLACE INTO ps_kv(key, value)"
        " SELECT 'target_checkpoint_request_id', target_op FROM ps_buckets WHERE name = '$local' AND target_op > 0",
        "INSERT OR REPLACE INTO ps_kv(key, value)"
        " SELECT 'last_seen_checkpoint_request_id', last_op FROM ps_buckets WHERE name = '$local' AND last_op > 0",
        "INSERT OR REPLACE INTO ps_kv(key, value) SELECT 'last_applied_checkpoint_request_id', last_applied_op"
        " FROM ps_buckets WHERE name = '$local' AND last_applied_op > 0",
        "DELETE FROM ps_buckets WHERE name = '$local'",
        "ALTER TABLE ps_buckets DROP COLUMN target_op",
    ),
}
"""Statements that lead to a version from the one before. Generated views have to be dropped first: ALTER TABLE checks the
triggers on them."""
