"""Committing client transactions to databases that SQLAlchemy knows. `pip install "syncline[backend,mysql]"`, or `[backend,sqlite]`.

`persister`, `mysql` and `sqlite` (the same, with settings of their own), `engines` (from URLs), `databases/` (what differs from one to
the other), `catalog` and `tables` (the tables as they are), `statements` (the SQL), `transaction` (one upload), `uploads` and `own_tables`
(verdicts, checkpoints). What an engine of the app's must have: docs/howto/backend-databases.md.
"""

from __future__ import annotations

from syncline.backend.persisters.sqlalchemy.mysql import MySQLPersister
from syncline.backend.persisters.sqlalchemy.persister import SQLAlchemyPersister
from syncline.backend.persisters.sqlalchemy.sqlite import SQLitePersister

__all__ = ["MySQLPersister", "SQLAlchemyPersister", "SQLitePersister"]
