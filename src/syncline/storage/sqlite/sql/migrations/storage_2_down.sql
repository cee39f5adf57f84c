-- Back to layout 1 of storage.db. Unfinished copies begin again; what was compacted stays so, which layout 1 serves as well.

DROP TABLE custom_write_checkpoint;
ALTER TABLE bucket DROP COLUMN compacted_op_count;
ALTER TABLE source_table DROP COLUMN copied_rows;
ALTER TABLE source_table DROP COLUMN copied_blocks;
ALTER TABLE source_table DROP COLUMN copied_next_block;
ALTER TABLE source_table DROP COLUMN copied_filenode;
ALTER TABLE source_table DROP COLUMN definition;
ALTER TABLE version DROP COLUMN lookups_compacted_op;
ALTER TABLE version DROP COLUMN last_error;
