"""Bucket storage: `base` (the contracts), `model` (what is stored), `sqlite/` (the embedded default)."""
