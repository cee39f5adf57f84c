"""PURE: from legacy sync rules (`bucket_definitions`) to sync streams (edition 3): a config with which every user gets the same rows.

Sync rules are compiled, and what they compile to is written as queries of streams: `parameter_sources` and `queries` build the syntax of
a query, `columns` its select list, `expressions` the values and conditions in it. `definitions` makes streams of one definition,
`document_text` and `comments` the YAML, `migrating` puts it together and compiles the result. What streams cannot say is refused, with
its place (`refusal`).
"""

from __future__ import annotations

from syncline.sync_config.migration.migrating import migrate_to_streams
from syncline.sync_config.migration.notes import Migration, MigrationNote

__all__ = ["Migration", "MigrationNote", "migrate_to_streams"]
