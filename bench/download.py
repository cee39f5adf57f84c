"""The first download of a user's rows: by a client that only reads, and by our own client, end to end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator

import orjson

from bench import bare_app
from bench.client_sync import first_sync
from bench.rig import BenchService, connect, cpu_seconds, fill, make_table, postgres
from bench.socket_streams import SocketStreams
from bench.table import Figure

__all__ = ["run"]

FORMATS = {
    "NDJSON": ("application/x-ndjson", b'"op_id":"', "300,000 ops/s"),
    "BSON": ("application/vnd.powersync.bson-stream", b"\x02op_id\0", "250,000 ops/s"),
}
"""By name: what is asked for, what stands once in each operation (`last_op_id` does not begin like this), the budget."""
REPEATS = 3  # the best of these: the machine is shared


def run(*, rows: int, storage: str = "sqlite") -> Generator[Figure]:
    """All figures of a first download of `rows` rows."""
    with postgres() as server, BenchService(server.dsn(), storage=storage) as service:
        make_table(server.dsn())
        with connect(server.dsn()) as connection:
            fill(connection, rows)
        service.start()
        best = dict.fromkeys(FORMATS, 0.0)
        for name in FORMATS:
            for figure in _format(service, name, rows):
                best[name] = max(best[name], figure.value if figure.unit == "ops/s" else 0.0)
                yield figure
        sync_s = min(asyncio.run(first_sync(service, rows)) for _ in range(2))
        budget = "100,000 rows/s"
        what = "our Python client, first sync"
        yield Figure("download", what, rows / sync_s, "rows/s", best["NDJSON"], "raw client", budget)


def _format(service: BenchService, name: str, rows: int) -> Generator[Figure]:
    """The figures of one format."""
    accept, mark, budget = FORMATS[name]
    cpu_s = cpu_seconds(service.pid)
    downloads = [_download(service.port, accept) for _ in range(REPEATS)]
    cpu_s = (cpu_seconds(service.pid) - cpu_s) / REPEATS
    body = downloads[0][1]
    took_s = min(seconds for seconds, _ in downloads)
    ops = body.count(mark)
    assert ops == rows, f"{ops} operations came for {rows} rows"
    what = f"{name}, {ops:,} ops"
    bare_s = _bare_server(body)
    size = len(body) / 1e6
    yield Figure("download", what, ops / took_s, "ops/s", ops / bare_s, "bare uvicorn", budget)
    yield Figure("download", what, size / took_s, "MB/s", size / bare_s, "bare uvicorn")
    if name == "NDJSON":
        yield Figure("download", what, ops / took_s, "ops/s", ops / _encode(body), "orjson encode alone")
    yield Figure("download", f"CPU of the service, {what}", cpu_s / ops * 1e6, "s per 1M ops")


def _download(port: int, accept: str) -> tuple[float, bytes]:
    """Seconds from the request to the end of the first checkpoint, and what came."""
    with SocketStreams(port, ["bench"], accept=accept) as streams:
        return streams.download(b"checkpoint_complete")


def _bare_server(body: bytes) -> float:
    """Seconds for the same bytes from an app that only sends them."""
    with bare_app.serving(body) as port:
        return min(_download(port, "*/*")[0] for _ in range(REPEATS))


def _encode(body: bytes) -> float:
    """Seconds to encode the same lines from objects."""
    lines = [orjson.loads(line) for line in body.splitlines() if line.strip()]
    started = time.perf_counter()
    for line in lines:
        orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
    return time.perf_counter() - started
