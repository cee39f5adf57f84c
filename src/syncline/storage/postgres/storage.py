"""One Postgres storage: a schema of a database."""

from __future__ import annotations

import time

from syncline.storage.postgres.connection import connect
from syncline.storage.postgres.control import PostgresControl
from syncline.storage.postgres.migrations import migrate
from syncline.storage.postgres.reader import PostgresReader
from syncline.storage.postgres.statements import DEFAULT_SCHEMA, SchemaSql
from syncline.storage.postgres.wakeups import PostgresWakeups
from syncline.storage.postgres.write_checkpoints import PostgresWriteCheckpoints
from syncline.storage.postgres.writer import PostgresWriter

__all__ = ["POOL_SIZE", "PostgresStorage"]

POOL_SIZE = 8  # reading connections of a process unless `storage.max_pool_size` says otherwise


class PostgresStorage:
    """Bucket storage in `schema`, which is made if it is not there. Raises ConfigError for a name that cannot be used."""

    def __init__(self, conninfo: str, *, schema: str = DEFAULT_SCHEMA, pool_size: int = POOL_SIZE) -> None:
        self._conninfo = conninfo
        self._sql = SchemaSql(schema)
        self._pool_size = pool_size

    def open_writer(self) -> PostgresWriter:
        """Migrate the schema and take the lease."""
        return PostgresWriter(self._conninfo, self._sql)

    def open_reader(self) -> PostgresReader:
        """Open for reading; the schema is made first where a replicator has not done so yet."""
        self._ensure_schema()
        return PostgresReader(self._conninfo, self._sql, pool_size=self._pool_size)

    def open_write_checkpoints(self) -> PostgresWriteCheckpoints:
        """Open the write checkpoints."""
        self._ensure_schema()
        return PostgresWriteCheckpoints(self._conninfo, self._sql, now_ms=lambda: time.time_ns() // 1_000_000)

    def open_control(self) -> PostgresControl:
        """Open what administrators keep here."""
        self._ensure_schema()
        return PostgresControl(self._conninfo, self._sql)

    def open_wakeups(self) -> PostgresWakeups:
        """What tells a reader in another process that there is a new checkpoint."""
        return PostgresWakeups(self._conninfo, self._sql)

    def _ensure_schema(self) -> None:
        connection = connect(self._conninfo, application_name="syncline setup")
        try:
            migrate(connection, self._sql)
        finally:
            connection.close()
