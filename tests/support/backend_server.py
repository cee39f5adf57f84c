"""The backend toolkit behind a real socket, in a thread of its own, for tests with processes on both sides."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Generator, Sequence
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from syncline.auth.signer import TokenSigner
from syncline.backend import BackendAuth, SyncBackend, TablePolicy
from syncline.backend.persisters.postgres import PostgresPersister
from syncline.backend.starlette import backend_routes, development_login
from syncline.testing.service_process import AUDIENCE, KEY_ID, SECRET

__all__ = ["running_backend"]

# As an app whose pages come from another origin has it.
_FROM_ANY_PAGE = Middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["POST"], allow_headers=["*"])


@contextlib.contextmanager
def running_backend(
    dsn: str,
    *,
    service_url: str,
    tables: dict[str, TablePolicy],
    middleware: Sequence[Middleware] = (_FROM_ANY_PAGE,),
    **options: Any,
) -> Generator[str]:
    """Serve uploads into `dsn`; gives the base URL. Tokens are those of `service_process.token`. `options` go to SyncBackend."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()  # whoever comes before the server has begun waits, and is not refused
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    ready, failed = threading.Event(), list[BaseException]()
    stopping: list[tuple[asyncio.AbstractEventLoop, uvicorn.Server]] = []

    async def serve() -> None:
        signer = TokenSigner.from_secret(SECRET, kid=KEY_ID)
        auth = BackendAuth(signer, audience=AUDIENCE, service_url=service_url)
        backend = SyncBackend(persister=PostgresPersister(dsn), auth=auth, tables=tables, **options)
        await backend.open()
        app = Starlette(routes=backend_routes(backend, current_user=development_login()), middleware=middleware)
        server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, ws="none"))
        stopping.append((asyncio.get_running_loop(), server))
        ready.set()
        try:
            await server._serve([listening])  # signals belong to the test run
        finally:
            await backend.close()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as exc:
            failed.append(exc)
        finally:
            ready.set()

    thread = threading.Thread(target=run, name="backend", daemon=True)
    thread.start()
    ready.wait(20)
    if failed:
        raise failed[0]
    try:
        yield url
    finally:
        loop, server = stopping[0]
        loop.call_soon_threadsafe(setattr, server, "should_exit", True)
        thread.join(10)
        listening.close()
