"""How long changes stand still when something of the service or its databases is killed, stopped, cut off or restarted.

Each figure is the time from the fault to a row, written on the source after it, in a client's stream: leader, slot, storage, wake-up and
the client's new connection are in it. There is no wall: the budget is five seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psycopg

from bench.raw_stream import RawStream, new_session
from bench.rig import SYNC_CONFIG, BenchService, connect, make_table, wait_until
from bench.table import Figure
from syncline.embedded import EmbeddedPostgres
from syncline.testing.proxy import FaultyProxy
from syncline.testing.service_process import ServiceProcess

__all__ = ["run"]

BUDGET_S = 5.0
READER = "reader"  # the user whose rows are written
ROW_TIMEOUT_S = 60.0  # seconds after which a case counts as never healed
RETRY_S = 0.05  # seconds between two attempts of the client to connect
_INSERT = "INSERT INTO items VALUES (%s, %s, 't', 'b', 1, true, now())"


@dataclass(slots=True)
class _Rig:
    """Two servers, and two services over the same Postgres storage; the first one replicates."""

    source: EmbeddedPostgres
    storage: EmbeddedPostgres
    first: ServiceProcess
    second: ServiceProcess
    rows: int = 0

    def insert(self) -> bytes:
        """A new row; its id as it stands in the stream. Tries again while the source restarts."""
        self.rows += 1
        row_id = f"failover-{self.rows}"
        deadline_s = time.monotonic() + ROW_TIMEOUT_S
        while True:
            try:
                with connect(self.source.dsn()) as connection:
                    connection.execute(_INSERT, (row_id, READER))
                return f'"{row_id}"'.encode()
            except psycopg.OperationalError:
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(RETRY_S)

    def holds(self, node: ServiceProcess) -> bool:
        """Whether the lease is that node's."""
        with connect(self.storage.dsn()) as connection:
            row = connection.execute("SELECT holder FROM syncline.lease").fetchone()
        return row is not None and str(row[0]).endswith(f":{node.pid}")


def run() -> Generator[Figure]:
    """All cases, one after the other; each begins with two healthy nodes."""
    for name, fault in (
        ("the replicator's node is killed", _kill_first),
        ("the replicator's node is stopped (SIGSTOP)", _stop_first),
    ):
        with _pair() as rig:
            yield _figure(name, asyncio.run(_time_to_row(rig, [rig.second], lambda rig=rig, fault=fault: fault(rig))))
    yield _figure("the replicator's node is cut off (packets dropped)", asyncio.run(_cut_off()))
    with _pair() as rig:
        yield _figure(
            "the client's node is killed",
            asyncio.run(_time_to_row(rig, [rig.first, rig.second], lambda: rig.first.kill())),
        )
    for name in ("source", "storage"):
        with _pair() as rig:
            restart = getattr(rig, name).restart
            seconds = asyncio.run(_time_to_row(rig, [rig.first], restart))
            yield _figure(f"the {name} database is restarted", seconds, note="from before its stop")
    yield from _whole_tree()


def _figure(what: str, seconds: float, *, note: str = "") -> Figure:
    return Figure("failover", f"{what}: to the next row in a stream", seconds, "s", budget=f"{BUDGET_S:.0f}", note=note)


def _kill_first(rig: _Rig) -> None:
    rig.first.kill()


def _stop_first(rig: _Rig) -> None:
    os.kill(rig.first.pid, signal.SIGSTOP)


@contextmanager
def _pair(
    *, port_of_first: int | None = None, servers: tuple[EmbeddedPostgres, EmbeddedPostgres] | None = None
) -> Generator[_Rig]:
    """Two nodes that are ready. `port_of_first`: the first reaches its storage there, through a proxy."""
    with contextlib.ExitStack() as closing:
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="syncline-bench-")))
        source, storage = servers or (
            closing.enter_context(EmbeddedPostgres()),
            closing.enter_context(EmbeddedPostgres()),
        )
        make_table(source.dsn())
        nodes: list[ServiceProcess] = []
        for name, port in (("first", port_of_first), ("second", None)):
            dsn = storage.dsn() if port is None else storage.dsn().replace(str(storage.port), str(port))
            section = {"type": "postgresql", "uri": dsn, "sslmode": "disable"}
            node = ServiceProcess(folder / name, dsn=source.dsn(), sync_config=SYNC_CONFIG, storage=section)
            closing.callback(_end, node)
            node.start(timeout_s=ROW_TIMEOUT_S)
            nodes.append(node)
        nodes[1].wait_log("stands by", ROW_TIMEOUT_S)
        rig = _Rig(source, storage, nodes[0], nodes[1])
        assert rig.holds(rig.first)
        yield rig


def _end(node: ServiceProcess) -> None:
    if node.running:
        os.kill(node.pid, signal.SIGCONT)
        node.kill()


async def _time_to_row(rig: _Rig, nodes: list[ServiceProcess], fault: Callable[[], object]) -> float:
    """Seconds from the fault to a row in a stream; the client tries its `nodes` one after the other, the first one first."""
    async with new_session() as session:
        stream: RawStream | None = await _opened(RawStream(session, nodes[0], READER))
        attempt = 1
        await stream.line_with(b"checkpoint_complete")
        began_s = time.monotonic()
        await asyncio.to_thread(fault)
        row = await asyncio.to_thread(rig.insert)
        async with asyncio.timeout(ROW_TIMEOUT_S):
            while True:
                try:
                    if stream is None:
                        node = nodes[attempt % len(nodes)]
                        attempt += 1
                        stream = await _opened(RawStream(session, node, READER))
                    await stream.line_with(row)
                    return time.monotonic() - began_s
                except (OSError, aiohttp.ClientError):  # the node is gone, or has no storage at present
                    stream = None
                    await asyncio.sleep(RETRY_S)


async def _opened(stream: RawStream) -> RawStream:
    return await stream.__aenter__()


async def _cut_off() -> float:
    """The first node reaches its storage through a proxy that stops forwarding in both directions."""
    with EmbeddedPostgres() as source, EmbeddedPostgres() as storage:
        async with FaultyProxy("127.0.0.1", storage.port) as proxy, _pair_in_thread(proxy.port, source, storage) as rig:

            def fault() -> None:
                loop.call_soon_threadsafe(proxy.stall)

            loop = asyncio.get_running_loop()
            return await _time_to_row(rig, [rig.second], fault)


@asynccontextmanager
async def _pair_in_thread(port: int, source: EmbeddedPostgres, storage: EmbeddedPostgres) -> AsyncGenerator[_Rig]:
    """`_pair` beside the event loop, which the proxy needs meanwhile."""
    pair = _pair(port_of_first=port, servers=(source, storage))
    rig = await asyncio.to_thread(pair.__enter__)
    try:
        yield rig
    finally:
        await asyncio.to_thread(pair.__exit__, None, None, None)


def _whole_tree() -> Generator[Figure]:
    """Supervisor, replicator and a worker on SQLite storage: everything is killed and started again; then single children are killed."""
    with EmbeddedPostgres() as source, BenchService(source.dsn()) as service:
        make_table(source.dsn())
        service.workers = 1
        service.start()
        rig = _Rig(source, source, service, service)

        def kill_all_and_start() -> None:
            children = _children(service.pid)
            service.kill()
            for pid in children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            service.start()

        yield _figure(
            "every process is killed, and the service started",
            asyncio.run(_time_to_row(rig, [service], kill_all_and_start)),
        )
        for index, name in enumerate(("replicator", "worker")):
            wait_until(lambda: len(_children(service.pid)) == 2)

            def kill_one(index: int = index) -> None:
                os.kill(_children(service.pid)[index], signal.SIGKILL)

            yield _figure(f"the {name} process is killed", asyncio.run(_time_to_row(rig, [service], kill_one)))


def _children(pid: int) -> list[int]:
    """Child processes, oldest first."""
    return sorted(int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
