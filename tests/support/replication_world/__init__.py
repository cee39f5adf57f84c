"""A small world for replication: random tables, random transactions, a replicator that crashes, and a watcher that believes nothing."""
