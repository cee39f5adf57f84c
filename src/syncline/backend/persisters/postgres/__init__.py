"""Committing client transactions to Postgres: `persister`, `columns` (the tables as they are), `values` (client values as literals),
`statements` (the SQL), `uploads` (verdicts), `errors` (SQLSTATE to codes).
"""

from __future__ import annotations

from syncline.backend.persisters.postgres.persister import PostgresPersister

__all__ = ["PostgresPersister"]
