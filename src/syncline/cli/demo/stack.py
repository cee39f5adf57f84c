"""The servers of the demo: an embedded Postgres, the sync service on SQLite storage, and a backend. All on loopback."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import yaml

from syncline.auth.signer import TokenSigner
from syncline.backend import SyncBackend
from syncline.cli.demo.backend_app import AUDIENCE, make_backend_app, open_backend
from syncline.cli.demo.model import SEED_SQL, SYNC_CONFIG, TABLES_SQL
from syncline.cli.demo.serving import listen, port_of, serve
from syncline.embedded import EmbeddedPostgres
from syncline.embedded.ports import free_port
from syncline.service import Service, load_config

__all__ = ["Stack", "running_stack"]

START_TIMEOUT_S = 30.0  # seconds until the first row can be synced
_EMPTY_SQL = """
DELETE FROM todos; DELETE FROM lists; DELETE FROM write_conflicts; DELETE FROM powersync_write_results; DELETE FROM syncline_dead_letters;
"""


@dataclass(frozen=True, slots=True)
class Stack:
    """What runs, and where."""

    postgres_dsn: str
    service_url: str
    backend_url: str
    folder: Path
    backend: SyncBackend

    async def postgres_rows(self, query: str) -> list[tuple[object, ...]]:
        """Rows of the source, for the narration and its checks."""
        async with await psycopg.AsyncConnection.connect(self.postgres_dsn, autocommit=True) as connection:
            return await (await connection.execute(query.encode())).fetchall()

    async def seed_again(self) -> None:
        """Make the source what it was at the start, in one transaction."""
        async with await psycopg.AsyncConnection.connect(self.postgres_dsn) as connection:
            await connection.execute(_EMPTY_SQL.encode())
            await connection.execute(SEED_SQL.encode())


@contextlib.asynccontextmanager
async def running_stack(folder: Path, *, page_origins: frozenset[str] = frozenset()) -> AsyncGenerator[Stack]:
    """Start everything below `folder`, whose configuration files are real ones to look at; stop it at the end.

    `page_origins` are those of the web page: it may call the backend from a browser.
    """
    async with contextlib.AsyncExitStack() as closing:
        postgres = EmbeddedPostgres()
        await asyncio.to_thread(postgres.start)
        closing.push_async_callback(asyncio.to_thread, postgres.stop)
        dsn = postgres.dsn()
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            await connection.execute((TABLES_SQL + SEED_SQL).encode())
        backend_socket, service_port = listen(), free_port()
        backend_url = f"http://127.0.0.1:{port_of(backend_socket)}"
        service_url = f"http://127.0.0.1:{service_port}"
        signer = await asyncio.to_thread(TokenSigner.generate)
        backend = await open_backend(dsn, signer=signer, service_url=service_url, closing=closing)
        await serve(make_backend_app(backend, page_origins=page_origins), backend_socket, closing)
        config_path = _write_config(folder, dsn=dsn, backend_url=backend_url, port=service_port)
        service = Service(load_config(path=config_path, environment={}, working_directory=folder))
        await service.start()
        closing.push_async_callback(service.stop)
        async with asyncio.timeout(START_TIMEOUT_S):
            await service.wait_until_serving()
        yield Stack(dsn, service_url, backend_url, folder, backend)


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
