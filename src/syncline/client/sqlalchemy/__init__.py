"""SQLAlchemy 2 over the client's own connections: engines, models as a schema, watches of a select.

`pip install "syncline[sqlalchemy]"`. What is different from other databases, for synced tables are views (Python client reference, 5):
docs/howto/client-faces.md.
"""

from __future__ import annotations

from syncline.client.sqlalchemy.engines import create_async_engine, create_engine
from syncline.client.sqlalchemy.models import metadata_from_schema, schema_from_sqlalchemy, table_from_sqlalchemy
from syncline.client.sqlalchemy.watching import statement_and_parameters, watch

__all__ = [
    "create_async_engine",
    "create_engine",
    "metadata_from_schema",
    "schema_from_sqlalchemy",
    "statement_and_parameters",
    "table_from_sqlalchemy",
    "watch",
]
