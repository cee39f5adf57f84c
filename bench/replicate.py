"""From the source into bucket storage: the first copy, large transactions, one-row transactions, and what they cost in CPU."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager

from bench.rig import BenchService, connect, cpu_seconds, fill, make_table, postgres, wait_until
from bench.snapshot import measure_snapshot
from bench.table import Figure
from bench.walsender import BareWalsender

__all__ = ["run"]

ONE_ROW_TRANSACTIONS = """
DO $$ BEGIN
  FOR n IN 1..{count} LOOP
    INSERT INTO items VALUES (gen_random_uuid()::text, 'bench', 'one', 'row', n, true, now());
    COMMIT;
  END LOOP;
END $$
"""


def run(*, rows: int, transaction_rows: int, transactions: int, storage: str = "sqlite") -> Generator[Figure]:
    """All figures of replication. `rows` are copied; the transactions come after."""
    with postgres() as server, BenchService(server.dsn(), storage=storage) as service:
        make_table(server.dsn())
        with connect(server.dsn()) as connection:
            fill(connection, rows)
        yield from measure_snapshot("replicate", server.dsn(), service, rows)
        with connect(server.dsn()) as connection:
            with _streamed(server.dsn(), service, f"insert {transaction_rows:,} rows", transaction_rows) as figures:
                fill(connection, transaction_rows, start=rows + 1, owner="'second'")
            yield from figures
            with _streamed(server.dsn(), service, f"update {transaction_rows:,} rows", transaction_rows) as figures:
                connection.execute("UPDATE items SET amount = amount + 1 WHERE owner_id = 'second'")
            yield from figures
            what = "one-row transactions"
            with _streamed(server.dsn(), service, what, transactions, commits=transactions) as figures:
                connection.execute(ONE_ROW_TRANSACTIONS.format(count=transactions).encode())
            yield from figures


@contextmanager
def _streamed(dsn: str, service: BenchService, what: str, rows: int, *, commits: int = 1) -> Generator[list[Figure]]:
    """Time what the block does, from its end (from its beginning where it is many commits) to the visible checkpoint."""
    figures: list[Figure] = []
    with BareWalsender(dsn, slot="bench_wall") as wall:
        target = service.buckets.checkpoint_op + rows
        cpu_s, started = cpu_seconds(service.pid), time.perf_counter()
        yield figures
        if commits == 1:
            started = time.perf_counter()
        wait_until(lambda: service.buckets.checkpoint_op >= target, interval_s=0.002)
        took_s, cpu_s = time.perf_counter() - started, cpu_seconds(service.pid) - cpu_s
        started = time.perf_counter()
        wall.start()
        wall_s = wall.drain_commits(commits) - started
    assert wall.received == rows, f"the walsender sent {wall.received} rows of {rows}"
    unit, budget = ("tx/s", "10,000 tx/s") if commits > 1 else ("rows/s", "40,000 / 25,000 rows/s")
    figures.append(Figure("replicate", what, rows / took_s, unit, rows / wall_s, "bare walsender", budget))
    figures.append(
        Figure("replicate", f"CPU of the service, {what}", cpu_s / rows * 1e6, "s per 1M rows", budget="15 s")
    )
