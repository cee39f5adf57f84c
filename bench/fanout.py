"""Many open streams: what they cost, what one user's change takes among them, and whether bad neighbours move the others."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Generator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

from bench import bare_app, neighbours
from bench.fanout_load import raise_file_limit
from bench.latency import connected_source, fan_out, fan_out_baseline, sample
from bench.raw_stream import RawStream, new_session
from bench.rig import BenchService, connect, fill, make_table, postgres, resident_kib
from bench.socket_streams import SocketStreams
from bench.table import Figure, percentile

__all__ = ["run"]

TOUCHED_STREAMS = 500  # users whose buckets one transaction touches
FAN_OUT_REPEATS = 5
OPEN_REPEATS = 5


def run(*, streams: int, commits: int, rows: int, storage: str = "sqlite") -> Generator[Figure]:
    """All figures with `streams` open streams of as many users; each asks for gzip, as the official SDKs do. `rows`: see `neighbours`."""
    raise_file_limit()
    others = max(streams - TOUCHED_STREAMS, 0)
    touched = min(streams, TOUCHED_STREAMS)
    with postgres() as server, BenchService(server.dsn(), storage=storage, connections_max=streams + 100) as service:
        dsn = server.dsn()
        make_table(dsn)
        with connect(dsn) as connection:
            fill(connection, streams, owner="'user-' || n")
            neighbours.fill_tables(connection, rows)
        service.start()
        idle_kib = resident_kib(service.pid)
        alone = asyncio.run(_alone(dsn, service, commits))
        with _load(service.port, others, touched + 1) as load:
            yield from asyncio.run(_among(dsn, service, touched, commits, alone, load, streams, idle_kib))
        yield from asyncio.run(neighbours.run(dsn, service, rows))


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
        mine, opened = _opened_at_once(stack, service, touched)
        found.append(opened)
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
        times = [fan_out(dsn, mine, touched, f"all-{n}") for n in range(FAN_OUT_REPEATS)]
        wall_ms = percentile(fan_out_baseline(dsn, touched), 50)
        wall_is = f"bare walsender, {touched} rows"
        what = f"one transaction to {touched} users' streams among {streams:,}, median"
        found.append(Figure("fanout", what, percentile(times, 50), "ms", wall_ms, wall_is, "100 ms (500 streams)"))
    return found


def _opened_at_once(stack: AsyncExitStack, service: BenchService, touched: int) -> tuple[SocketStreams, Figure]:
    """Streams of `user-1` and on, left open; and how long they took, in turn with an HTTP server that says as much and knows nothing."""
    users = [f"user-{n}" for n in range(1, touched + 1)]
    with SocketStreams(service.port, users[:1]) as one:
        _, body = one.download(b"checkpoint_complete")
    times: list[tuple[float, float]] = []
    with bare_app.serving(body) as bare_port:
        for _ in range(OPEN_REPEATS):
            with SocketStreams(bare_port, users) as bare:
                bare_s = bare.open()
            with SocketStreams(service.port, users, encoding="gzip") as ours:
                times.append((ours.open(), bare_s))
    mine = stack.enter_context(SocketStreams(service.port, users, encoding="gzip"))
    mine.open()
    took_s, bare_s = sorted(times)[len(times) // 2]
    what = f"{touched} streams at once to their first checkpoint_complete, median of {OPEN_REPEATS}"
    return mine, Figure("fanout", what, took_s, "s", bare_s, "bare uvicorn, the same bytes", "0.4 s")


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
