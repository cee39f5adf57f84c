"""What every bench needs: a Postgres of its own, tables of a known size, and the service as a process of its own."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from bench.storage_wall import open_bench_storage
from syncline.embedded import EmbeddedPostgres
from syncline.testing.service_process import ServiceProcess, free_port, token

__all__ = [
    "SYNC_CONFIG",
    "BenchService",
    "connect",
    "cpu_seconds",
    "fill",
    "free_port",
    "make_table",
    "postgres",
    "resident_kib",
    "token",
    "wait_until",
]

START_TIMEOUT_S = 120.0  # seconds until the service serves: the copy of the source is in it

SYNC_CONFIG = """\
config:
  edition: 3
streams:
  mine:
    auto_subscribe: true
    query: SELECT * FROM items WHERE owner_id = auth.user_id()
"""

TABLE = """
CREATE TABLE items (
    id text PRIMARY KEY, owner_id text NOT NULL, title text NOT NULL, body text NOT NULL,
    amount integer NOT NULL, done boolean NOT NULL, created_at timestamptz NOT NULL
);
CREATE PUBLICATION powersync FOR ALL TABLES;
"""
INSERT = """
INSERT INTO items SELECT
    gen_random_uuid()::text, {owner}, 'Item number ' || n, repeat(md5(n::text), 4), n, n %% 2 = 0, now()
FROM generate_series(%s::bigint, %s::bigint) AS n
"""
"""Rows of about 240 bytes of text."""


@contextmanager
def postgres() -> Generator[EmbeddedPostgres]:
    """A server for one bench, with room for its log. No fsync: the disk of the day is not what is measured."""
    with EmbeddedPostgres(settings={"shared_buffers": "256MB", "max_wal_size": "4GB"}) as server:
        yield server


def connect(dsn: str) -> psycopg.Connection[tuple[Any, ...]]:
    """An autocommit connection."""
    return psycopg.connect(dsn, autocommit=True)


def make_table(dsn: str) -> None:
    """The table `items` and the publication."""
    with connect(dsn) as connection:
        connection.execute(TABLE.encode())


def fill(connection: psycopg.Connection[tuple[Any, ...]], rows: int, *, start: int = 1, owner: str = "'bench'") -> None:
    """Insert rows in one statement. `owner` is an SQL expression of `n`, the row's number."""
    connection.execute(INSERT.format(owner=owner).encode(), (start, start + rows - 1))


def wait_until(condition: Callable[[], bool], *, timeout_s: float = START_TIMEOUT_S, interval_s: float = 0.005) -> None:
    """Return when `condition()` holds. Raises TimeoutError."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the bench waited too long")
        time.sleep(interval_s)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_kib(pid: int) -> int:
    """Memory that a process holds, in KiB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


class BenchService(ServiceProcess):
    """`syncline start` over one database, in a folder of its own that is deleted at the end. Entering does not start it.

    `storage` names where its buckets are, of `STORAGES`.
    """

    def __init__(
        self, dsn: str, *, sync_config: str = SYNC_CONFIG, connections_max: int = 2000, storage: str = "sqlite"
    ) -> None:
        folder = Path(tempfile.mkdtemp(prefix="syncline-bench-"))
        limits = {"parameters": {"max_concurrent_connections": connections_max}}
        self.buckets = open_bench_storage(storage, folder / "storage", dsn)
        super().__init__(folder, dsn=dsn, sync_config=sync_config, api=limits, storage=self.buckets.settings)

    def start(self, *, wait_ready: bool = True, timeout_s: float = START_TIMEOUT_S) -> None:
        """Start; by default return when streams are served."""
        super().start(wait_ready=wait_ready, timeout_s=timeout_s)

    def __enter__(self) -> BenchService:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.buckets.close()
        shutil.rmtree(self.folder, ignore_errors=True)
