"""Serving an app of the demo on loopback, in the demo's own event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

import uvicorn

__all__ = ["listen", "port_of", "serve"]

SHUTDOWN_TIMEOUT_S = 2  # seconds for answers under way when the demo ends


def listen(port: int = 0) -> socket.socket:
    """A socket that takes connections from now on; 0 is a free port. Raises OSError where the port is taken."""
    listening = socket.socket()
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # the port of the demo before is free at once
        listening.bind(("127.0.0.1", port))
        listening.listen(128)
    except OSError as exc:
        listening.close()
        raise OSError(exc.errno, f"Port {port} of 127.0.0.1: {exc.strerror}") from exc
    listening.setblocking(False)
    return listening


def port_of(listening: socket.socket) -> int:
    """Its port."""
    return int(listening.getsockname()[1])


async def serve(app: Any, listening: socket.socket, closing: contextlib.AsyncExitStack) -> None:
    """Run an ASGI app until `closing` is closed."""
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            lifespan="off",
            log_config=None,
            access_log=False,
            ws="none",
            timeout_graceful_shutdown=SHUTDOWN_TIMEOUT_S,
        )
    )
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign]  # signals belong to the demo
    serving = asyncio.create_task(server.serve(sockets=[listening]))

    async def stop() -> None:
        server.should_exit = True
        await serving

    closing.push_async_callback(stop)
