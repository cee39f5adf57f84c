"""The todo demo's server, in one process: a Postgres of its own, the sync service, and the backend. Needs syncline[all].

`python examples/demo_backend` answers on port 6060, where the field's todo demos look for it; Ctrl-C ends it, and its data are gone.
"""

import argparse
import os
import signal
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import uvicorn
from fastapi import FastAPI

from syncline.embedded import EmbeddedPostgres
from syncline.service.embedding import UVICORN_OPTIONS, SyncService
from todo_backend import add_routes, make_backend, public_key

HERE = Path(__file__).parent
options = argparse.ArgumentParser()
options.add_argument("port", nargs="?", type=int, default=6060)
options.add_argument(
    "--open", action="store_true", help="also take uploads without a token, as some demo apps send them"
)
asked = options.parse_args()
URL = f"http://127.0.0.1:{asked.port}"

signal.signal(signal.SIGTERM, signal.default_int_handler)  # uvicorn passes it on when it has stopped: as Ctrl-C
with EmbeddedPostgres() as postgres, tempfile.TemporaryDirectory() as folder:
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute((HERE / "tables.sql").read_bytes())
    backend = make_backend(postgres.dsn(), service_url=f"{URL}/sync-service", is_open=asked.open)
    os.environ.update(PS_DATABASE_URI=postgres.dsn(), PS_STORAGE=f"{folder}/buckets", **public_key(backend))
    sync = SyncService(HERE / "service.yaml")

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        await backend.open()
        async with sync:
            await sync.wait_until_serving()
            print(
                f"# Postgres: {postgres.dsn()}\n# Backend: {URL}\n# Sync service: {backend.auth.service_url}",
                flush=True,
            )
            yield
        await backend.close()

    app = FastAPI(title="Todo demo", lifespan=lifespan)
    add_routes(app, backend, is_open=asked.open)
    app.mount("/sync-service", sync.app)
    uvicorn.run(app, host="127.0.0.1", port=asked.port, log_level="warning", **UVICORN_OPTIONS)
