"""From COMMIT in the source to the row in an open stream: alone, among idle streams, and to all streams at once.

The clock starts before COMMIT is sent, for us and for the baseline alike.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager

import psycopg

from bench.raw_stream import RawStream, new_session
from bench.rig import BenchService, fill, make_table, postgres
from bench.rig import connect as connect_source
from bench.socket_streams import SocketStreams
from bench.table import Figure, percentile
from bench.walsender import BareWalsender

__all__ = ["connected_source", "fan_out", "fan_out_baseline", "run", "sample"]

PERCENTILES = (50, 95, 99)
FAN_OUT_REPEATS = 5
_INSERT = b"INSERT INTO items VALUES (%s, %s, 'a title', 'a body', 1, true, now())"
_INSERT_ALL = (
    b"INSERT INTO items SELECT %s || n, 'user-' || n, 'a title', 'a body', 1, true, now()"
    b" FROM generate_series(1, %s::int) AS n"
)


def run(*, commits: int, streams: int, storage: str = "sqlite") -> Generator[Figure]:
    """`commits` samples with one stream, the same among `streams` others, and one transaction for all of them."""
    with postgres() as server, BenchService(server.dsn(), storage=storage) as service:
        dsn = server.dsn()
        make_table(dsn)
        with connect_source(dsn) as connection:
            fill(connection, streams, owner="'user-' || n")
        service.start()
        baseline = _baseline(dsn, commits)
        yield from _figures("one stream", asyncio.run(_measure(dsn, service, commits)), baseline, "p50 5 ms, p95 12 ms")
        among, fan_out = asyncio.run(_measure_among(dsn, service, commits, streams))
        yield from _figures(f"among {streams} idle streams", among, baseline, "p50 8 ms (500 streams)")
        all_ms = percentile(fan_out, 50)
        what = f"one transaction to all {streams} streams, median"
        wall_ms = percentile(fan_out_baseline(dsn, streams), 50)
        wall_is = f"bare walsender, {streams} rows"
        yield Figure("latency", what, all_ms, "ms", wall_ms, wall_is, "100 ms (500 streams)")


def _figures(what: str, ours: list[float], baseline: dict[int, float], budget: str) -> Generator[Figure]:
    for percent in PERCENTILES:
        value = percentile(ours, percent)
        note = f"{len(ours)} commits"
        yield Figure("latency", f"{what}, p{percent}", value, "ms", baseline[percent], "bare walsender", budget, note)


def _baseline(dsn: str, commits: int) -> dict[int, float]:
    """COMMIT to the commit message of the bare walsender, in ms per percentile."""
    times_ms: list[float] = []
    with BareWalsender(dsn) as wall, connect_source(dsn) as connection:
        wall.start()
        for n in range(commits):
            connection.execute("BEGIN")
            connection.execute(_INSERT, (f"baseline-{n}", "nobody"))
            started = time.perf_counter()
            connection.execute("COMMIT")
            times_ms.append((wall.drain_commits(1) - started) * 1000)
        assert wall.received == commits, "each commit came with its row"
    return {percent: percentile(times_ms, percent) for percent in PERCENTILES}


def fan_out_baseline(dsn: str, rows: int) -> list[float]:
    """COMMIT of a transaction of `rows` rows to the end of it from the bare walsender, in ms."""
    times_ms: list[float] = []
    with BareWalsender(dsn) as wall, connect_source(dsn) as connection:
        wall.start()
        for n in range(FAN_OUT_REPEATS):
            connection.execute("BEGIN")
            connection.execute(_INSERT_ALL, (f"baseline-all-{n}-", rows))
            started = time.perf_counter()
            connection.execute("COMMIT")
            times_ms.append((wall.drain_commits(1) - started) * 1000)
    return times_ms


async def _measure(dsn: str, service: BenchService, commits: int) -> list[float]:
    async with (
        new_session() as session,
        RawStream(session, service, "reader") as stream,
        connected_source(dsn) as source,
    ):
        await stream.line_with(b"checkpoint_complete")
        return [await sample(source, stream, f"alone-{n}") for n in range(commits)]


async def _measure_among(
    dsn: str, service: BenchService, commits: int, streams: int
) -> tuple[list[float], list[float]]:
    """Samples among idle streams, then the time until all of those have a row of one transaction."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(new_session())
        others = stack.enter_context(SocketStreams(service.port, [f"user-{n}" for n in range(1, streams + 1)]))
        others.open()
        stream = await stack.enter_async_context(RawStream(session, service, "reader"))
        source = await stack.enter_async_context(connected_source(dsn))
        await stream.line_with(b"checkpoint_complete")
        among = [await sample(source, stream, f"among-{n}") for n in range(commits)]
        return among, [fan_out(dsn, others, streams, f"all-{n}") for n in range(FAN_OUT_REPEATS)]


async def sample(source: psycopg.AsyncConnection, stream: RawStream, row_id: str) -> float:
    """Milliseconds from COMMIT to the row in the stream of `reader`."""
    await source.execute("BEGIN")
    await source.execute(_INSERT, (row_id, "reader"))
    started = time.perf_counter()
    committing = asyncio.create_task(source.execute("COMMIT"))
    await stream.line_with(f'"{row_id}"'.encode())
    took_ms = (time.perf_counter() - started) * 1000
    await committing
    await stream.line_with(b"checkpoint_complete")
    return took_ms


def fan_out(dsn: str, streams: SocketStreams, count: int, mark: str) -> float:
    """Milliseconds from the COMMIT of a transaction with a row for each of `count` streams, of `user-1` and on, until all have theirs."""
    with connect_source(dsn) as source:
        source.execute("BEGIN")
        source.execute(_INSERT_ALL, (f"{mark}-", count))
        return streams.fan_out(lambda: source.execute("COMMIT"), f'"{mark}-'.encode())


@asynccontextmanager
async def connected_source(dsn: str) -> AsyncGenerator[psycopg.AsyncConnection]:
    """A connection to the source."""
    connection = await psycopg.AsyncConnection.connect(dsn, autocommit=True)
    try:
        yield connection
    finally:
        await connection.close()
