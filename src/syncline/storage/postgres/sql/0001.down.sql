-- Takes layout 1 back: everything in it is derived from the source.

DROP TABLE {schema}.write_checkpoint, {schema}.write_checkpoint_state, {schema}.custom_write_checkpoint, {schema}.lookup_entry,
  {schema}.current_row, {schema}.op, {schema}.bucket, {schema}.source_table, {schema}.version, {schema}.lease, {schema}.storage_state;
