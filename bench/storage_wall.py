"""The storage under a bench, looked at from outside; and its wall: what a service stored, appended again by the writer alone."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from base64 import urlsafe_b64decode
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import psycopg

from syncline.protocol.ops import OpType
from syncline.replication.limits import FLUSH_ROWS_MAX
from syncline.storage.base import BucketStorage
from syncline.storage.model import CurrentRow, FlushBatch, Membership, NewOp
from syncline.storage.postgres import PostgresStorage
from syncline.storage.sqlite import SqliteStorage

__all__ = ["STORAGES", "BenchStorage", "append_again", "open_bench_storage"]

STORAGES = ("sqlite", "postgres")
Put = tuple[str, str, str, int, str, str]
"""Bucket, object type, object id, checksum, subkey, data."""


class BenchStorage(Protocol):
    """A service's storage, looked at from outside through one connection: a look costs the service nothing."""

    name: str

    @property
    def settings(self) -> dict[str, Any]:
        """The `storage` section of the service's configuration."""
        ...

    @property
    def has_version(self) -> bool:
        """Whether the service has begun to copy its source."""
        ...

    @property
    def checkpoint_op(self) -> int:
        """The highest op id that is visible, 0 before the first checkpoint."""
        ...

    def puts(self) -> Iterator[Put]:
        """Every stored PUT in the order of the op ids."""
        ...

    @contextmanager
    def fresh(self) -> Generator[BucketStorage]:
        """Another storage of the same kind, empty, for as long as the block runs."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


def open_bench_storage(name: str, folder: Path, dsn: str) -> BenchStorage:
    """The storage of this name. `folder` is where SQLite keeps it, `dsn` the server where Postgres does, in another database."""
    return PostgresBench(dsn) if name == "postgres" else SqliteBench(folder)


def append_again(storage: BenchStorage) -> float:
    """Append every PUT of a storage to a new one, batched as replication does it; return the seconds that the writer took."""
    batches = _batches(storage)
    with storage.fresh() as fresh:
        writer = fresh.open_writer()
        try:
            version = writer.start_version(1_000, sync_config="", slot_name="", source_identity="").number
            table = writer.add_table(version, schema="public", name="items", relation_id=1, key_columns=("id",))
            assert table.id == 1, "the batches name this table"
            started = time.perf_counter()
            for batch in batches:
                writer.flush(version, batch)
            writer.finish_snapshot(version)
            writer.commit(version, "1")
            return time.perf_counter() - started
        finally:
            writer.close()


class SqliteBench:
    """SQLite in a folder."""

    name = "SqliteWriter"

    def __init__(self, folder: Path) -> None:
        self._path = folder / "storage.db"
        self._connection: sqlite3.Connection | None = None
        self.settings: dict[str, Any] = {"type": "sqlite", "path": str(folder)}

    @property
    def has_version(self) -> bool:
        """Whether the service has begun to copy its source."""
        return self._read("SELECT count(*) FROM version") > 0

    @property
    def checkpoint_op(self) -> int:
        """The highest op id that is visible, 0 before the first checkpoint."""
        return self._read("SELECT coalesce(max(checkpoint_op), 0) FROM version")

    def puts(self) -> Iterator[Put]:
        """Every stored PUT in the order of the op ids."""
        connection = sqlite3.connect(self._path)
        yield from connection.execute(
            "SELECT bucket.name, object_type, object_id, op.checksum, subkey, data FROM op JOIN bucket ON bucket.id = op.bucket"
            " WHERE kind = 1 ORDER BY op_id"
        )
        connection.close()

    @contextmanager
    def fresh(self) -> Generator[BucketStorage]:
        """Another one in a temporary folder."""
        with tempfile.TemporaryDirectory(prefix="syncline-bench-") as folder:
            yield SqliteStorage(Path(folder))

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()

    def _read(self, statement: str) -> int:
        if self._connection is None:
            if not self._path.exists():
                return 0
            self._connection = sqlite3.connect(self._path, timeout=5)
        try:
            return int(self._connection.execute(statement).fetchone()[0])
        except sqlite3.OperationalError:  # the schema is being made
            return 0


class PostgresBench:
    """A database of its own on the source's server."""

    name = "PostgresWriter"

    def __init__(self, dsn: str, database: str = "buckets") -> None:
        self._dsn = dsn
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {database}".encode())
        self._own_dsn = dsn.rpartition("/")[0] + f"/{database}"
        self._connection = psycopg.connect(self._own_dsn, autocommit=True)
        self.settings: dict[str, Any] = {"type": "postgresql", "uri": self._own_dsn, "sslmode": "disable"}

    @property
    def has_version(self) -> bool:
        """Whether the service has begun to copy its source."""
        return self._read("SELECT count(*) FROM syncline.version") > 0

    @property
    def checkpoint_op(self) -> int:
        """The highest op id that is visible, 0 before the first checkpoint."""
        return self._read("SELECT coalesce(max(checkpoint_op), 0) FROM syncline.version")

    def puts(self) -> Iterator[Put]:
        """Every stored PUT in the order of the op ids."""
        with self._connection.transaction(), self._connection.cursor(name="puts") as cursor:
            cursor.itersize = FLUSH_ROWS_MAX
            cursor.execute(
                "SELECT bucket.name, object_type, object_id, op.checksum, subkey, data FROM syncline.op"
                " JOIN syncline.bucket ON bucket.id = op.bucket_id WHERE kind = 1 ORDER BY op_id"
            )
            yield from cursor

    @contextmanager
    def fresh(self) -> Generator[BucketStorage]:
        """Another database on the same server."""
        other = PostgresBench(self._dsn, "wall")
        other.close()
        yield PostgresStorage(other._own_dsn)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _read(self, statement: str) -> int:
        try:
            row = self._connection.execute(statement.encode()).fetchone()
        except psycopg.errors.UndefinedTable:  # the schema is being made
            return 0
        assert row is not None
        return int(row[0])


def _batches(storage: BenchStorage) -> list[FlushBatch]:
    batches: list[FlushBatch] = []
    batch = FlushBatch()
    for bucket, object_type, object_id, checksum, subkey, data in storage.puts():
        batch.ops.append(NewOp(bucket, OpType.PUT, object_type, object_id, checksum, subkey, data))
        key = urlsafe_b64decode(f"{subkey}==")
        batch.rows[1, key] = CurrentRow((Membership(bucket, object_type, object_id),), ())
        if len(batch.ops) >= FLUSH_ROWS_MAX:
            batches.append(batch)
            batch = FlushBatch()
    return [*batches, batch] if batch else batches
