"""The wall of the HTTP server: an ASGI app that sends the lines of a file, and nothing else. Run by `bench.download`."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvicorn

__all__ = ["LINES_VARIABLE", "PORT_VARIABLE", "main"]

LINES_VARIABLE = "BENCH_LINES"  # the file whose lines are sent
PORT_VARIABLE = "BENCH_PORT"


def main() -> None:
    """Serve until SIGTERM."""
    lines = Path(os.environ[LINES_VARIABLE]).read_bytes().splitlines(keepends=True)

    async def app(
        scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for line in lines:
            await send({"type": "http.response.body", "body": line, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    listening = socket.create_server(("127.0.0.1", int(os.environ[PORT_VARIABLE])))
    config = uvicorn.Config(app, http="httptools", ws="none", lifespan="off", access_log=False, log_config=None)  # type: ignore[arg-type]
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
