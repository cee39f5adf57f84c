"""What the app's event loop has to bear while a first sync runs: a little work at a time, and the rest is done in threads.

Measured as CPU time of the loop's own thread between two turns of a ticker: what the machine does besides does not count.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
import zlib
from collections.abc import Generator
from pathlib import Path

import pytest

from syncline.client import BackendConnector, Column, Credentials, Schema, SyncDatabase, Table
from syncline.client.transport.http import HttpTransport
from tests.support.scripted_service import bucket, checkpoint, complete, data, put

LINES = 20
OPS_PER_LINE = 1000
LATE_S_MAX = 0.020
CHUNK_BYTES = 256 * 1024
SCHEMA = Schema([Table("items", [Column.text("body")])])
DEADLINE_S = 60.0


class Connector(BackendConnector):
    def __init__(self, url: str) -> None:
        self._url = url

    async def fetch_credentials(self) -> Credentials:
        return Credentials(self._url, "jwt")

    async def upload_data(self, db: SyncDatabase) -> None:
        raise AssertionError("nothing was written here")


@pytest.fixture(scope="module")
def body() -> bytes:
    """A first sync of 20,000 rows, in lines of half a megabyte."""
    ops = [
        put(number, "items", f"{number * 2654435761 % 2**64:036x}", body="x" * 250)
        for number in range(1, LINES * OPS_PER_LINE + 1)
    ]
    batches = [ops[start : start + OPS_PER_LINE] for start in range(0, len(ops), OPS_PER_LINE)]
    lines = [checkpoint(len(ops), bucket("1#a[]", ops)), *(data("1#a[]", batch) for batch in batches)]
    return b"".join(json.dumps(line).encode() + b"\n" for line in [*lines, complete(len(ops))])


@contextlib.contextmanager
def serving(body: bytes, *, encoding: str) -> Generator[str]:
    """Answer every stream with these bytes, from a thread of its own; other requests with nothing."""
    ready, stopping = threading.Event(), asyncio.Event()
    found: list[tuple[asyncio.AbstractEventLoop, int]] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError), contextlib.closing(writer):
            head = await reader.readuntil(b"\r\n\r\n")
            if b"/sync/stream" not in head:
                writer.write(b"HTTP/1.1 404 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                return
            kind = f"content-encoding: {encoding}\r\n" if encoding else ""
            writer.write(f"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\n{kind}\r\n".encode())
            for start in range(0, len(body), CHUNK_BYTES):
                writer.write(body[start : start + CHUNK_BYTES])
                await writer.drain()
            await reader.read()

    async def serve() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        found.append((asyncio.get_running_loop(), server.sockets[0].getsockname()[1]))
        ready.set()
        await stopping.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0)  # transports close in the turn after

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(DEADLINE_S)
    [(loop, port)] = found
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join(DEADLINE_S)


async def tick(used_s: list[float]) -> None:
    """Note how much CPU time this thread used between two turns."""
    before_s = time.thread_time()
    while True:
        await asyncio.sleep(0.001)
        now_s = time.thread_time()
        used_s.append(now_s - before_s)
        before_s = now_s


@pytest.mark.requirement(68)
@pytest.mark.parametrize("encoding", ["", "gzip"])
async def test_a_first_sync_leaves_the_event_loop_to_the_app(tmp_path: Path, body: bytes, encoding: str) -> None:
    used_s: list[float] = []
    sent = zlib.compress(body, level=1, wbits=31) if encoding else body
    with serving(sent, encoding=encoding) as url:
        async with SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
            ticker = asyncio.create_task(tick(used_s))
            await db.connect(Connector(url), transport=HttpTransport(compression=bool(encoding)))
            await db.wait_for_first_sync(timeout=DEADLINE_S)
            ticker.cancel()
            assert (await db.get("SELECT count(*) AS n FROM items"))["n"] == LINES * OPS_PER_LINE
    ordered = sorted(used_s)
    late_s = ordered[int(len(ordered) * 0.999)]
    print(f"{len(ordered)} turns, p50 {ordered[len(ordered) // 2] * 1000:.2f} ms, p99.9 {late_s * 1000:.2f} ms")
    assert late_s <= LATE_S_MAX
