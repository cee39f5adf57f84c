"""The replicator's side of Postgres storage. Contract: `syncline.storage.base.StorageWriter`."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import psycopg

from syncline.storage.model import (
    BucketSize,
    Checkpoint,
    CompactedOps,
    CurrentRow,
    FlushBatch,
    OpRow,
    SnapshotProgress,
    SnapshotState,
    StorageSizes,
    StoredTable,
    Version,
    VersionState,
)
from syncline.storage.postgres import compaction, dropping
from syncline.storage.postgres.current_rows import CurrentRows
from syncline.storage.postgres.flush import (
    is_small,
    write_custom_write_checkpoints,
    write_few_lookups,
    write_few_ops,
    write_lookups,
    write_ops,
)
from syncline.storage.postgres.statements import SchemaSql
from syncline.storage.postgres.transactions import WriteConnection, WriteTransaction
from syncline.storage.postgres.versions import TABLE_COLUMNS, VERSION_COLUMNS, table_from_row, version_from_row

__all__ = ["PostgresWriter"]

_START_VERSION = """
INSERT INTO {schema}.version (number, state, sync_config, slot_name, source_identity) VALUES (%s, %s, %s, %s, %s)
"""
_ADD_TABLE = """
INSERT INTO {schema}.source_table (version, schema_name, table_name, relation_id, key_columns, definition, snapshot)
VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING id
"""
_REPLACE_TABLE = """
UPDATE {schema}.source_table SET relation_id = %s, key_columns = %s, definition = %s, snapshot = %s, progress = NULL
 WHERE id = %s
"""
_DELAY = "UPDATE {schema}.version SET consistent_from = greatest(consistent_from, %s) WHERE number = %s"
# One statement, and the whole transaction: whether a checkpoint may be visible is decided on the row that it changes. No row comes
# back where the lease is another's. The first visible checkpoint of a version stops the others.
_COMMIT = """
WITH held AS (
  SELECT FROM {schema}.lease WHERE epoch = %(epoch)s FOR KEY SHARE
), allowed AS (
  SELECT v.number, v.state, v.snapshot_done AND %(position)s >= v.consistent_from AND v.state <> 'stopped' AS visible
    FROM held, {schema}.version v WHERE v.number = %(version)s
), stopped AS (
  UPDATE {schema}.version o SET state = 'stopped' FROM allowed a
   WHERE a.visible AND a.state = 'processing' AND o.number <> a.number
)
UPDATE {schema}.version v
   SET position = greatest(v.position, %(position)s),
       checkpoint_op = CASE WHEN a.visible THEN greatest(v.checkpoint_op, s.last_op) ELSE v.checkpoint_op END,
       checkpoint_position =
         CASE WHEN a.visible THEN greatest(v.checkpoint_position, %(position)s) ELSE v.checkpoint_position END,
       state = CASE WHEN a.visible THEN 'active' ELSE v.state END
  FROM allowed a, {schema}.storage_state s WHERE v.number = a.number
RETURNING a.visible, v.checkpoint_op, v.checkpoint_position, set_config('synchronous_commit', 'on', true),
          CASE WHEN a.visible THEN pg_notify(%(channel)s, '') END
"""
_SIZES = """
SELECT pg_total_relation_size(%(op)s), pg_total_relation_size(%(row)s), pg_total_relation_size(%(lookup)s),
       (SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = %(schema)s AND c.relkind = 'r')::bigint
"""


class PostgresWriter:
    """Writes the storage schema. Blocking; used by one thread."""

    def __init__(self, conninfo: str, sql: SchemaSql) -> None:
        self._sql = sql
        self._connection = WriteConnection(conninfo, sql)
        self._rows = CurrentRows(self._connection)

    def versions(self) -> list[Version]:
        """All versions, oldest first."""
        rows = self._connection.read(f"SELECT {VERSION_COLUMNS} FROM {{schema}}.version ORDER BY number")  # noqa: S608 - our own names
        return [version_from_row(row) for row in rows]

    def highest_version_number(self) -> int:
        """The highest version number ever used here, 0 in a new storage."""
        return self._connection.read("SELECT highest_version FROM {schema}.storage_state")[0][0]

    def start_version(self, number: int, *, sync_config: str, slot_name: str, source_identity: str) -> Version:
        """Make a version in state PROCESSING."""

        def start(transaction: WriteTransaction) -> None:
            highest = transaction.one("SELECT highest_version FROM {schema}.storage_state")[0]
            assert number > highest, "a version number never recurs"
            state = VersionState.PROCESSING.value
            transaction.execute(_START_VERSION, (number, state, sync_config, slot_name, source_identity))
            transaction.execute("UPDATE {schema}.storage_state SET highest_version = %s", (number,))

        self._connection.write(start, durable=True)  # the number is in the name of a slot next
        return next(version for version in self.versions() if version.number == number)

    def stop_version(self, version: int) -> None:
        """Take a version out of use: it neither replicates nor serves any more."""
        self._execute("UPDATE {schema}.version SET state = %s WHERE number = %s", (VersionState.STOPPED.value, version))

    def record_error(self, version: int, error: str) -> None:
        """Why the version does not replicate at present; empty when it does again."""
        self._execute("UPDATE {schema}.version SET last_error = %s WHERE number = %s", (error, version))

    def tables(self, version: int) -> list[StoredTable]:
        """The source tables of a version."""
        sql = f"SELECT {TABLE_COLUMNS} FROM {{schema}}.source_table WHERE version = %s ORDER BY id"  # noqa: S608 - our own names
        return [table_from_row(row) for row in self._connection.read(sql, (version,))]

    def add_table(
        self,
        version: int,
        *,
        schema: str,
        name: str,
        relation_id: int,
        key_columns: Sequence[str],
        definition: str = "",
        snapshot: SnapshotState = SnapshotState.PENDING,
    ) -> StoredTable:
        """Record a source table whose copy has not begun."""
        values = (version, schema, name, relation_id, list(key_columns), definition, snapshot.value)
        table_id = self._connection.write(lambda transaction: transaction.one(_ADD_TABLE, values)[0])
        return StoredTable(table_id, schema, name, relation_id, tuple(key_columns), snapshot, definition=definition)

    def replace_table(
        self,
        table_id: int,
        *,
        relation_id: int,
        key_columns: Sequence[str],
        definition: str = "",
        snapshot: SnapshotState = SnapshotState.PENDING,
    ) -> None:
        """The source has another table under this name, other keys or another definition: it is to be copied from its begin."""
        self._execute(_REPLACE_TABLE, (relation_id, list(key_columns), definition, snapshot.value, table_id))

    def save_snapshot_progress(self, table_id: int, progress: SnapshotProgress) -> None:
        """Remember how far a table's copy is."""
        self._execute("UPDATE {schema}.source_table SET progress = %s WHERE id = %s", (list(progress), table_id))

    def finish_table_snapshot(self, version: int, table_id: int, *, position: str) -> None:
        """All rows of the table are flushed; no checkpoint before `position` may become visible."""

        def finish(transaction: WriteTransaction) -> None:
            table = "UPDATE {schema}.source_table SET snapshot = %s, progress = NULL WHERE id = %s"
            transaction.execute(table, (SnapshotState.DONE.value, table_id))
            transaction.execute(_DELAY, (position, version))

        self._connection.write(finish)

    def delay_checkpoints(self, version: int, *, position: str) -> None:
        """No checkpoint before `position` may become visible."""
        self._execute(_DELAY, (position, version))

    def finish_snapshot(self, version: int) -> None:
        """All tables of the version are copied."""
        self._execute("UPDATE {schema}.version SET snapshot_done = true WHERE number = %s", (version,))

    def current_rows(self, table_id: int, keys: Collection[bytes]) -> dict[bytes, CurrentRow]:
        """What is remembered of these rows."""
        return self._rows.read(table_id, keys)

    def table_rows(self, table_id: int, *, after: bytes, limit: int) -> list[tuple[bytes, CurrentRow]]:
        """All remembered rows of a table in pages by row key."""
        return self._rows.page(table_id, after=after, limit=limit)

    def flush(self, version: int, batch: FlushBatch) -> int:
        """Append a batch in one transaction and return the last op id."""
        try:
            last_op = self._flush_small(version, batch) if is_small(batch) else self._flush_large(version, batch)
        except BaseException:
            self._rows.forget()
            raise
        self._rows.written(batch.rows)
        return last_op

    def commit(self, version: int, position: str) -> Checkpoint | None:
        """Make all that was flushed visible at `position`, where a checkpoint may be visible; wake the readers."""
        parameters = {"version": version, "position": position, "channel": self._sql.channel}
        visible, checkpoint_op, checkpoint_position, *_ = self._connection.write_durably(_COMMIT, parameters)
        return Checkpoint(version, checkpoint_op, checkpoint_position) if visible else None

    def position(self, version: int) -> str:
        """The source position up to which everything is stored."""
        return self._connection.read("SELECT position FROM {schema}.version WHERE number = %s", (version,))[0][0]

    def sync_to_disk(self) -> None:
        """After this returned, everything committed survives a power cut."""
        self._connection.sync_to_disk()

    def drop_version(self, version: int, *, rows_max: int) -> bool:
        """Delete up to about `rows_max` rows of a stopped version; True when nothing of it is left."""
        self._rows.forget()
        return self._connection.write(lambda transaction: dropping.drop_rows(transaction, version, rows_max))

    def compaction_candidates(self, version: int, *, buckets_max: int) -> list[BucketSize]:
        """Buckets with ops that were appended since they were compacted last, those with the most first."""
        return compaction.read_candidates(self._connection, version, buckets_max)

    def ops_before(self, bucket: str, *, before: int | None, ops_max: int) -> list[OpRow]:
        """A bucket's ops from the newest to the oldest, below op id `before`; None begins at the visible checkpoint."""
        return compaction.read_ops_before(self._connection, bucket, before=before, ops_max=ops_max)

    def apply_compaction(self, bucket: str, compacted: CompactedOps) -> None:
        """Make these changes in one transaction."""
        if compacted:
            self._connection.write(lambda transaction: compaction.apply(transaction, bucket, compacted))

    def finish_compaction(self, bucket: str, *, new_ops: int) -> None:
        """The `new_ops` of this candidate were looked at; what was appended since then makes it a candidate again."""
        self._connection.write(lambda transaction: compaction.finish(transaction, bucket, new_ops))

    def compact_lookups(self, version: int, *, before_op: int, rows_max: int) -> int:
        """Delete about `rows_max` lookup entries that later ones have replaced; how many they were, 0 when none is left."""
        deleted, done = 0, False
        while deleted == 0 and not done:
            deleted, done = self._connection.write(
                lambda transaction: compaction.delete_lookups(transaction, version, before_op, rows_max)
            )
        return deleted

    def sizes(self) -> StorageSizes:
        """What the schema's tables take on disk, indexes and out-of-line values included."""
        schema = self._sql.schema
        names = {"op": f"{schema}.op", "row": f"{schema}.current_row", "lookup": f"{schema}.lookup_entry"}
        row = self._connection.read_named(_SIZES, names | {"schema": schema})
        return StorageSizes(*row)

    def close(self) -> None:
        """Release the lease and close."""
        self._connection.close()

    def _execute(self, statement: str, parameters: tuple[object, ...]) -> None:
        """One statement in a transaction of its own."""
        self._connection.write(lambda transaction: transaction.execute(statement, parameters))

    def _flush_small(self, version: int, batch: FlushBatch) -> int:
        """All statements in one way there and back: what a client waits for after a commit on the source."""
        return self._connection.write(
            lambda transaction: self._flush(transaction, version, batch, small=True, trust=False), pipelined=True
        )

    def _flush_large(self, version: int, batch: FlushBatch) -> int:
        """By COPY. Rows that were there after all are written by a second attempt."""
        try:
            return self._connection.write(
                lambda transaction: self._flush(transaction, version, batch, small=False, trust=True)
            )
        except _RowsWereThere:  # the source sends a transaction again, or a copy goes over rows that it has copied
            return self._connection.write(
                lambda transaction: self._flush(transaction, version, batch, small=False, trust=False)
            )

    def _flush(
        self, transaction: WriteTransaction, version: int, batch: FlushBatch, *, small: bool, trust: bool
    ) -> int:
        last_op = transaction.last_op
        if batch.ops:
            (write_few_ops if small else write_ops)(transaction, version, batch, last_op + 1)
            last_op += len(batch.ops)
        if batch.lookups:
            (write_few_lookups if small else write_lookups)(transaction, version, batch, last_op + 1)
            last_op += len(batch.lookups)
        if batch.custom_write_checkpoints:
            last_op += 1
            write_custom_write_checkpoints(transaction, version, batch, last_op)
        try:
            self._rows.write(transaction, batch.rows, trust=trust)
        except psycopg.errors.UniqueViolation as exc:
            raise _RowsWereThere from exc
        transaction.execute("UPDATE {schema}.storage_state SET last_op = %s", (last_op,))
        return last_op


class _RowsWereThere(Exception):
    """Rows that were taken for new are stored already."""
