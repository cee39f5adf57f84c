"""The first copy of a source: small rows and rows of 2 KB, beside what COPY alone takes and what the storage's writer alone takes."""

from __future__ import annotations

import time
from collections.abc import Generator

from bench.rig import BenchService, connect, cpu_seconds, fill, make_table, postgres, wait_until
from bench.storage_wall import append_again
from bench.table import Figure

__all__ = ["measure_snapshot", "run"]

LARGE_ROWS_SHARE = 0.15  # of the small ones: about the same time
LARGE_ROWS = """
INSERT INTO items SELECT
    gen_random_uuid()::text, 'bench', 'Item number ' || n,
    (SELECT string_agg(md5(n || '-' || part), '') FROM generate_series(1, 59) AS part), n, n %% 2 = 0, now()
FROM generate_series(1, %s) AS n
"""
"""Rows of about 2,000 bytes of text, which hardly compress and stay in their pages: from 2 KB on Postgres stores values out of line."""
BUDGETS = {"SqliteWriter": "60,000 rows/s", "PostgresWriter": "45,000 rows/s"}
BUDGET_LARGE = "60 MB/s"
LARGE_FROM_BYTES = 1000


def run(*, rows: int, storage: str = "sqlite") -> Generator[Figure]:
    """The figures for small rows, then for large ones; each with a server and a service of its own."""
    for is_large in (False, True):
        with postgres() as server, BenchService(server.dsn(), storage=storage) as service:
            make_table(server.dsn())
            count = max(1, int(rows * LARGE_ROWS_SHARE)) if is_large else rows
            with connect(server.dsn()) as connection:
                if is_large:
                    connection.execute(LARGE_ROWS, (count,))
                else:
                    fill(connection, count)
            yield from measure_snapshot("snapshot", server.dsn(), service, count)


def measure_snapshot(bench: str, dsn: str, service: BenchService, rows: int) -> Generator[Figure]:
    """The first copy of `items`, from the moment that it begins to the first visible checkpoint. The service is started for it."""
    size, wall_s = _copy_out(dsn)
    service.start(wait_ready=False)
    wait_until(lambda: service.buckets.has_version)
    started, cpu_s = time.perf_counter(), cpu_seconds(service.pid)
    wait_until(lambda: service.buckets.checkpoint_op >= rows)
    took_s, cpu_s = time.perf_counter() - started, cpu_seconds(service.pid) - cpu_s
    service.wait_ready()
    storage_s = append_again(service.buckets)
    name = service.buckets.name
    is_large = size // rows >= LARGE_FROM_BYTES
    what = f"snapshot of {rows:,} rows of {size // rows} B"
    alone = f"{name}.flush alone"
    budget, budget_large = ("", BUDGET_LARGE) if is_large else (BUDGETS[name], "")
    yield Figure(bench, what, rows / took_s, "rows/s", rows / wall_s, "COPY TO STDOUT", budget)
    yield Figure(bench, what, rows / took_s, "rows/s", rows / storage_s, alone)
    yield Figure(bench, what, size / took_s / 1e6, "MB/s", size / wall_s / 1e6, "COPY TO STDOUT", budget_large)
    yield Figure(bench, f"CPU of the service, {what}", cpu_s / rows * 1e6, "s per 1M rows", budget="15 s")


def _copy_out(dsn: str) -> tuple[int, float]:
    """Bytes of the table as COPY text, and the seconds that reading it takes."""
    with connect(dsn) as connection:
        connection.execute("VACUUM ANALYZE items")
        started = time.perf_counter()
        with connection.cursor().copy("COPY items TO STDOUT") as copy:
            size = sum(len(block) for block in copy)
        return size, time.perf_counter() - started
