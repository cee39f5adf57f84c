"""What administrators keep in `control.db`, and how versions stand in `storage.db`. Contract: `syncline.storage.base.StorageControl`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from syncline.storage.bucket_sizes import BUCKETS_LOOKED_AT_MAX, SAMPLED_OPS, BucketSizes, largest_of, sizes_of
from syncline.storage.control_model import (
    CONNECTION_REPORTS_MAX,
    DEPLOYMENTS_KEPT,
    MS_PER_DAY,
    ConnectionReport,
    Deployment,
    VersionReport,
)
from syncline.storage.model import SnapshotProgress, SnapshotState, StoredTable, draw_version_number
from syncline.storage.sqlite.connection import open_connection, read_transaction, write_transaction
from syncline.storage.sqlite.migrations import ensure_layout
from syncline.storage.sqlite.stored_rows import VERSION_COLUMNS, version_from_row

__all__ = ["SqliteControl"]

_T = TypeVar("_T")
_names = msgspec.json.Decoder(tuple[str, ...])
_REPORT = """
INSERT INTO connection_report (day, user_id, client_id, user_agent, connected_ms, disconnected_ms, token_expires_s, connections,
                               operations_sent, bytes_sent)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (day, user_id, client_id) DO UPDATE SET
       user_agent = excluded.user_agent, connected_ms = min(connected_ms, excluded.connected_ms),
       disconnected_ms = excluded.disconnected_ms, token_expires_s = max(token_expires_s, excluded.token_expires_s),
       connections = connections + excluded.connections, operations_sent = operations_sent + excluded.operations_sent,
       bytes_sent = bytes_sent + excluded.bytes_sent
"""
_REPORTS = """
SELECT user_id, client_id, user_agent, connected_ms, disconnected_ms, token_expires_s, connections, operations_sent, bytes_sent
  FROM connection_report WHERE ?1 IS NULL OR user_id = ?1 ORDER BY day DESC, connected_ms DESC LIMIT ?2
"""
_SAMPLE = """
SELECT count(*), coalesce(sum(octet_length(data)), 0) FROM (SELECT data FROM op WHERE bucket = ? ORDER BY op_id DESC LIMIT ?)
"""


class SqliteControl:
    """One thread with a connection to each file; `storage.db` is only read."""

    def __init__(self, directory: Path) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="control")
        path = directory / "control.db"
        self._connection = open_connection(path)
        try:
            ensure_layout(self._connection, path)
            self._storage = open_connection(directory / "storage.db", read_only=True)
        except BaseException:
            self._connection.close()
            raise

    async def deploy(self, sync_config: str | None, *, now_ms: int, random_bits: int) -> Deployment:
        """Remember a deployment under a number above every other."""
        return await self._run(lambda: self._deploy(sync_config, now_ms, random_bits))

    async def deployments(self) -> list[Deployment]:
        """Remembered deployments, oldest first."""
        sql = "SELECT number, sync_config, deployed_ms FROM deployment ORDER BY number"
        return await self._run(lambda: [Deployment(*row) for row in self._rows(sql)])

    async def versions(self) -> list[VersionReport]:
        """All versions as they stand, oldest first."""
        return await self._run(self._versions)

    async def bucket_sizes(self, version: int) -> BucketSizes:
        """How large the buckets of a version are."""
        return await self._run(lambda: self._bucket_sizes(version))

    async def revoke(self, user_id: str, *, until_ms: int) -> None:
        """Remember until when a user's tokens are refused."""
        sql = "INSERT INTO revocation VALUES (?, ?) ON CONFLICT (user_id) DO UPDATE SET until_ms = excluded.until_ms"
        await self._run(lambda: self._write(sql, (_bytes(user_id), until_ms)))

    async def revocations(self, *, now_ms: int) -> dict[str, int]:
        """Revoked users with the time until which they are."""
        return await self._run(lambda: self._revocations(now_ms))

    async def report_connections(self, reports: Sequence[ConnectionReport]) -> None:
        """Add to the reports of the same user, client and day."""
        await self._run(lambda: self._report(reports))

    async def connection_reports(self, *, user_id: str | None = None) -> list[ConnectionReport]:
        """The newest reports, of one user or of all."""
        wanted = None if user_id is None else _bytes(user_id)
        return await self._run(
            lambda: [
                ConnectionReport(_text(row[0]), _text(row[1]), *row[2:])
                for row in self._rows(_REPORTS, (wanted, CONNECTION_REPORTS_MAX))
            ]
        )

    async def expire_connection_reports(self, *, before_ms: int) -> int:
        """Delete reports of earlier days."""
        sql = "DELETE FROM connection_report WHERE day < ?"
        return await self._run(lambda: self._write(sql, (before_ms // MS_PER_DAY,)))

    async def close(self) -> None:
        """Wait for running calls, then close."""
        await asyncio.to_thread(self._thread.shutdown)
        self._connection.close()
        self._storage.close()

    async def _run(self, call: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def _rows(self, sql: str, values: tuple[Any, ...] = ()) -> list[Any]:
        with read_transaction(self._connection):
            return self._connection.execute(sql, values).fetchall()

    def _write(self, sql: str, values: tuple[Any, ...]) -> int:
        """Rows that one statement changed."""
        with write_transaction(self._connection):
            self._connection.execute(sql, values).fetchall()
            return self._connection.changes()

    def _deploy(self, sync_config: str | None, now_ms: int, random_bits: int) -> Deployment:
        with read_transaction(self._storage):
            highest = self._storage.execute("SELECT value FROM storage_meta WHERE key = 'highest_version'").get
        with write_transaction(self._connection):
            last = self._connection.execute("SELECT coalesce(max(number), 0) FROM deployment").get
            number = draw_version_number(now_ms=now_ms, random_bits=random_bits, above=max(highest, last))
            self._connection.execute(
                "INSERT INTO deployment (number, sync_config, deployed_ms) VALUES (?, ?, ?)",
                (number, sync_config, now_ms),
            ).fetchall()
            self._connection.execute(
                "DELETE FROM deployment WHERE number NOT IN (SELECT number FROM deployment ORDER BY number DESC LIMIT ?)",
                (DEPLOYMENTS_KEPT,),
            ).fetchall()
        return Deployment(number, sync_config, now_ms)

    def _versions(self) -> list[VersionReport]:
        with read_transaction(self._storage):
            rows: list[Any] = self._storage.execute(
                f"SELECT {VERSION_COLUMNS}, position, coalesce(checkpoint_position, '') FROM version ORDER BY number"  # noqa: S608 - our own names
            ).fetchall()
            tables: list[Any] = self._storage.execute(
                "SELECT version, id, schema, name, relation_id, key_columns, snapshot, copied_filenode, copied_next_block,"
                " copied_blocks, copied_rows, definition FROM source_table ORDER BY id"
            ).fetchall()
        return [
            VersionReport(
                version_from_row(row[:-2]),
                tuple(_table(entry[1:]) for entry in tables if entry[0] == row[0]),
                row[-2],
                row[-1],
            )
            for row in rows
        ]

    def _bucket_sizes(self, version: int) -> BucketSizes:
        with read_transaction(self._storage):
            buckets: list[Any] = self._storage.execute(
                "SELECT id, name, op_count FROM bucket WHERE version = ? LIMIT ?", (version, BUCKETS_LOOKED_AT_MAX + 1)
            ).fetchall()
            largest: list[Any] = [
                (name, op_count, *self._storage.execute(_SAMPLE, (bucket_id, SAMPLED_OPS)).fetchall()[0])
                for bucket_id, name, op_count in largest_of(buckets)
            ]
        return sizes_of(buckets, largest)

    def _revocations(self, now_ms: int) -> dict[str, int]:
        found = {_text(row[0]): row[1] for row in self._rows("SELECT user_id, until_ms FROM revocation")}
        if any(until_ms <= now_ms for until_ms in found.values()):
            self._write("DELETE FROM revocation WHERE until_ms <= ?", (now_ms,))
        return {user_id: until_ms for user_id, until_ms in found.items() if until_ms > now_ms}

    def _report(self, reports: Sequence[ConnectionReport]) -> None:
        with write_transaction(self._connection):
            for report in reports:
                self._connection.execute(
                    _REPORT,
                    (
                        report.day,
                        _bytes(report.user_id),
                        _bytes(report.client_id),
                        report.user_agent,
                        report.connected_ms,
                        report.disconnected_ms,
                        report.token_expires_s,
                        report.connections,
                        report.operations_sent,
                        report.bytes_sent,
                    ),
                ).fetchall()


def _table(row: tuple[Any, ...]) -> StoredTable:
    return StoredTable(
        id=row[0],
        schema=row[1],
        name=row[2],
        relation_id=row[3],
        key_columns=_names.decode(row[4]),
        snapshot=SnapshotState(row[5]),
        progress=None if row[6] is None else SnapshotProgress(*row[6:10]),
        definition=row[10],
    )


def _bytes(text: str) -> bytes:
    """Ids are a client's: they may hold lone surrogates, which no text of SQLite can."""
    return text.encode("utf-8", "surrogatepass")


def _text(stored: bytes) -> str:
    return stored.decode("utf-8", "surrogatepass")
