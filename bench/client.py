"""The Python client: first sync of many rows, local writes through a view, watches, and what the app's event loop feels of it.

The client runs in a process of its own. Its walls are measured in the same run: what SQLite alone takes to store and apply the same
rows, and to insert and update the same rows without views and triggers. On a machine that is shared look at the notes: speeds by the CPU
time that was taken.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import apsw

from bench.client_app import COLUMNS
from bench.rig import BenchService, connect, fill, make_table, postgres, token
from bench.table import Figure, percentile
from syncline.client.local import layout
from syncline.client.local.connection import open_writer, write_transaction
from syncline.client.schema import Column, Schema, Table

__all__ = ["run"]

FOLDER = Path(__file__).parent.parent
REPEATS = 2  # the best of these: the machine is shared
LINES_PER_COMMIT = 13  # lines of 1,000 operations that come while the last ones are written
MIB = 1 << 20


def run(*, rows: int, storage: str = "sqlite") -> Generator[Figure]:
    """All figures; `rows` are synced, inserted and updated."""
    yield from _local(rows)
    with postgres() as server, BenchService(server.dsn(), storage=storage) as service:
        make_table(server.dsn())
        with connect(server.dsn()) as connection:
            fill(connection, rows)
        service.start()
        for transport in ("http", "websocket"):
            yield from _first_sync(service, rows, transport)


def _first_sync(service: BenchService, rows: int, transport: str) -> Generator[Figure]:
    options = {"url": service.base_url, "token": token("bench"), "rows": rows, "transport": transport}
    runs = [_app("sync", options) for _ in range(REPEATS)]
    best: dict[str, Any] = min(runs, key=lambda result: result["took_s"])
    name = "HTTP" if transport == "http" else "WebSocket"
    wall_s, wall_cpu_s = min(_store_and_apply(rows) for _ in range(REPEATS))
    speed, wall = rows / best["took_s"], rows / wall_s
    what = f"first sync of {rows:,} rows, {name}"
    note = _by_cpu(rows, min(result["cpu_s"] for result in runs), wall_cpu_s)
    yield Figure("client", what, speed, "rows/s", wall, "SQLite alone, without network", "100,000 rows/s", note)
    late = min(result["late_p999_s"] for result in runs) * 1000
    note = f"p50 {best['late_p50_s'] * 1000:.2f} ms, at most {best['late_max_s'] * 1000:.0f} ms"
    yield Figure("client", f"{what}: 1 ms ticker late, p99.9", late, "ms", budget="20 ms", note=note)
    memory = best["memory"] / MIB
    note = f"{best['memory_before'] / MIB:.0f} MB before"
    yield Figure("client", f"{what}: memory", memory, "MB", budget="150 MB", note=note)


def _local(rows: int) -> Generator[Figure]:
    results = [_app("local", {"rows": rows}) for _ in range(REPEATS)]
    walls = [_insert_and_update(rows) for _ in range(REPEATS)]
    for number, (what, budget) in enumerate((("insert", "100,000 rows/s"), ("update", "80,000 rows/s"))):
        value = rows / min(result[f"{what}_s"] for result in results)
        wall_s, wall_cpu_s = min(wall[number] for wall in walls)
        title = f"local {what} through a view, one transaction"
        note = _by_cpu(rows, min(result[f"{what}_cpu_s"] for result in results), wall_cpu_s)
        yield Figure("client", title, value, "rows/s", rows / wall_s, "the same in a plain table of JSON", budget, note)
    samples = min((result["watch_s"] for result in results), key=lambda found: percentile(found, 50))
    note = f"p95 {percentile(samples, 95) * 1000:.2f} ms"
    yield Figure(
        "client", "watch: commit to callback, p50", percentile(samples, 50) * 1000, "ms", budget="1 ms", note=note
    )


def _app(mode: str, options: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.client_app", mode, json.dumps(options)]
    finished = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)


def _by_cpu(rows: int, ours_s: float, wall_s: float) -> str:
    return f"by CPU time {rows / ours_s:,.0f} of {rows / wall_s:,.0f} rows/s: ratio {wall_s / ours_s:.2f}"


def _schema() -> Schema:
    return Schema([Table("items", [Column.text(name) for name in COLUMNS])])


def _store_and_apply(rows: int) -> tuple[float, float]:
    """Seconds, and seconds of CPU, of SQLite alone: the oplog's inserts with their three indexes, and one copy into the table."""
    row = json.dumps({"id": "i" * 36, **dict.fromkeys(COLUMNS[:6], "x" * 30)})
    operations = [
        (1, number, "items", _scattered(number), f"items/{_scattered(number)}/{'s' * 73}", row, number)
        for number in range(1, rows + 1)
    ]
    with tempfile.TemporaryDirectory(prefix="syncline-bench-") as folder:
        connection = open_writer(Path(folder) / "wall.db")
        layout.prepare(connection, _schema())
        started, cpu_s = time.perf_counter(), time.process_time()
        step = 1000 * LINES_PER_COMMIT
        for start in range(0, rows, step):
            with write_transaction(connection, local_writes=False):
                connection.executemany(
                    "INSERT INTO ps_oplog(bucket, op_id, row_type, row_id, key, data, hash) VALUES (?, ?, ?, ?, ?, ?, ?)",
                    operations[start : start + step],
                )
        with write_transaction(connection, local_writes=False):
            connection.execute("INSERT INTO ps_data__items(id, data) SELECT row_id, data FROM ps_oplog").fetchall()
        took_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu_s
        connection.close()
    return took_s, cpu_s


def _scattered(number: int) -> str:
    """An id of 36 characters; neighbours in time are none in the index."""
    return f"{number * 2654435761 % 2**64:036x}"


def _insert_and_update(rows: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Seconds, and seconds of CPU, for as many rows of JSON text in a plain table with a text key, and for changing one value of each."""
    values = [
        (f"row-{number}", json.dumps({name: f"{name} of row {number}" for name in COLUMNS})) for number in range(rows)
    ]
    with tempfile.TemporaryDirectory(prefix="syncline-bench-") as folder:
        connection = open_writer(Path(folder) / "wall.db")
        connection.execute("CREATE TABLE plain(id TEXT PRIMARY KEY NOT NULL, data TEXT)")
        inserted_s = _timed(connection, lambda: connection.executemany("INSERT INTO plain VALUES (?, ?)", values))
        update = "UPDATE plain SET data = json_set(data, '$.title', json_extract(data, '$.title') || '!')"
        updated_s = _timed(connection, lambda: connection.execute(update))
        connection.close()
    return inserted_s, updated_s


def _timed(connection: apsw.Connection, work: Callable[[], object]) -> tuple[float, float]:
    started, cpu_s = time.perf_counter(), time.process_time()
    with write_transaction(connection, local_writes=False):
        work()
    return time.perf_counter() - started, time.process_time() - cpu_s
