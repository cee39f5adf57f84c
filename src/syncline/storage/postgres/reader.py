"""The API's side of Postgres storage. Contract: `syncline.storage.base.StorageReader`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

import psycopg

from syncline.errors import StorageUnavailable, SynclineError
from syncline.storage.base import CheckpointView
from syncline.storage.bucket_queries import BucketQueries, only_view
from syncline.storage.model import BucketTotals, Checkpoint, OpChunk, StorageChanges, Version, VersionState
from syncline.storage.postgres.chunks import read_chunks
from syncline.storage.postgres.connection import Row
from syncline.storage.postgres.pool import ConnectionPool
from syncline.storage.postgres.statements import SchemaSql, name_key, user_key_bytes
from syncline.storage.postgres.versions import VERSION_COLUMNS, version_from_row
from syncline.sync_config.plan import BucketQuery

__all__ = ["PostgresReader"]

_CHECKPOINT = """
SELECT checkpoint_op, checkpoint_position, lookups_compacted_op FROM {schema}.version
 WHERE number = %s AND state = 'active' AND checkpoint_op IS NOT NULL
"""
_TOTALS = """
SELECT name, op, checksum, op_count, old_op, old_checksum, old_op_count FROM {schema}.bucket WHERE name_key = ANY (%s)
"""
# The newest entry of each source row, unless it takes the row back.
_LOOKUP_OUTPUTS = """
SELECT lookup, output FROM (
  SELECT DISTINCT ON (lookup_key, table_id, row_key) lookup, output FROM {schema}.lookup_entry
   WHERE version = %s AND lookup_key = ANY (%s) AND op_id <= %s
   ORDER BY lookup_key, table_id, row_key, op_id DESC) AS newest
 WHERE output IS NOT NULL
"""
_CHANGED_TOTALS = """
SELECT name, op, checksum, op_count, old_op, old_checksum, old_op_count FROM {schema}.bucket WHERE version = %s AND op > %s
"""
_CHANGED_LOOKUPS = """
SELECT DISTINCT e.lookup FROM {schema}.version v JOIN {schema}.lookup_entry e ON e.version = v.number
 WHERE v.number = %s AND e.op_id > %s AND e.op_id <= v.checkpoint_op
"""
_CHANGED_CUSTOM = """
SELECT DISTINCT ON (c.user_key_hash) c.user_key, c.value
  FROM {schema}.version v JOIN {schema}.custom_write_checkpoint c ON c.version = v.number
 WHERE v.number = %s AND c.op_id > %s AND c.op_id <= v.checkpoint_op ORDER BY c.user_key_hash, c.op_id DESC
"""
_CUSTOM = """
SELECT c.value FROM {schema}.custom_write_checkpoint c JOIN {schema}.version v ON v.number = c.version
 WHERE c.version = %s AND c.user_key_hash = %s AND v.state = 'active' AND c.op_id <= v.checkpoint_op
 ORDER BY c.op_id DESC LIMIT 1
"""


class PostgresReader:
    """Reads the storage schema through a pool, beside a writer in any process. Transactions are REPEATABLE READ READ ONLY."""

    def __init__(self, conninfo: str, sql: SchemaSql, *, pool_size: int) -> None:
        self._sql = sql
        self._pool = ConnectionPool(conninfo, size=pool_size, application_name="syncline reader", read_only=True)

    async def active_version(self) -> Version | None:
        """The version that serves clients."""
        statement = f"SELECT {VERSION_COLUMNS} FROM {{schema}}.version WHERE state = %s"  # noqa: S608 - our own names
        rows = await self._rows(statement, (VersionState.ACTIVE.value,))
        return version_from_row(rows[0]) if rows else None

    async def checkpoint(self, version: int) -> Checkpoint | None:
        """The newest visible checkpoint of a version."""
        return await self._pool.call(lambda connection: self._checkpoint(connection, version))

    async def view(self, version: int, query: BucketQuery) -> CheckpointView | None:
        """`views` of one query."""
        return only_view(await self.views(version, [query]))

    async def views(
        self, version: int, queries: Sequence[BucketQuery]
    ) -> Sequence[CheckpointView | SynclineError] | None:
        """Drive bucket queries at the newest checkpoint and read the totals of their buckets, in one transaction."""
        asked = False

        async def read(connection: psycopg.AsyncConnection[Row]) -> Sequence[CheckpointView | SynclineError] | None:
            nonlocal asked
            async with connection.transaction():
                checkpoint = await self._checkpoint(connection, version)
                if asked:  # a query cannot be driven twice: the caller has to begin anew
                    raise StorageUnavailable("The connection to the storage broke in the middle of a reading.")
                asked = True
                if checkpoint is None:
                    for query in queries:
                        query.close()
                    return None
                return await self._views(connection, checkpoint, queries)

        return await self._pool.call(read)

    async def changes(self, version: int, since: Checkpoint) -> StorageChanges | None:
        """What changed after `since` up to the newest checkpoint."""
        return await self._pool.call(lambda connection: self._changes(connection, version, since))

    async def chunks(
        self,
        version: int,
        positions: Sequence[tuple[str, int]],
        *,
        checkpoint_op: int,
        ops_max: int,
        chunk_ops_max: int,
        chunk_bytes_max: int,
    ) -> list[OpChunk]:
        """Operations of these buckets above their positions, up to the checkpoint."""
        return await self._pool.call(
            lambda connection: read_chunks(
                connection,
                self._sql,
                positions,
                checkpoint_op,
                ops_max=ops_max,
                chunk_ops_max=chunk_ops_max,
                chunk_bytes_max=chunk_bytes_max,
            )
        )

    async def custom_write_checkpoint(self, version: int, user_key: str) -> int | None:
        """The user's custom write checkpoint at the newest checkpoint."""
        key = blake2b(user_key_bytes(user_key), digest_size=16).digest()
        rows = await self._rows(_CUSTOM, (version, key))
        return rows[0][0] if rows else None

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.close()

    async def _rows(self, statement: str, parameters: tuple[object, ...]) -> list[Row]:
        return await self._pool.call(lambda connection: self._fetch(connection, statement, parameters))

    async def _fetch(
        self, connection: psycopg.AsyncConnection[Row], statement: str, parameters: tuple[object, ...]
    ) -> list[Row]:
        return await (await self._ask(connection, statement, parameters)).fetchall()

    async def _ask(
        self, connection: psycopg.AsyncConnection[Row], statement: str, parameters: tuple[object, ...]
    ) -> psycopg.AsyncCursor[Row]:
        cursor = connection.cursor(binary=True)
        return await cursor.execute(self._sql(statement), parameters, prepare=True)

    async def _checkpoint(self, connection: psycopg.AsyncConnection[Row], version: int) -> Checkpoint | None:
        rows = await self._fetch(connection, _CHECKPOINT, (version,))
        return Checkpoint(version, rows[0][0], rows[0][1]) if rows else None

    async def _views(
        self, connection: psycopg.AsyncConnection[Row], checkpoint: Checkpoint, queries: Sequence[BucketQuery]
    ) -> list[CheckpointView | SynclineError]:
        run = BucketQueries(queries)
        while wanted := run.next_lookups():
            run.answer(await self._lookup_outputs(connection, checkpoint, wanted))
        keys = [name_key(name) for name in run.bucket_names]
        rows = await self._fetch(connection, _TOTALS, (keys,)) if keys else []
        totals = {row[0]: _totals_at(row, checkpoint.op_id) for row in rows}
        return run.views(checkpoint, {name: total for name, total in totals.items() if total.op_id})

    async def _lookup_outputs(
        self, connection: psycopg.AsyncConnection[Row], checkpoint: Checkpoint, wanted: Sequence[str]
    ) -> Mapping[str, Sequence[str]]:
        outputs: dict[str, list[str]] = {name: [] for name in wanted}
        keys = [name_key(name) for name in outputs]
        for lookup, output in await self._fetch(
            connection, _LOOKUP_OUTPUTS, (checkpoint.version, keys, checkpoint.op_id)
        ):
            outputs[lookup].append(output)
        return outputs

    async def _changes(
        self, connection: psycopg.AsyncConnection[Row], version: int, since: Checkpoint
    ) -> StorageChanges | None:
        span = (version, since.op_id)
        async with connection.pipeline(), connection.transaction():  # one way there and back: each checkpoint asks this
            asked = [
                await self._ask(connection, statement, parameters)
                for statement, parameters in (
                    (_CHECKPOINT, (version,)),
                    (_CHANGED_TOTALS, span),
                    (_CHANGED_LOOKUPS, span),
                    (_CHANGED_CUSTOM, span),
                )
            ]
        rows, changed, lookups, custom = [await cursor.fetchall() for cursor in asked]
        # Entries that took a lookup back may be gone: then it cannot be told what changed.
        if not rows or since.op_id < rows[0][2]:
            return None
        checkpoint = Checkpoint(version, rows[0][0], rows[0][1])
        totals = {row[0]: _totals_at(row, checkpoint.op_id) for row in changed}
        return StorageChanges(
            checkpoint,
            {name: total for name, total in totals.items() if total.op_id > since.op_id},
            frozenset(row[0] for row in lookups),
            {bytes(key).decode("utf-8", "surrogatepass"): value for key, value in custom},
        )


def _totals_at(row: tuple[Any, ...], checkpoint_op: int) -> BucketTotals:
    """The slot that a reader at `checkpoint_op` takes: the newest unless it is above."""
    return BucketTotals(*row[1:4]) if row[1] <= checkpoint_op else BucketTotals(*row[4:7])
