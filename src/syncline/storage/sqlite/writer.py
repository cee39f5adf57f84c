"""The replicator's side of SQLite storage. Contract: `syncline.storage.base.StorageWriter`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import apsw
import msgspec

from syncline.protocol.ops import OpType
from syncline.storage.model import (
    Checkpoint,
    CurrentRow,
    FlushBatch,
    Membership,
    SnapshotState,
    StoredTable,
    Version,
    VersionState,
)
from syncline.storage.sqlite.connection import ensure_schema, open_connection, write_transaction
from syncline.storage.sqlite.lease import Lease
from syncline.storage.sqlite.versions import VERSION_COLUMNS, version_from_row

__all__ = ["OP_KINDS", "SqliteWriter"]

OP_KINDS: dict[OpType, int] = {OpType.PUT: 1, OpType.REMOVE: 2, OpType.MOVE: 3, OpType.CLEAR: 4}

_encode = msgspec.msgpack.Encoder().encode
_json = msgspec.json.Encoder().encode
_memberships_decoder = msgspec.json.Decoder(list[Membership])
_lookups_decoder = msgspec.json.Decoder(tuple[tuple[str, str], ...])
_names_decoder = msgspec.json.Decoder(tuple[str, ...])
_values_decoder = msgspec.msgpack.Decoder()  # untyped: a union of text and blob has no type here

# Slot 1 moves to slot 0 only where it is visible already; see the comment at the table.
_ADD_TO_BUCKET = """
INSERT INTO bucket (version, name, op, checksum, op_count) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (name) DO UPDATE SET
  old_op = iif(op <= ?6, op, old_op),
  old_checksum = iif(op <= ?6, checksum, old_checksum),
  old_op_count = iif(op <= ?6, op_count, old_op_count),
  op = excluded.op,
  checksum = (checksum + excluded.checksum) & 4294967295,
  op_count = op_count + excluded.op_count
RETURNING id
"""


class SqliteWriter:
    """Writes `storage.db`. Blocking; used by one thread."""

    def __init__(self, directory: Path) -> None:
        self._connection = open_connection(directory / "storage.db")
        ensure_schema(self._connection, schema="storage", meta_table="storage_meta")
        self._lease = Lease(directory / "storage.lock", self._connection)

    def versions(self) -> list[Version]:
        """All versions, oldest first."""
        rows = self._connection.execute(f"SELECT {VERSION_COLUMNS} FROM version ORDER BY number")  # noqa: S608
        return [version_from_row(row) for row in rows]

    def highest_version_number(self) -> int:
        """The highest version number ever used here, 0 in a new storage."""
        return self._connection.execute("SELECT value FROM storage_meta WHERE key = 'highest_version'").get

    def start_version(self, number: int, *, sync_config: str, slot_name: str, source_identity: str) -> Version:
        """Make a version in state PROCESSING."""
        with self._transaction():
            assert number > self.highest_version_number(), "a version number never recurs"
            self._connection.execute(
                "INSERT INTO version (number, state, sync_config, slot_name, source_identity) VALUES (?, ?, ?, ?, ?)",
                (number, VersionState.PROCESSING.value, sync_config, slot_name, source_identity),
            )
            self._connection.execute("UPDATE storage_meta SET value = ? WHERE key = 'highest_version'", (number,))
        return self._version(number)

    def stop_version(self, version: int) -> None:
        """Take a version out of use: it neither replicates nor serves any more."""
        with self._transaction():
            self._connection.execute(
                "UPDATE version SET state = ? WHERE number = ?", (VersionState.STOPPED.value, version)
            )

    def tables(self, version: int) -> list[StoredTable]:
        """The source tables of a version."""
        rows = self._connection.execute(
            "SELECT id, schema, name, relation_id, key_columns, snapshot FROM source_table WHERE version = ? ORDER BY id",
            (version,),
        )
        return [
            StoredTable(
                id=row[0],
                schema=row[1],
                name=row[2],
                relation_id=row[3],
                key_columns=_names_decoder.decode(row[4]),
                snapshot=SnapshotState(row[5]),
            )
            for row in rows
        ]

    def add_table(
        self, version: int, *, schema: str, name: str, relation_id: int, key_columns: Sequence[str]
    ) -> StoredTable:
        """Record a source table whose snapshot is pending."""
        with self._transaction():
            table_id = self._connection.execute(
                "INSERT INTO source_table (version, schema, name, relation_id, key_columns, snapshot)"
                " VALUES (?, ?, ?, ?, ?, ?) RETURNING id",
                (version, schema, name, relation_id, _json(list(key_columns)).decode(), SnapshotState.PENDING.value),
            ).get
        return StoredTable(table_id, schema, name, relation_id, tuple(key_columns), SnapshotState.PENDING)

    def replace_table(self, table_id: int, *, relation_id: int, key_columns: Sequence[str]) -> None:
        """The source has another table under this name, or other keys: its snapshot is pending again."""
        with self._transaction():
            self._connection.execute(
                "UPDATE source_table SET relation_id = ?, key_columns = ?, snapshot = ? WHERE id = ?",
                (relation_id, _json(list(key_columns)).decode(), SnapshotState.PENDING.value, table_id),
            )

    def finish_table_snapshot(self, version: int, table_id: int, *, position: str) -> None:
        """All rows of the table are flushed; no checkpoint before `position` may become visible."""
        with self._transaction():
            self._connection.execute(
                "UPDATE source_table SET snapshot = ? WHERE id = ?", (SnapshotState.DONE.value, table_id)
            )
            self._connection.execute(
                "UPDATE version SET consistent_from = max(consistent_from, ?) WHERE number = ?", (position, version)
            )

    def finish_snapshot(self, version: int) -> None:
        """All tables of the version are copied."""
        with self._transaction():
            self._connection.execute("UPDATE version SET snapshot_done = 1 WHERE number = ?", (version,))

    def current_rows(self, table_id: int, keys: Collection[bytes]) -> dict[bytes, CurrentRow]:
        """What is remembered of these rows."""
        sql = "SELECT memberships, lookups, row_values FROM current_row WHERE table_id = ? AND row_key = ?"
        found: dict[bytes, CurrentRow] = {}
        for key in keys:
            for row in self._connection.execute(sql, (table_id, key)):
                found[key] = _current_row(*row)
        return found

    def table_rows(self, table_id: int, *, after: bytes, limit: int) -> list[tuple[bytes, CurrentRow]]:
        """All remembered rows of a table in pages by row key."""
        rows = self._connection.execute(
            "SELECT row_key, memberships, lookups, row_values FROM current_row"
            " WHERE table_id = ? AND row_key > ? ORDER BY row_key LIMIT ?",
            (table_id, after, limit),
        )
        return [(row[0], _current_row(row[1], row[2], row[3])) for row in rows]

    def flush(self, version: int, batch: FlushBatch) -> int:
        """Append a batch in one transaction and return the last op id."""
        with self._transaction():
            last_op = self._last_op()
            next_op = last_op + 1
            self._write_ops(version, batch, next_op)
            last_op += len(batch.ops)
            if batch.lookups:
                self._connection.executemany(
                    "INSERT INTO lookup_entry (version, lookup, table_id, row_key, op_id, output) VALUES (?,?,?,?,?,?)",
                    [
                        (version, entry.lookup, entry.table_id, entry.row_key, last_op + index, entry.output)
                        for index, entry in enumerate(batch.lookups, start=1)
                    ],
                )
                last_op += len(batch.lookups)
            self._write_rows(batch)
            self._connection.execute("UPDATE storage_meta SET value = ? WHERE key = 'last_op'", (last_op,))
        return last_op

    def commit(self, version: int, position: str) -> Checkpoint | None:
        """Make all that was flushed visible at `position`, where a checkpoint may be visible."""
        with self._transaction():
            rows: list[Any] = self._connection.execute(
                "UPDATE version SET position = max(position, ?) WHERE number = ?"
                " RETURNING state, checkpoint_op, snapshot_done, consistent_from",
                (position, version),
            ).fetchall()
            state, checkpoint_op, snapshot_done, consistent_from = rows[0]
            if not snapshot_done or position < consistent_from:
                return None
            last_op = max(self._last_op(), checkpoint_op or 0)
            self._connection.execute(
                "UPDATE version SET checkpoint_op = ?, checkpoint_position = max(coalesce(checkpoint_position, ''), ?),"
                " state = ? WHERE number = ?",
                (last_op, position, VersionState.ACTIVE.value, version),
            )
            if state == VersionState.PROCESSING.value:
                self._connection.execute(
                    "UPDATE version SET state = ? WHERE number <> ?", (VersionState.STOPPED.value, version)
                )
        return Checkpoint(version, last_op, position)

    def position(self, version: int) -> str:
        """The source position up to which everything is stored."""
        return self._connection.execute("SELECT position FROM version WHERE number = ?", (version,)).get

    def sync_to_disk(self) -> None:
        """One commit with synchronous=FULL puts the whole write-ahead log before it on disk."""
        self._connection.execute("PRAGMA synchronous=FULL").fetchall()
        try:
            with self._transaction():
                self._connection.execute("UPDATE storage_meta SET value = value WHERE key = 'lease_epoch'").fetchall()
        finally:
            self._connection.execute("PRAGMA synchronous=NORMAL").fetchall()

    def drop_version(self, version: int) -> None:
        """Delete a stopped version with all its data."""
        with self._transaction():
            for sql in (
                "DELETE FROM op WHERE bucket IN (SELECT id FROM bucket WHERE version = ?)",
                "DELETE FROM bucket WHERE version = ?",
                "DELETE FROM current_row WHERE table_id IN (SELECT id FROM source_table WHERE version = ?)",
                "DELETE FROM lookup_entry WHERE version = ?",
                "DELETE FROM source_table WHERE version = ?",
                "DELETE FROM version WHERE number = ?",
            ):
                self._connection.execute(sql, (version,)).fetchall()

    def close(self) -> None:
        """Release the lease and close."""
        self._lease.release()
        self._connection.close()

    def _transaction(self) -> _CheckedTransaction:
        return _CheckedTransaction(self._connection, self._lease)

    def _version(self, number: int) -> Version:
        return next(version for version in self.versions() if version.number == number)

    def _last_op(self) -> int:
        return self._connection.execute("SELECT value FROM storage_meta WHERE key = 'last_op'").get

    def _write_ops(self, version: int, batch: FlushBatch, next_op: int) -> None:
        """Append the operations from `next_op` on, and bring the totals of their buckets forward."""
        if not batch.ops:
            return
        added: dict[str, list[int]] = {}  # bucket -> last op, sum of checksums, number of ops
        for op_id, new in enumerate(batch.ops, start=next_op):
            totals = added.setdefault(new.bucket, [0, 0, 0])
            totals[0] = op_id
            totals[1] += new.checksum
            totals[2] += 1
        visible = self._connection.execute(
            "SELECT coalesce(checkpoint_op, 0) FROM version WHERE number = ?", (version,)
        ).get
        bucket_ids = self._add_to_buckets(version, added, visible)
        self._connection.executemany(
            "INSERT INTO op (op_id, bucket, kind, object_type, object_id, checksum, subkey, data)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (op_id, bucket_ids[bucket], OP_KINDS[op], object_type, object_id, checksum, subkey, data)
                for op_id, (bucket, op, object_type, object_id, checksum, subkey, data) in enumerate(
                    batch.ops, start=next_op
                )
            ),
        )

    def _add_to_buckets(self, version: int, added: dict[str, list[int]], visible: int) -> dict[str, int]:
        rows: Iterable[tuple[int]] = self._connection.executemany(
            _ADD_TO_BUCKET,
            [
                (version, name, op, checksum & 0xFFFFFFFF, count, visible)
                for name, (op, checksum, count) in added.items()
            ],
        )
        return {name: row[0] for name, row in zip(added, rows, strict=True)}

    def _write_rows(self, batch: FlushBatch) -> None:
        gone = [key for key, row in batch.rows.items() if row is None]
        if gone:
            self._connection.executemany("DELETE FROM current_row WHERE table_id = ? AND row_key = ?", gone)
        kept = [
            (
                table_id,
                key,
                _json(row.memberships).decode(),
                _json(row.lookups).decode() if row.lookups else "[]",
                _encode(row.values) if row.values is not None else None,
            )
            for (table_id, key), row in batch.rows.items()
            if row is not None
        ]
        if kept:
            self._connection.executemany(
                "INSERT INTO current_row (table_id, row_key, memberships, lookups, row_values) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (table_id, row_key) DO UPDATE SET memberships = excluded.memberships,"
                " lookups = excluded.lookups, row_values = excluded.row_values",
                kept,
            )


class _CheckedTransaction:
    """A write transaction that begins with the check of the lease."""

    def __init__(self, connection: apsw.Connection, lease: Lease) -> None:
        self._inner = write_transaction(connection)
        self._lease = lease

    def __enter__(self) -> None:
        self._inner.__enter__()
        try:
            self._lease.check()
        except BaseException as exc:
            if not self._inner.__exit__(type(exc), exc, exc.__traceback__):
                raise

    def __exit__(self, *exc_info: object) -> bool | None:
        return self._inner.__exit__(*exc_info)  # type: ignore[arg-type]


def _current_row(memberships: str, lookups: str, values: bytes | None) -> CurrentRow:
    return CurrentRow(
        tuple(_memberships_decoder.decode(memberships)),
        _lookups_decoder.decode(lookups),
        tuple(_values_decoder.decode(values)) if values is not None else None,
    )
