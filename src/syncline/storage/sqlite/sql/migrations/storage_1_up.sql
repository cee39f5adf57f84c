-- Layout 1 of storage.db: the base. What each table means: docs/internals/storage-schema.md.

CREATE TABLE storage_meta (
  key TEXT PRIMARY KEY,            -- schema_version, lease_epoch, last_op, highest_version
  value INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO storage_meta VALUES ('schema_version', 1), ('lease_epoch', 0), ('last_op', 0), ('highest_version', 0);

CREATE TABLE version (
  number INTEGER PRIMARY KEY,      -- in the names of the version's buckets; never recurs
  state TEXT NOT NULL,
  sync_config TEXT NOT NULL,
  slot_name TEXT NOT NULL,
  source_identity TEXT NOT NULL,
  snapshot_done INTEGER NOT NULL DEFAULT 0,
  consistent_from TEXT NOT NULL DEFAULT '',   -- no checkpoint is visible before this source position
  position TEXT NOT NULL DEFAULT '',          -- replication restarts here
  checkpoint_op INTEGER,                      -- the newest visible checkpoint; NULL before the first
  checkpoint_position TEXT
);

CREATE TABLE source_table (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  version INTEGER NOT NULL,
  schema TEXT NOT NULL,
  name TEXT NOT NULL,
  relation_id INTEGER NOT NULL,
  key_columns TEXT NOT NULL,       -- JSON array
  snapshot TEXT NOT NULL,
  UNIQUE (version, schema, name)
);

-- The running total has two slots, so that a reader at the visible checkpoint finds its state while a larger source transaction
-- is being flushed above it: (op, checksum, op_count) is the newest, old_* is the newest at or below the visible checkpoint before.
CREATE TABLE bucket (
  id INTEGER PRIMARY KEY,
  version INTEGER NOT NULL,
  name TEXT NOT NULL UNIQUE,
  old_op INTEGER NOT NULL DEFAULT 0,
  old_checksum INTEGER NOT NULL DEFAULT 0,
  old_op_count INTEGER NOT NULL DEFAULT 0,
  op INTEGER NOT NULL,
  checksum INTEGER NOT NULL,
  op_count INTEGER NOT NULL
);
CREATE INDEX bucket_op ON bucket (version, op);

CREATE TABLE op (
  op_id INTEGER PRIMARY KEY,       -- appended in order, whatever the bucket: writes stay sequential
  bucket INTEGER NOT NULL,
  kind INTEGER NOT NULL,           -- 1 PUT, 2 REMOVE, 3 MOVE, 4 CLEAR
  object_type TEXT,
  object_id TEXT,
  checksum INTEGER NOT NULL,
  subkey TEXT,
  data TEXT,
  target_op INTEGER
);
CREATE INDEX op_bucket ON op (bucket);  -- holds (bucket, op_id)

-- Row keys are hashes: kept in the index alone, so that a flush of new rows appends to the table and touches small index pages only.
CREATE TABLE current_row (
  id INTEGER PRIMARY KEY,
  table_id INTEGER NOT NULL,
  row_key BLOB NOT NULL,
  memberships TEXT NOT NULL,       -- JSON array of [bucket, object type, object id]
  lookups TEXT NOT NULL,           -- JSON array of [lookup, output]
  row_values BLOB                  -- values the source may leave out of an update; NULL where that cannot happen
);
CREATE UNIQUE INDEX current_row_key ON current_row (table_id, row_key);

CREATE TABLE lookup_entry (
  version INTEGER NOT NULL,
  lookup TEXT NOT NULL,
  table_id INTEGER NOT NULL,
  row_key BLOB NOT NULL,
  op_id INTEGER NOT NULL,
  output TEXT,                     -- JSON array; NULL takes the row's earlier entry back
  PRIMARY KEY (version, lookup, table_id, row_key, op_id)
) WITHOUT ROWID;
CREATE INDEX lookup_entry_op ON lookup_entry (version, op_id);
