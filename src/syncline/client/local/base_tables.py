"""Schema version 14: the internal tables (client SQLite reference, 1).

The texts are those that a file of the field's clients has in `sqlite_master`, so that nobody who opens the file sees a
difference. Pure text, no I/O.
"""

from __future__ import annotations

__all__ = ["CREATE_STATEMENTS", "SCHEMA_VERSION"]

SCHEMA_VERSION = 14

_BUCKETS_COLUMNS = (
    "last_applied_op",
    "last_op",
    "add_checksum",
    "op_checksum",
    "pending_delete",
)

CREATE_STATEMENTS: tuple[str, ...] = (
    "CREATE TABLE ps_migration(id INTEGER PRIMARY KEY, down_migrations TEXT)",
    "CREATE TABLE ps_untyped(type TEXT NOT NULL, id TEXT NOT NULL, data TEXT, PRIMARY KEY (type, id))",
    "CREATE TABLE ps_crud (id INTEGER PRIMARY KEY AUTOINCREMENT, data TEXT, tx_id INTEGER)",
    "CREATE TABLE ps_tx(id INTEGER PRIMARY KEY NOT NULL, current_tx INTEGER, next_tx INTEGER)",
    "CREATE TABLE ps_kv(key TEXT PRIMARY KEY NOT NULL, value BLOB)",
    # The columns after the line break were once added with ALTER TABLE; the text is kept as that leaves it.
    "CREATE TABLE ps_buckets(\n  id INTEGER PRIMARY KEY,\n  name TEXT NOT NULL,\n"
    + ",\n".join(f"  {column} INTEGER NOT NULL DEFAULT 0" for column in _BUCKETS_COLUMNS)
    + "\n, count_at_last INTEGER NOT NULL DEFAULT 0, count_since_last INTEGER NOT NULL DEFAULT 0,"
    " downloaded_size INTEGER NOT NULL DEFAULT 0) STRICT",
    "CREATE UNIQUE INDEX ps_buckets_name ON ps_buckets (name)",
    "CREATE TABLE ps_oplog(\n  bucket INTEGER NOT NULL,\n  op_id INTEGER NOT NULL,\n  row_type TEXT,\n  row_id TEXT,\n"
    "  key TEXT,\n  data TEXT,\n  hash INTEGER NOT NULL) STRICT",
    "CREATE INDEX ps_oplog_row ON ps_oplog (row_type, row_id)",
    "CREATE INDEX ps_oplog_opid ON ps_oplog (bucket, op_id)",
    "CREATE INDEX ps_oplog_key ON ps_oplog (bucket, key)",
    "CREATE TABLE ps_updated_rows(\n  row_type TEXT,\n  row_id TEXT,\n  PRIMARY KEY(row_type, row_id)) STRICT, WITHOUT ROWID",
    "CREATE TABLE ps_stream_subscriptions (\n  id INTEGER NOT NULL PRIMARY KEY,\n  stream_name TEXT NOT NULL,\n"
    "  active INTEGER NOT NULL DEFAULT FALSE,\n  is_default INTEGER NOT NULL DEFAULT FALSE,\n  local_priority INTEGER,\n"
    "  local_params TEXT NOT NULL DEFAULT 'null',\n  ttl INTEGER,\n  expires_at INTEGER,\n  last_synced_at INTEGER,\n"
    "  UNIQUE (stream_name, local_params)\n) STRICT",
    "CREATE TABLE ps_sync_state (\n  priority INTEGER NOT NULL PRIMARY KEY,\n  last_synced_at INTEGER NOT NULL\n) STRICT",
)
