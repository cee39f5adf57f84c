"""The recorded answers of the reference to sync configs (`tests/fixtures/sync_config/corpus`), and what ours differ in."""
