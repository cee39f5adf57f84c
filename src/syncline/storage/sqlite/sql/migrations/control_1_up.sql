-- Layout 1 of control.db: the base.

CREATE TABLE control_meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO control_meta VALUES ('schema_version', 1), ('write_checkpoint_sequence', 0);

CREATE TABLE write_checkpoint (
  user_key TEXT PRIMARY KEY,       -- sub, or sub/client_id
  value INTEGER NOT NULL,
  position TEXT NOT NULL,          -- reached when replication has passed this
  sequence INTEGER NOT NULL        -- order of storing, for readers that ask for what is new
) WITHOUT ROWID;
CREATE INDEX write_checkpoint_position ON write_checkpoint (position);
CREATE INDEX write_checkpoint_sequence ON write_checkpoint (sequence);
