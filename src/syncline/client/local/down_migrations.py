"""How an older SDK takes a file of ours back to its version: rows of `ps_migration` (client SQLite reference, 1). Pure text, no I/O."""

# ruff: noqa: S608 - the text is made of our own numbers

from __future__ import annotations

import json

__all__ = ["DOWN_MIGRATIONS"]

_DROP_VIEWS = (
    "SELECT powersync_drop_view(name) FROM sqlite_master"
    " WHERE type = 'view' AND sql GLOB '*-- powersync-auto-generated'"
)

# What each version added, taken back in the words of the older layout. Executed by an official SDK that knows fewer versions.
_DOWN: dict[int, tuple[str, ...]] = {
    2: ("ALTER TABLE ps_crud DROP COLUMN tx_id", "DROP TABLE ps_tx"),
    3: ("DROP TABLE ps_kv",),
    4: ("ALTER TABLE ps_buckets DROP COLUMN remove_operations", "ALTER TABLE ps_buckets DROP COLUMN op_checksum"),
    5: (
        _DROP_VIEWS,
        "CREATE TABLE old_buckets(name TEXT PRIMARY KEY, last_applied_op INTEGER NOT NULL DEFAULT 0,"
        " last_op INTEGER NOT NULL DEFAULT 0, target_op INTEGER NOT NULL DEFAULT 0, add_checksum INTEGER NOT NULL DEFAULT 0,"
        " pending_delete INTEGER NOT NULL DEFAULT 0, op_checksum INTEGER NOT NULL DEFAULT 0,"
        " remove_operations INTEGER NOT NULL DEFAULT 0)",
        "INSERT INTO old_buckets(name, last_applied_op, last_op, target_op, add_checksum, pending_delete, op_checksum)"
        " SELECT name, last_applied_op, last_op, target_op, add_checksum, pending_delete, op_checksum FROM ps_buckets",
        "CREATE TABLE old_oplog(bucket TEXT NOT NULL, op_id INTEGER NOT NULL, op INTEGER NOT NULL, row_type TEXT, row_id TEXT,"
        " key TEXT, data TEXT, hash INTEGER NOT NULL, superseded INTEGER NOT NULL)",
        # 3 is PUT, 4 is REMOVE: rows to derive again are removals in the bucket of local changes.
        "INSERT INTO old_oplog SELECT b.name, o.op_id, 3, o.row_type, o.row_id, o.key, o.data, o.hash, 0"
        " FROM ps_oplog o JOIN ps_buckets b ON b.id = o.bucket",
        "INSERT INTO old_oplog(bucket, op_id, op, row_type, row_id, hash, superseded)"
        " SELECT '$local', 1, 4, row_type, row_id, 0, 0 FROM ps_updated_rows",
        "INSERT OR REPLACE INTO old_buckets(name, pending_delete, target_op) VALUES ('$local', 1, 9223372036854775807)",
        "DROP TABLE ps_oplog",
        "DROP TABLE ps_buckets",
        "DROP TABLE ps_updated_rows",
        "ALTER TABLE old_buckets RENAME TO ps_buckets",
        "ALTER TABLE old_oplog RENAME TO ps_oplog",
        "CREATE INDEX ps_oplog_by_row ON ps_oplog (row_type, row_id) WHERE superseded = 0",
        "CREATE INDEX ps_oplog_by_opid ON ps_oplog (bucket, op_id)",
        "CREATE INDEX ps_oplog_by_key ON ps_oplog (bucket, key) WHERE superseded = 0",
    ),
    6: (),
    7: (
        "INSERT OR REPLACE INTO ps_kv(key, value)"
        " SELECT 'last_synced_at', last_synced_at FROM ps_sync_state WHERE priority = 2147483647",
        "DROP TABLE ps_sync_state",
    ),
    8: (
        "CREATE TABLE old_sync_state(priority INTEGER NOT NULL, last_synced_at TEXT NOT NULL) STRICT",
        "INSERT INTO old_sync_state SELECT priority, last_synced_at FROM ps_sync_state",
        "DROP TABLE ps_sync_state",
        "ALTER TABLE old_sync_state RENAME TO ps_sync_state",
    ),
    9: (
        "ALTER TABLE ps_buckets DROP COLUMN count_since_last",
        "ALTER TABLE ps_buckets DROP COLUMN count_at_last",
    ),
    10: (_DROP_VIEWS,),
    11: ("DROP TABLE ps_stream_subscriptions",),
    12: ("ALTER TABLE ps_buckets DROP COLUMN downloaded_size",),
    13: (
        "UPDATE ps_stream_subscriptions SET expires_at = expires_at / 1000000, last_synced_at = last_synced_at / 1000000",
        "CREATE TABLE old_sync_state(priority INTEGER NOT NULL PRIMARY KEY, last_synced_at TEXT NOT NULL) STRICT",
        "INSERT INTO old_sync_state"
        " SELECT priority, datetime(last_synced_at / 1000000, 'unixepoch') FROM ps_sync_state",
        "DROP TABLE ps_sync_state",
        "ALTER TABLE old_sync_state RENAME TO ps_sync_state",
    ),
    # Up to 13 the apply gate was the row $local of ps_buckets (client SQLite reference, 3).
    14: (
        "ALTER TABLE ps_buckets ADD COLUMN target_op INTEGER NOT NULL DEFAULT 0",
        "INSERT INTO ps_buckets(name, pending_delete, target_op, last_op, last_applied_op)"
        " SELECT '$local', 1, CAST(value AS INTEGER),"
        " ifnull((SELECT CAST(value AS INTEGER) FROM ps_kv WHERE key = 'last_seen_checkpoint_request_id'), 0),"
        " ifnull((SELECT CAST(value AS INTEGER) FROM ps_kv WHERE key = 'last_applied_checkpoint_request_id'), 0)"
        " FROM ps_kv WHERE key = 'target_checkpoint_request_id'",
        "DELETE FROM ps_kv WHERE key IN ('target_checkpoint_request_id', 'last_seen_checkpoint_request_id',"
        " 'last_applied_checkpoint_request_id')",
    ),
}


def _down_migration(version: int) -> str:
    statements = (*_DOWN[version], f"DELETE FROM ps_migration WHERE id >= {version}")
    return json.dumps(
        [{"sql": sql} if version > 2 else {"sql": sql, "params": []} for sql in statements], separators=(",", ":")
    )


DOWN_MIGRATIONS: tuple[tuple[int, str | None], ...] = (
    (1, None),
    *((version, _down_migration(version)) for version in sorted(_DOWN)),
)
"""Rows of `ps_migration`: (version, JSON array of statements that lead to the version before)."""
