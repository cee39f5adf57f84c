"""A backend as a process of its own, for `bench.upload`: uploads into one table, over the write API's own route."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from bench.rig import free_port, wait_until
from syncline.auth.signer import TokenSigner
from syncline.backend import BackendAuth, SyncBackend, TablePolicy
from syncline.backend.http.request_limits import RequestLimits
from syncline.backend.persisters.postgres import PostgresPersister
from syncline.backend.starlette import backend_routes, development_login
from syncline.service.listening import listen
from syncline.testing.service_process import AUDIENCE, KEY_ID, SECRET

__all__ = ["DSN_VARIABLE", "PORT_VARIABLE", "main", "serving"]

DSN_VARIABLE = "BENCH_DSN"
PORT_VARIABLE = "BENCH_PORT"
NO_RATE = RequestLimits(requests_per_second=None)  # what the database takes is measured, not what is refused before it


def main() -> None:
    """Serve until SIGTERM."""
    auth = BackendAuth(TokenSigner.from_secret(SECRET, kid=KEY_ID), audience=AUDIENCE, service_url="http://127.0.0.1")
    persister = PostgresPersister(os.environ[DSN_VARIABLE])
    tables = {"items": TablePolicy(owner="owner_id")}
    backend = SyncBackend(persister=persister, auth=auth, tables=tables, limits=NO_RATE)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncGenerator[None]:
        await backend.open()
        yield
        await backend.close()

    app = Starlette(routes=backend_routes(backend, current_user=development_login()), lifespan=lifespan)
    listening = listen("127.0.0.1", int(os.environ[PORT_VARIABLE]))
    config = uvicorn.Config(app, http="httptools", ws="none", access_log=False, log_config=None)
    uvicorn.Server(config).run(sockets=[listening])


@contextlib.contextmanager
def serving(dsn: str) -> Generator[tuple[str, int]]:
    """The base URL of such a backend, and its process id."""
    port = free_port()
    environment = os.environ | {DSN_VARIABLE: dsn, PORT_VARIABLE: str(port)}
    folder = Path(__file__).parent.parent
    process = subprocess.Popen([sys.executable, "-m", "bench.upload_app"], cwd=folder, env=environment)
    try:
        wait_until(lambda: _listens(port))
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        process.terminate()
        process.wait(10)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    main()
