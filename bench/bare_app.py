"""The wall of the HTTP server: an ASGI app that sends a file, in parts as large as ours, and nothing else."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Generator
from pathlib import Path
from typing import Any

import uvicorn

from bench.rig import free_port, wait_until
from syncline.api.limits import SEND_PART_BYTES
from syncline.service.listening import listen

__all__ = ["FILE_VARIABLE", "PORT_VARIABLE", "main", "serving"]

FILE_VARIABLE = "BENCH_FILE"  # what is sent
PORT_VARIABLE = "BENCH_PORT"


def main() -> None:
    """Serve until SIGTERM."""
    text = Path(os.environ[FILE_VARIABLE]).read_bytes()
    parts = [text[start : start + SEND_PART_BYTES] for start in range(0, len(text), SEND_PART_BYTES)]

    async def app(
        scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass

    listening = listen("127.0.0.1", int(os.environ[PORT_VARIABLE]))
    config = uvicorn.Config(app, http="httptools", ws="none", lifespan="off", access_log=False, log_config=None)  # type: ignore[arg-type]
    uvicorn.Server(config).run(sockets=[listening])


@contextlib.contextmanager
def serving(body: bytes) -> Generator[int]:
    """The port of such an app in a process of its own, which sends `body` and keeps the stream open."""
    with tempfile.NamedTemporaryFile(prefix="syncline-bench-") as file:
        file.write(body)
        file.flush()
        port = free_port()
        environment = os.environ | {FILE_VARIABLE: file.name, PORT_VARIABLE: str(port)}
        folder = Path(__file__).parent.parent
        process = subprocess.Popen([sys.executable, "-m", "bench.bare_app"], cwd=folder, env=environment)
        try:
            wait_until(lambda: _listens(port))
            yield port
        finally:
            process.terminate()
            process.wait(10)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    main()
