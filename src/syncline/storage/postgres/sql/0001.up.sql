-- Layout 1 of bucket storage in Postgres. What each table means: docs/internals/storage-schema.md.
-- {schema} stands for the quoted name of the schema. Every table that is updated or deleted from has a primary key: a publication
-- FOR ALL TABLES in the same database would refuse those statements otherwise.
-- Names of buckets, lookups and users have no bound on their length, an index entry has: their keys are 16-byte hashes.

CREATE TABLE {schema}.storage_state (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  layout integer NOT NULL,
  last_op bigint NOT NULL DEFAULT 0,             -- the last op id that was given
  highest_version bigint NOT NULL DEFAULT 0      -- the highest version number ever used
) WITH (fillfactor = 10);                        -- one row, updated by each flush: room for its versions on the same page
INSERT INTO {schema}.storage_state (layout) VALUES (1);

CREATE TABLE {schema}.lease (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  epoch bigint NOT NULL DEFAULT 0,               -- counts takers; every write transaction checks it
  expires_at timestamptz NOT NULL DEFAULT '-infinity',
  backend_pid integer,                           -- the holder's connection: when that is gone, the lease is free
  backend_start timestamptz,
  holder text NOT NULL DEFAULT ''                -- for messages
) WITH (fillfactor = 10);
INSERT INTO {schema}.lease DEFAULT VALUES;

CREATE TABLE {schema}.version (
  number bigint PRIMARY KEY,                     -- in the names of the version's buckets; never recurs
  state text NOT NULL,
  sync_config text NOT NULL,
  slot_name text NOT NULL,
  source_identity text NOT NULL,
  last_error text NOT NULL DEFAULT '',
  snapshot_done boolean NOT NULL DEFAULT false,
  consistent_from text COLLATE "C" NOT NULL DEFAULT '',  -- no checkpoint is visible before this source position
  position text COLLATE "C" NOT NULL DEFAULT '',         -- replication restarts here
  checkpoint_op bigint,                                  -- the newest visible checkpoint; NULL before the first
  checkpoint_position text COLLATE "C",
  lookups_compacted_op bigint NOT NULL DEFAULT 0         -- compaction of lookups has looked at the entries up to here
) WITH (fillfactor = 50);

CREATE TABLE {schema}.source_table (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  version bigint NOT NULL,
  schema_name text NOT NULL,
  table_name text NOT NULL,
  relation_id bigint NOT NULL,
  key_columns text[] NOT NULL,
  definition text NOT NULL,                      -- the source's own text for columns and rows; another means to copy again
  snapshot text NOT NULL,
  progress bigint[],                             -- file node, next block, blocks, rows of an unfinished copy
  UNIQUE (version, schema_name, table_name)
);

-- The running total has two slots, so that a reader at the visible checkpoint finds its state while a larger source transaction
-- is being flushed above it: (op, checksum, op_count) is the newest, old_* is the newest at or below the visible checkpoint before.
CREATE TABLE {schema}.bucket (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  version bigint NOT NULL,
  name_key bytea NOT NULL UNIQUE,
  name text NOT NULL,
  old_op bigint NOT NULL DEFAULT 0,
  old_checksum bigint NOT NULL DEFAULT 0,
  old_op_count bigint NOT NULL DEFAULT 0,
  op bigint NOT NULL,
  checksum bigint NOT NULL,
  op_count bigint NOT NULL,
  compacted_op_count bigint NOT NULL DEFAULT 0   -- op_count when compaction had looked at all of it, less what shrank since then
) WITH (fillfactor = 80);
CREATE INDEX bucket_op ON {schema}.bucket (version, op);

CREATE TABLE {schema}.op (
  bucket_id bigint NOT NULL,
  op_id bigint NOT NULL,
  kind smallint NOT NULL,                        -- 1 PUT, 2 REMOVE, 3 MOVE, 4 CLEAR; 16 more where type and id are JSON texts
  object_type text,
  object_id text,
  checksum bigint NOT NULL,
  subkey text,
  data text,
  target_op bigint,
  PRIMARY KEY (bucket_id, op_id)
) WITH (toast_tuple_target = 8160);
-- Rows that fit stay in their page, larger ones go out of line, none is compressed: that would cost more time than all else here.
ALTER TABLE {schema}.op ALTER data SET STORAGE EXTERNAL;

CREATE TABLE {schema}.current_row (
  table_id bigint NOT NULL,
  row_key bytea NOT NULL,
  content bytea NOT NULL,                        -- MessagePack: memberships, lookups, values
  PRIMARY KEY (table_id, row_key)
) WITH (toast_tuple_target = 8160);
ALTER TABLE {schema}.current_row ALTER content SET STORAGE EXTERNAL;

CREATE TABLE {schema}.lookup_entry (
  version bigint NOT NULL,
  lookup_key bytea NOT NULL,
  table_id bigint NOT NULL,
  row_key bytea NOT NULL,
  op_id bigint NOT NULL,
  lookup text NOT NULL,
  output text,                                   -- JSON array; NULL takes the row's earlier entry back
  PRIMARY KEY (version, lookup_key, table_id, row_key, op_id)
);
CREATE INDEX lookup_entry_op ON {schema}.lookup_entry (version, op_id);

CREATE TABLE {schema}.custom_write_checkpoint (
  version bigint NOT NULL,
  user_key_hash bytea NOT NULL,
  op_id bigint NOT NULL,
  user_key bytea NOT NULL,                       -- UTF-8: a token's `sub` may hold what a Postgres text may not
  value bigint NOT NULL,
  PRIMARY KEY (version, user_key_hash, op_id)
);
CREATE INDEX custom_write_checkpoint_op ON {schema}.custom_write_checkpoint (version, op_id);

-- Written by the API, never by the replicator. The counter's row serialises storing: its order is the order of commits.
CREATE TABLE {schema}.write_checkpoint_state (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  sequence bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 10);
INSERT INTO {schema}.write_checkpoint_state DEFAULT VALUES;

CREATE TABLE {schema}.write_checkpoint (
  user_key_hash bytea PRIMARY KEY,
  user_key bytea NOT NULL,                       -- sub, or sub/client_id
  value bigint NOT NULL,
  position text COLLATE "C" NOT NULL,            -- reached when replication has passed this
  sequence bigint NOT NULL,                      -- order of storing, for readers that ask for what is new
  requested_at timestamptz                       -- of a request, which expires; NULL for a counter
);
CREATE INDEX write_checkpoint_position ON {schema}.write_checkpoint (position);
CREATE INDEX write_checkpoint_sequence ON {schema}.write_checkpoint (sequence);
