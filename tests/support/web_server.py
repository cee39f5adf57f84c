"""An aiohttp application on a free port of this machine, for as long as a block runs."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

from aiohttp import web

__all__ = ["serving"]


@contextlib.asynccontextmanager
async def serving(app: web.Application) -> AsyncGenerator[str]:
    """Serve it; gives the base URL. Handlers of clients that have gone are cancelled."""
    runner = web.AppRunner(app, shutdown_timeout=0.2, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
