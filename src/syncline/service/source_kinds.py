"""Kinds of sources and storages that a file may ask for and that are not there: each answered with what to write instead."""

from __future__ import annotations

__all__ = ["refused_source", "refused_storage"]

POSTGRES_LINES = "replication:\n  connections:\n    - type: postgresql\n      uri: !env PS_SOURCE_URI"
SQLITE_LINES = "storage:\n  type: sqlite\n  path: ./syncline-storage"
_LATER = ("mongodb", "mysql", "mssql", "convex")
_SAME_THING = {
    "postgres": "postgresql",
    "pg": "postgresql",
    "supabase": "postgresql",
    "neon": "postgresql",
    "mongo": "mongodb",
}


def refused_source(kind: str) -> tuple[str, str] | None:
    """None for a kind that replicates; else what to say of `replication.connections[0].type`, and the hint."""
    if kind == "postgresql":
        return None
    if kind in _LATER:
        return f"the source type {kind!r} is not supported yet.", f"Postgres is, 14 or newer:\n{POSTGRES_LINES}"
    if _SAME_THING.get(kind) == "postgresql":
        return f"the source type {kind!r} is written postgresql.", "type: postgresql"
    return f"the source type {kind!r} is not known.", f"type: postgresql\n{POSTGRES_LINES}"


def refused_storage(kind: str) -> tuple[str, str] | None:
    """The same for `storage.type`."""
    if kind in ("sqlite", "postgresql"):
        return None
    if _SAME_THING.get(kind) == "postgresql":
        return f"the storage type {kind!r} is written postgresql.", "type: postgresql"
    if _SAME_THING.get(kind, kind) == "mongodb":
        return (
            "storage.type 'mongodb' is not supported.",
            f"Syncline keeps buckets in SQLite or Postgres and needs no second database. Write instead:\n{SQLITE_LINES}",
        )
    return f"storage.type {kind!r} is not supported.", SQLITE_LINES
