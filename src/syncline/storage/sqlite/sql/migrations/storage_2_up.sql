-- Layout 2 of storage.db. Only adds to layout 1: a process of the release before goes on beside it.

ALTER TABLE version ADD COLUMN last_error TEXT NOT NULL DEFAULT '';         -- why it does not replicate at present
ALTER TABLE version ADD COLUMN lookups_compacted_op INTEGER NOT NULL DEFAULT 0;  -- lookup entries up to here were compacted

ALTER TABLE source_table ADD COLUMN definition TEXT NOT NULL DEFAULT '';    -- of its columns and of what is published of it

-- How far an unfinished copy is; all NULL where none is under way.
ALTER TABLE source_table ADD COLUMN copied_filenode INTEGER;
ALTER TABLE source_table ADD COLUMN copied_next_block INTEGER;
ALTER TABLE source_table ADD COLUMN copied_blocks INTEGER;
ALTER TABLE source_table ADD COLUMN copied_rows INTEGER;

-- Operations that compaction has looked at; (op_count - this) were appended since. It falls together with op_count, so below 0 too.
ALTER TABLE bucket ADD COLUMN compacted_op_count INTEGER NOT NULL DEFAULT 0;

CREATE TABLE custom_write_checkpoint (
  version INTEGER NOT NULL,
  user_key TEXT NOT NULL,          -- sub, or sub/client_id
  op_id INTEGER NOT NULL,          -- visible from the checkpoint that has reached it
  value INTEGER NOT NULL,
  PRIMARY KEY (version, user_key, op_id)
) WITHOUT ROWID;
CREATE INDEX custom_write_checkpoint_op ON custom_write_checkpoint (version, op_id);
