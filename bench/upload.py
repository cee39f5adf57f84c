"""Client transactions through the write API into Postgres: each a database transaction of its own, with its verdict in it, on disk.

The wall is what the database does for one psycopg pipeline of as many plain commits, and for as many such pipelines as the backend has
connections: commits of several connections share a write to the disk.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import psycopg

from bench import upload_app
from bench.rig import connect, cpu_seconds, make_table
from bench.table import Figure, percentile
from syncline.backend.limits import POOL_CONNECTIONS_MAX
from syncline.embedded import EmbeddedPostgres
from syncline.protocol.crud import TRANSACTIONS_MAX

__all__ = ["run"]

DEVICES = 16  # at the same time
SINGLES_SHARE = 5  # one transaction per request is measured with so much fewer of them
_INSERT = b"INSERT INTO items VALUES (%s, %s, %s, %s, %s, true, now())"
_WORDS = "text " * 32


def run(*, transactions: int) -> Generator[Figure]:
    """`transactions` in batches of 50, a part of them one by one, and the walls of the same run. The server syncs to disk."""
    settings = {"shared_buffers": "256MB", "max_wal_size": "4GB"}
    with EmbeddedPostgres(durable=True, settings=settings) as server:
        dsn = server.dsn()
        make_table(dsn)
        with upload_app.serving(dsn) as (url, pid):
            _load(url, 2, 1, TRANSACTIONS_MAX, "warm")  # the table's columns are read, statements are prepared
            batches = max(1, transactions // (DEVICES * TRANSACTIONS_MAX))
            yield from _figures(dsn, url, pid, "in batches of 50", batches, TRANSACTIONS_MAX)
            singles = max(1, transactions // (DEVICES * SINGLES_SHARE))
            yield from _figures(dsn, url, pid, "one per request", singles, 1)


def _figures(dsn: str, url: str, pid: int, what: str, batches: int, size: int) -> Generator[Figure]:
    """What a load does, beside walls that were measured half before and half after it: a disk has moods."""
    count = DEVICES * batches * size
    walls = _walls(dsn, count // 2, f"{size}-before")
    cpu_before = cpu_seconds(pid)
    report = _load(url, DEVICES, batches, size, f"d{size}")
    cpu_us = (cpu_seconds(pid) - cpu_before) / count * 1e6
    after = _walls(dsn, count // 2, f"{size}-after")
    one, several = ((before + later) / 2 for before, later in zip(walls, after, strict=True))
    with connect(dsn) as connection:
        rows = connection.execute("SELECT count(*) FROM items WHERE id LIKE %s", (f"d{size}-%",)).fetchone()
        verdicts = connection.execute(
            "SELECT count(*) FROM syncline_uploads WHERE client_id LIKE %s", (f"d{size}-%",)
        ).fetchone()
    assert rows == (count,), rows
    assert verdicts is not None
    rate = count / report["seconds"]
    budget = "5,000 tx/s" if size == TRANSACTIONS_MAX else ""
    note = f"{count:,} transactions of {DEVICES} devices; {cpu_us:.0f} us of the backend's CPU each"
    yield Figure("upload", f"transactions {what}", rate, "tx/s", one, "one pipeline of plain commits", budget, note)
    wall_is = f"{POOL_CONNECTIONS_MAX} pipelines of plain commits"
    yield Figure("upload", f"transactions {what}", rate, "tx/s", several, wall_is, budget, note)
    p50, p99 = percentile(report["milliseconds"], 50), percentile(report["milliseconds"], 99)
    yield Figure("upload", f"a request {what}, p50", p50, "ms", note=f"p99 {p99:.1f} ms")


def _load(url: str, devices: int, batches: int, size: int, mark: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.upload_load", url, str(devices), str(batches), str(size), mark]
    done = subprocess.run(command, cwd=Path(__file__).parent.parent, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def _walls(dsn: str, transactions: int, mark: str) -> tuple[float, float]:
    """Plain commits per second of one pipeline, and of as many as the backend has connections."""
    one = asyncio.run(_plain_commits(dsn, 1, transactions // 2, mark))
    return one, asyncio.run(_plain_commits(dsn, POOL_CONNECTIONS_MAX, transactions, mark))


async def _plain_commits(dsn: str, pipelines: int, transactions: int, mark: str) -> float:
    """Commits per second of transactions with one inserted row, through psycopg pipelines of 50."""
    connections = [await psycopg.AsyncConnection.connect(dsn, autocommit=True) for _ in range(pipelines)]
    try:
        share = transactions // pipelines
        started = time.perf_counter()
        await asyncio.gather(
            *(_pipeline(connection, f"{mark}-{pipelines}-{n}", share) for n, connection in enumerate(connections))
        )
        return share * pipelines / (time.perf_counter() - started)
    finally:
        for connection in connections:
            await connection.close()


async def _pipeline(connection: psycopg.AsyncConnection, mark: str, transactions: int) -> None:
    for start in range(0, transactions, TRANSACTIONS_MAX):
        async with connection.pipeline() as pipeline:
            for n in range(start, min(start + TRANSACTIONS_MAX, transactions)):
                await connection.execute(_INSERT, (f"plain-{mark}-{n}", "nobody", f"Item number {n}", _WORDS, n))
                await pipeline.sync()
