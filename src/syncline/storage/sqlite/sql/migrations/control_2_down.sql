-- Back to layout 1 of control.db, which knows no requests: they stay as counters, so that no number is ever counted again.

DROP INDEX write_checkpoint_requested;
ALTER TABLE write_checkpoint DROP COLUMN requested_ms;
