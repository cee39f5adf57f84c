"""Bad neighbours of one user: clients that read nothing, clients that read one byte a second, a tenant that downloads very many rows.

Each is a median of interleaved pairs: the p99 of the user's changes with them, over the p99 without, on the same machine and minute.
"""

from __future__ import annotations

import asyncio
import socket
import statistics
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg

from bench.latency import connected_source, sample
from bench.raw_stream import RawStream, new_session
from bench.rig import BenchService, fill, token
from bench.socket_streams import SocketStreams
from bench.table import Figure, percentile

__all__ = ["fill_tables", "main", "run"]

PAIRS = 5  # of samples with and without them
PAIR_COMMITS = 1000
STUCK_CLIENTS = 5
STUCK_ROWS = 20_000  # of each of them: more than all buffers between us hold
TRICKLE_S = 1.0  # seconds between two bytes that a slow client reads
TENANT = "tenant"
_COMPLETE = b"checkpoint_complete"
_BODY = b'{"raw_data":true}'


def fill_tables(connection: psycopg.Connection[tuple[Any, ...]], tenant_rows: int) -> None:
    """Rows for all of them."""
    for number in range(STUCK_CLIENTS):
        fill(connection, STUCK_ROWS, owner=f"'stuck-{number}'")
    fill(connection, tenant_rows, owner=f"'{TENANT}'")


async def run(dsn: str, service: BenchService, tenant_rows: int) -> list[Figure]:
    """A figure for each kind."""
    kinds: dict[str, Callable[[], AbstractAsyncContextManager[None]]] = {
        f"{STUCK_CLIENTS} clients that read nothing": lambda: _stuck(service),
        f"{STUCK_CLIENTS} clients that read one byte a second": lambda: _trickling(service),
        f"a tenant that downloads {tenant_rows:,} rows over and over": lambda: _downloading(service),
    }
    figures: list[Figure] = []
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(new_session())
        reader = await stack.enter_async_context(RawStream(session, service, "reader"))
        source = await stack.enter_async_context(connected_source(dsn))
        await reader.line_with(_COMPLETE)
        for index, (kind, neighbours) in enumerate(kinds.items()):
            ratios: list[float] = []
            for pair in range(PAIRS):
                without = await _p99(source, reader, f"without-{index}-{pair}")
                async with neighbours():
                    ratios.append(await _p99(source, reader, f"with-{index}-{pair}") / without)
            what = f"p99 of one user's change with {kind}, over without"
            note = f"median of {PAIRS} interleaved pairs: {', '.join(f'{ratio:.2f}' for ratio in ratios)}"
            figures.append(Figure("fanout", what, statistics.median(ratios), "times", budget="1.5 times", note=note))
    return figures


async def _p99(source: psycopg.AsyncConnection, reader: RawStream, mark: str) -> float:
    return percentile([await sample(source, reader, f"{mark}-{n}") for n in range(PAIR_COMMITS)], 99)


@asynccontextmanager
async def _stuck(service: BenchService) -> AsyncGenerator[None]:
    async with AsyncExitStack() as stuck, new_session() as session:
        for number in range(STUCK_CLIENTS):
            await stuck.enter_async_context(RawStream(session, service, f"stuck-{number}", reads=False))
        yield


@asynccontextmanager
async def _trickling(service: BenchService) -> AsyncGenerator[None]:
    readers = [asyncio.create_task(_trickle(service.port, f"stuck-{number}")) for number in range(STUCK_CLIENTS)]
    try:
        yield
    finally:
        for reader in readers:
            reader.cancel()
        await asyncio.wait(readers)


async def _trickle(port: int, user_id: str) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        await loop.sock_connect(connection, ("127.0.0.1", port))
        head = f"POST /sync/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Token {token(user_id)}\r\n"
        await loop.sock_sendall(connection, f"{head}Content-Length: {len(_BODY)}\r\n\r\n".encode() + _BODY)
        while await loop.sock_recv(connection, 1):  # noqa: ASYNC110 - the clock is what it waits for
            await asyncio.sleep(TRICKLE_S)


@asynccontextmanager
async def _downloading(service: BenchService) -> AsyncGenerator[None]:
    """In a process of its own, which has a core to itself where there are three."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "bench.neighbours", str(service.port)),
        cwd=Path(__file__).parent.parent,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        await process.stdout.readline()
        yield
    finally:
        process.terminate()
        await process.wait()


def main() -> None:
    """`python -m bench.neighbours PORT`: download everything of the tenant, again and again. Says so when it begins."""
    print("downloading", flush=True)
    while True:
        with SocketStreams(int(sys.argv[1]), [TENANT]) as stream:
            stream.open(_COMPLETE)


if __name__ == "__main__":
    main()
