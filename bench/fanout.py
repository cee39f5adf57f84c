"""Many open streams: what they cost, what one user's change takes among them, and whether a client that reads nothing moves the others."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import psycopg

from bench.fanout_load import raise_file_limit
from bench.latency import connected_source, fan_out, sample
from bench.raw_stream import RawStream, new_session
from bench.rig import BenchService, connect, fill, make_table, postgres, resident_kib
from bench.table import Figure, percentile

__all__ = ["run"]

TOUCHED_STREAMS = 500  # users whose buckets one transaction touches
FAN_OUT_REPEATS = 5
PAIRS = 5  # of samples with and without clients that read nothing
PAIR_COMMITS = 300
STUCK_CLIENTS = 5
STUCK_ROWS = 20_000  # of each of them: more than all buffers between us hold


def run(*, streams: int, commits: int, storage: str = "sqlite") -> Generator[Figure]:
    """All figures with `streams` open streams of as many users; each asks for gzip, as the official SDKs do."""
    raise_file_limit()
    others = max(streams - TOUCHED_STREAMS, 0)
    touched = min(streams, TOUCHED_STREAMS)
    with postgres() as server, BenchService(server.dsn(), storage=storage, connections_max=streams + 100) as service:
        dsn = server.dsn()
        make_table(dsn)
        with connect(dsn) as connection:
            fill(connection, streams, owner="'user-' || n")
            for number in range(STUCK_CLIENTS):
                fill(connection, STUCK_ROWS, owner=f"'stuck-{number}'")
        service.start()
        idle_kib = resident_kib(service.pid)
        alone = asyncio.run(_alone(dsn, service, commits))
        with _load(service.port, others, touched + 1) as load:
            yield from asyncio.run(_among(dsn, service, touched, commits, alone, load, streams, idle_kib))
        yield from asyncio.run(_beside_stuck_clients(dsn, service))


async def _alone(dsn: str, service: BenchService, commits: int) -> list[float]:
    async with (
        new_session() as session,
        RawStream(session, service, "reader") as stream,
        connected_source(dsn) as source,
    ):
        await stream.line_with(b"checkpoint_complete")
        return [await sample(source, stream, f"alone-{n}") for n in range(commits)]


async def _among(
    dsn: str,
    service: BenchService,
    touched: int,
    commits: int,
    alone: list[float],
    load: Load,
    streams: int,
    idle_kib: int,
) -> list[Figure]:
    found: list[Figure] = []
    if load.streams:
        note = f"{load.streams:,} streams, one after the other by 64"
        found.append(
            Figure(
                "fanout",
                "streams opened, each to its first checkpoint",
                load.streams / load.seconds,
                "streams/s",
                note=note,
            )
        )
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(new_session(accept_encoding="gzip"))
        started = time.perf_counter()
        mine = [RawStream(session, service, f"user-{n}") for n in range(1, touched + 1)]
        await asyncio.gather(*(stack.enter_async_context(each) for each in mine))
        await asyncio.gather(*(each.line_with(b"checkpoint_complete") for each in mine))
        took_s = time.perf_counter() - started
        what = f"{touched} streams at once to their first checkpoint_complete"
        found.append(Figure("fanout", what, took_s, "s", budget="0.4 s", note="the client's own time is in it"))
        kib = resident_kib(service.pid)
        per_stream = (kib - idle_kib) / streams
        found.append(
            Figure(
                "fanout",
                f"memory of the service, {streams:,} open streams, gzip",
                kib / 1024,
                "MB",
                idle_kib / 1024,
                "before",
                "400 MB (10,000)",
                f"{per_stream:.1f} KiB a stream",
            )
        )
        reader = await stack.enter_async_context(RawStream(session, service, "reader"))
        source = await stack.enter_async_context(connected_source(dsn))
        await reader.line_with(b"checkpoint_complete")
        among = [await sample(source, reader, f"among-{n}") for n in range(commits)]
        for percent in (50, 95):
            what = f"one user's change among {streams:,} open streams, p{percent}"
            budget = "p50 8 ms (500), 15 ms (10,000)"
            found.append(
                Figure(
                    "fanout",
                    what,
                    percentile(among, percent),
                    "ms",
                    percentile(alone, percent),
                    "one stream",
                    budget,
                    f"{commits} commits",
                )
            )
        times = [await fan_out(source, mine, f"all-{n}") for n in range(FAN_OUT_REPEATS)]
        what = f"one transaction to {touched} users' streams among {streams:,}, median"
        found.append(Figure("fanout", what, percentile(times, 50), "ms", budget="100 ms (500 streams)"))
    return found


async def _beside_stuck_clients(dsn: str, service: BenchService) -> list[Figure]:
    """Pairs of samples: without, then with clients that asked for a large download and read nothing of it."""
    ratios: list[float] = []
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(new_session())
        reader = await stack.enter_async_context(RawStream(session, service, "reader"))
        source = await stack.enter_async_context(connected_source(dsn))
        await reader.line_with(b"checkpoint_complete")
        for pair in range(PAIRS):
            without = await _p99(source, reader, f"without-{pair}")
            async with AsyncExitStack() as stuck:
                for number in range(STUCK_CLIENTS):
                    await stuck.enter_async_context(RawStream(session, service, f"stuck-{number}", reads=False))
                ratios.append(await _p99(source, reader, f"with-{pair}") / without)
    what = f"p99 of one user's change with {STUCK_CLIENTS} clients that read nothing, over without"
    note = f"median of {PAIRS} interleaved pairs: {', '.join(f'{ratio:.2f}' for ratio in ratios)}"
    return [Figure("fanout", what, statistics.median(ratios), "times", budget="1.5 times", note=note)]


async def _p99(source: psycopg.AsyncConnection, reader: RawStream, mark: str) -> float:
    return percentile([await sample(source, reader, f"{mark}-{n}") for n in range(PAIR_COMMITS)], 99)


class Load:
    """Open streams in a process of their own."""

    def __init__(self, streams: int, seconds: float) -> None:
        self.streams, self.seconds = streams, seconds


@contextmanager
def _load(port: int, streams: int, first: int) -> Generator[Load]:
    if not streams:
        yield Load(0, 0)
        return
    command = [sys.executable, "-m", "bench.fanout_load", str(port), str(streams), str(first), "gzip"]
    folder = Path(__file__).parent.parent
    with subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            told = process.stdout.readline().split()
            assert told[:1] == ["open"], f"the streams could not be opened: {told}"
            yield Load(streams, float(told[1]))
        finally:
            process.stdin.close()
            process.wait(30)
