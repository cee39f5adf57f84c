"""An app with our client, as a process of its own: what `bench.client` measures is this process, and nothing else is in its memory.

`python -m bench.client_app sync|local '<json options>'` prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.table import percentile
from syncline.client import BackendConnector, Column, Credentials, Schema, SyncDatabase, Table

__all__ = ["COLUMNS", "main"]

COLUMNS = ["owner_id", "title", "body", "amount", "done", "created_at", "note", "place"]
SCHEMA = Schema([Table("items", [Column.text(name) for name in COLUMNS])])
TICK_S = 0.001  # what the ticker waits for
WATCHED_COMMITS = 300  # samples of the latency from commit to callback
INSERT = f"INSERT INTO items(id, {', '.join(COLUMNS)}) VALUES (?, {', '.join('?' * len(COLUMNS))})"


class _Connector(BackendConnector):
    def __init__(self, url: str, token: str) -> None:
        self._credentials = Credentials(url, token)

    async def fetch_credentials(self) -> Credentials:
        """The same each time."""
        return self._credentials

    async def upload_data(self, db: SyncDatabase) -> None:
        """Nothing is written."""


def resident_bytes() -> int:
    """The most memory that this process has held; 0 where the system does not tell."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


async def _tick(late_s: list[float]) -> None:
    """Note by how much each turn of the event loop comes too late."""
    loop = asyncio.get_running_loop()
    while True:
        due_s = loop.time() + TICK_S
        await asyncio.sleep(TICK_S)
        late_s.append(max(0.0, loop.time() - due_s))


async def sync(url: str, token: str, rows: int, transport: str = "http") -> dict[str, Any]:
    """A first sync of `rows` rows into a new file, beside a ticker."""
    with tempfile.TemporaryDirectory(prefix="syncline-bench-") as folder:
        async with SyncDatabase(Path(folder) / "app.db", schema=SCHEMA) as db:
            before = resident_bytes()
            late_s: list[float] = []
            ticker = asyncio.create_task(_tick(late_s))
            cpu_s, started = time.process_time(), time.perf_counter()
            await db.connect(_Connector(url, token), transport=transport)  # pyright: ignore[reportArgumentType] - a name
            await db.wait_for_first_sync(timeout=600)
            took_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu_s
            ticker.cancel()
            held = resident_bytes()
            found = await db.get("SELECT count(*) AS n FROM items")
            assert found["n"] == rows, f"{found['n']} rows are on the device"
    return {
        "took_s": took_s,
        "cpu_s": cpu_s,
        "late_p50_s": percentile(late_s, 50),
        "late_p999_s": percentile(late_s, 99.9),
        "late_max_s": max(late_s),
        "memory": held,
        "memory_before": before,
    }


async def local(rows: int) -> dict[str, Any]:
    """Inserts and updates through a view, in one transaction each, and the time from a commit to a watcher."""
    with tempfile.TemporaryDirectory(prefix="syncline-bench-") as folder:
        async with SyncDatabase(Path(folder) / "app.db", schema=SCHEMA) as db:
            values = [(f"row-{n}", *(f"{name} of row {n}" for name in COLUMNS)) for n in range(rows)]
            started, cpu_s = time.perf_counter(), time.process_time()
            async with db.write_transaction() as transaction:
                await transaction.execute_many(INSERT, values)
            found = {"insert_s": time.perf_counter() - started, "insert_cpu_s": time.process_time() - cpu_s}
            started, cpu_s = time.perf_counter(), time.process_time()
            async with db.write_transaction() as transaction:
                await transaction.execute("UPDATE items SET title = title || '!'")
            found |= {"update_s": time.perf_counter() - started, "update_cpu_s": time.process_time() - cpu_s}
            return {**found, "watch_s": await _watch(db)}


async def _watch(db: SyncDatabase) -> list[float]:
    """Seconds from the end of a commit to the row in a watcher, without a throttle."""
    committed: dict[str, float] = {}
    seen: dict[str, float] = {}
    wake = asyncio.Event()

    async def follow() -> None:
        query = "SELECT title FROM items WHERE id = 'watched'"
        async for rows in db.watch(query, throttle_s=0):
            if rows:
                seen[rows[0]["title"]] = time.perf_counter()
            wake.set()

    watcher = asyncio.create_task(follow())
    await wake.wait()
    await db.execute("INSERT INTO items(id, title) VALUES ('watched', '-')")
    for number in range(WATCHED_COMMITS):
        title = str(number)
        await db.execute("UPDATE items SET title = ? WHERE id = 'watched'", [title])
        committed[title] = time.perf_counter()
        while title not in seen:
            wake.clear()
            await wake.wait()
    watcher.cancel()
    return [max(0.0, seen[title] - at) for title, at in committed.items()]


def main() -> None:
    """Run what the arguments name."""
    modes: dict[str, Callable[..., Any]] = {"sync": sync, "local": local}
    print(json.dumps(asyncio.run(modes[sys.argv[1]](**json.loads(sys.argv[2])))))


if __name__ == "__main__":
    main()
