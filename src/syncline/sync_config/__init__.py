"""PURE: the sync config. YAML and SQL to a plan; rows to buckets and lookups; connections to buckets; problems with positions.

Rooms: `document/` (YAML with positions), `sql/` (tokens, grammar, syntax tree, printer), `compiler/` (queries of streams to bucket
sources and queriers; `compiler/legacy/` the same for bucket definitions), `evaluation/` (values, functions, generated row functions
and the closures that they are tested against), `resolution` (a connection's buckets), `plan` (the face), `problems`, `explain/` (why a
row is where it is), `migration/` (bucket definitions to streams), `advice` (what the backend has to fill in).
Facts: docs/reference/sync-config.md.
"""

from __future__ import annotations

from syncline.sync_config.compiled_plan import CompiledPlan, compile_sync_config
from syncline.sync_config.plan import SyncPlan

__all__ = ["CompiledPlan", "SyncPlan", "compile_sync_config"]
