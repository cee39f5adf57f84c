"""Versions and their source tables: the part of the SQLite writer that replication uses rarely."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from syncline.storage.model import SnapshotProgress, SnapshotState, StoredTable, Version, VersionState
from syncline.storage.sqlite.stored_rows import VERSION_COLUMNS, version_from_row
from syncline.storage.sqlite.writer_connection import WriterConnection

__all__ = ["VersionWriter"]

_names_decoder = msgspec.json.Decoder(tuple[str, ...])
_DROP_BUCKETS = 500  # buckets whose operations one statement of drop_version looks for

# Of a version without buckets, in the order in which they go: the version itself goes last, so that an interrupted drop is known.
_DROP_ROWS = (
    "DELETE FROM current_row WHERE id IN (SELECT id FROM current_row"
    " WHERE table_id IN (SELECT id FROM source_table WHERE version = ?1) LIMIT ?2)",
    "DELETE FROM lookup_entry WHERE (version, lookup, table_id, row_key, op_id) IN"
    " (SELECT version, lookup, table_id, row_key, op_id FROM lookup_entry WHERE version = ?1 LIMIT ?2)",
    "DELETE FROM custom_write_checkpoint WHERE (version, user_key, op_id) IN"
    " (SELECT version, user_key, op_id FROM custom_write_checkpoint WHERE version = ?1 LIMIT ?2)",
    "DELETE FROM source_table WHERE id IN (SELECT id FROM source_table WHERE version = ?1 LIMIT ?2)",
    "DELETE FROM version WHERE number = ?1 AND ?2 > 0",
)


class VersionWriter(WriterConnection):
    """Versions and source tables. Contract: `syncline.storage.base.StorageWriter`."""

    def versions(self) -> list[Version]:
        """All versions, oldest first."""
        with self._reading():
            rows = self._connection.execute(f"SELECT {VERSION_COLUMNS} FROM version ORDER BY number")  # noqa: S608 - our own names
            return [version_from_row(row) for row in rows]

    def highest_version_number(self) -> int:
        """The highest version number ever used here, 0 in a new storage."""
        with self._reading():
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
        return next(version for version in self.versions() if version.number == number)

    def stop_version(self, version: int) -> None:
        """Take a version out of use: it neither replicates nor serves any more."""
        with self._transaction():
            self._stop(version)

    def record_error(self, version: int, error: str) -> None:
        """Why the version does not replicate at present; empty when it does again."""
        with self._transaction():
            self._connection.execute("UPDATE version SET last_error = ? WHERE number = ?", (error, version))

    def tables(self, version: int) -> list[StoredTable]:
        """The source tables of a version."""
        with self._reading():
            rows: list[Any] = self._connection.execute(
                "SELECT id, schema, name, relation_id, key_columns, snapshot, copied_filenode, copied_next_block,"
                " copied_blocks, copied_rows, definition FROM source_table WHERE version = ? ORDER BY id",
                (version,),
            ).fetchall()
        return [
            StoredTable(
                id=row[0],
                schema=row[1],
                name=row[2],
                relation_id=row[3],
                key_columns=_names_decoder.decode(row[4]),
                snapshot=SnapshotState(row[5]),
                progress=None if row[6] is None else SnapshotProgress(*row[6:10]),
                definition=row[10],
            )
            for row in rows
        ]

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
        with self._transaction():
            table_id = self._connection.execute(
                "INSERT INTO source_table (version, schema, name, relation_id, key_columns, snapshot, definition)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING id",
                (version, schema, name, relation_id, _names(key_columns), snapshot.value, definition),
            ).get
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
        with self._transaction():
            self._connection.execute(
                "UPDATE source_table SET relation_id = ?, key_columns = ?, snapshot = ?, definition = ? WHERE id = ?",
                (relation_id, _names(key_columns), snapshot.value, definition, table_id),
            )
            self._set_progress(table_id, None)

    def save_snapshot_progress(self, table_id: int, progress: SnapshotProgress) -> None:
        """Remember how far a table's copy is."""
        with self._transaction():
            self._set_progress(table_id, progress)

    def finish_table_snapshot(self, version: int, table_id: int, *, position: str) -> None:
        """All rows of the table are flushed; no checkpoint before `position` may become visible."""
        with self._transaction():
            self._connection.execute(
                "UPDATE source_table SET snapshot = ? WHERE id = ?", (SnapshotState.DONE.value, table_id)
            )
            self._set_progress(table_id, None)
            self._delay(version, position)

    def delay_checkpoints(self, version: int, *, position: str) -> None:
        """No checkpoint before `position` may become visible."""
        with self._transaction():
            self._delay(version, position)

    def finish_snapshot(self, version: int) -> None:
        """All tables of the version are copied."""
        with self._transaction():
            self._connection.execute("UPDATE version SET snapshot_done = 1 WHERE number = ?", (version,))

    def drop_version(self, version: int, *, rows_max: int) -> bool:
        """Delete up to about `rows_max` rows of a version, in one transaction; True when nothing of it is left."""
        assert rows_max > 0, "a step without rows would never end"
        with self._transaction():
            self._stop(version)  # a version that lost some of its rows must not be gone on with after a restart
            left = self._drop_buckets(version, rows_max)
            for sql in _DROP_ROWS:
                if left <= 0:
                    return False
                self._connection.execute(sql, (version, left)).fetchall()
                left -= self._connection.changes()
        return True

    def _drop_buckets(self, version: int, rows_max: int) -> int:
        """Delete operations, then the buckets that have none left; returns how many of `rows_max` are left."""
        left = rows_max
        while left > 0:
            rows: list[Any] = self._connection.execute(
                "SELECT id FROM bucket WHERE version = ? LIMIT ?", (version, min(left, _DROP_BUCKETS))
            ).fetchall()
            if not rows:
                break
            ids = ",".join(str(row[0]) for row in rows)
            self._connection.execute(
                f"DELETE FROM op WHERE op_id IN (SELECT op_id FROM op WHERE bucket IN ({ids}) LIMIT ?)",  # noqa: S608 - numbers of our own
                (left,),
            ).fetchall()
            left -= self._connection.changes()
            if left > 0:  # fewer than were allowed: these buckets are empty now
                self._connection.execute(f"DELETE FROM bucket WHERE id IN ({ids})").fetchall()  # noqa: S608 - numbers of our own
                left -= len(rows)
        return left

    def _stop(self, version: int) -> None:
        self._connection.execute("UPDATE version SET state = ? WHERE number = ?", (VersionState.STOPPED.value, version))

    def _delay(self, version: int, position: str) -> None:
        self._connection.execute(
            "UPDATE version SET consistent_from = max(consistent_from, ?) WHERE number = ?", (position, version)
        )

    def _set_progress(self, table_id: int, progress: SnapshotProgress | None) -> None:
        self._connection.execute(
            "UPDATE source_table SET copied_filenode = ?, copied_next_block = ?, copied_blocks = ?, copied_rows = ?"
            " WHERE id = ?",
            (*(progress or (None, None, None, None)), table_id),
        )


def _names(columns: Sequence[str]) -> str:
    return msgspec.json.encode(list(columns)).decode()
