"""Bucket storage in a schema of a Postgres database, the production storage (design decision 6).

The database may be the source's own or another. Everything in the schema is derived data: dropping it costs a new copy of the source.
"""

from __future__ import annotations

from syncline.storage.postgres.storage import PostgresStorage

__all__ = ["PostgresStorage"]
