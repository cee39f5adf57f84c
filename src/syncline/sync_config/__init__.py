"""PURE: the sync config. YAML and SQL to a plan; rows to buckets and lookups; connections to buckets; problems with positions.

Rooms: `document` (YAML with positions), `sql/` (tokens, grammar, syntax tree), `compiler/` (queries to bucket sources and queriers),
`evaluation/` (generated row functions and value semantics), `resolution` (a connection's buckets), `plan` (the face),
`problems`. Facts: docs/reference/sync-config.md.
"""

from __future__ import annotations

from syncline.sync_config.compiled_plan import CompiledPlan, compile_sync_config
from syncline.sync_config.plan import SyncPlan

__all__ = ["CompiledPlan", "SyncPlan", "compile_sync_config"]
