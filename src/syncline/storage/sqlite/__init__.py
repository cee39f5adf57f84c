"""Bucket storage in two SQLite files, the embedded default (design decision 6).

`storage.db` is written by the replicator only, `control.db` holds write checkpoints: a writer of those never waits behind a flush of
two thousand rows. Both are derived data: deleting them costs a new copy of the source, nothing else.
"""

from __future__ import annotations

from syncline.storage.sqlite.storage import SqliteStorage

__all__ = ["SqliteStorage"]
