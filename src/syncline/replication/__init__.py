"""From the source's log to bucket storage: `source` (the interface), `apply` (changes to operations), `job` (the life of a
version, with `versions`, `source_tables`, `table_copier`, `compactor`, `troubles` and `status`), `postgres/` (logical replication
with pgoutput).
"""
