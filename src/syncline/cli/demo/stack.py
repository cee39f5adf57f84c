"""The servers of the demo: an embedded Postgres, the sync service on SQLite storage, and a backend. All on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import uvicorn
import yaml

from syncline.auth.signer import TokenSigner
from syncline.cli.demo.backend_app import AUDIENCE, make_backend_app
from syncline.cli.demo.model import SOURCE_SQL, SYNC_CONFIG
from syncline.embedded import EmbeddedPostgres
from syncline.embedded.ports import free_port
from syncline.service import Service, load_config

__all__ = ["Stack", "running_stack"]

START_TIMEOUT_S = 30.0  # seconds until the first row can be synced


@dataclass(frozen=True, slots=True)
class Stack:
    """What runs, and where."""

    postgres_dsn: str
    service_url: str
    backend_url: str
    folder: Path

    async def postgres_rows(self, query: str) -> list[tuple[object, ...]]:
        """Rows of the source, for the narration and its checks."""
        async with await psycopg.AsyncConnection.connect(self.postgres_dsn, autocommit=True) as connection:
            return await (await connection.execute(query.encode())).fetchall()


@contextlib.asynccontextmanager
async def running_stack(folder: Path) -> AsyncGenerator[Stack]:
    """Start everything below `folder`, whose configuration files are real ones to look at; stop it at the end."""
    async with contextlib.AsyncExitStack() as closing:
        postgres = EmbeddedPostgres()
        await asyncio.to_thread(postgres.start)
        closing.push_async_callback(asyncio.to_thread, postgres.stop)
        dsn = postgres.dsn()
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            await connection.execute(SOURCE_SQL.encode())
        backend_socket, service_port = _listen(), free_port()
        backend_url = f"http://127.0.0.1:{backend_socket.getsockname()[1]}"
        service_url = f"http://127.0.0.1:{service_port}"
        signer = await asyncio.to_thread(TokenSigner.generate)
        app = await make_backend_app(dsn, signer=signer, service_url=service_url, closing=closing)
        await _serve(app, backend_socket, closing)
        config_path = _write_config(folder, dsn=dsn, backend_url=backend_url, port=service_port)
        service = Service(load_config(path=config_path, environment={}, working_directory=folder))
        await service.start()
        closing.push_async_callback(service.stop)
        async with asyncio.timeout(START_TIMEOUT_S):
            await service.wait_until_serving()
        yield Stack(dsn, service_url, backend_url, folder)


def _write_config(folder: Path, *, dsn: str, backend_url: str, port: int) -> Path:
    (folder / "sync-config.yaml").write_text(SYNC_CONFIG)
    config = {
        "replication": {"connections": [{"type": "postgresql", "uri": dsn, "sslmode": "disable"}]},
        "storage": {"type": "sqlite", "path": "storage"},
        "port": port,
        "sync_config": {"path": "sync-config.yaml"},
        "client_auth": {"jwks_uri": f"{backend_url}/api/auth/jwks", "audience": [AUDIENCE]},
    }
    path = folder / "service.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


async def _serve(app: object, listening: socket.socket, closing: contextlib.AsyncExitStack) -> None:
    """Run the backend in this event loop until the stack is closed."""
    server = uvicorn.Server(
        uvicorn.Config(app, lifespan="off", log_config=None, access_log=False, ws="none", timeout_graceful_shutdown=2)  # type: ignore[arg-type]
    )
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign]  # signals belong to the demo
    serving = asyncio.create_task(server.serve(sockets=[listening]))

    async def stop() -> None:
        server.should_exit = True
        await serving

    closing.push_async_callback(stop)


def _listen() -> socket.socket:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(128)
    listening.setblocking(False)
    return listening
