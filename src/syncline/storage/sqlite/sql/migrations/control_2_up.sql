-- Layout 2 of control.db. Only adds to layout 1: a process of the release before goes on beside it.

-- Milliseconds since 1970 at which a checkpoint request was stored or repeated; NULL for counters, which never expire.
ALTER TABLE write_checkpoint ADD COLUMN requested_ms INTEGER;
CREATE INDEX write_checkpoint_requested ON write_checkpoint (requested_ms) WHERE requested_ms IS NOT NULL;
