"""From the source's log to bucket storage: `source` (the interface), `apply` (changes to operations), `job` (the life of a
version), `postgres/` (logical replication with pgoutput).
"""
