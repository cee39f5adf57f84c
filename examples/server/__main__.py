"""What the examples talk to, in one process: a Postgres of its own, the sync service, and an app's backend. Needs syncline[all].

`python examples/server [PORT]` prints the environment for the examples and runs until Ctrl-C; then its data are gone.
"""

import os
import secrets
import signal
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import uvicorn
from fastapi import FastAPI

from backend import make_backend, make_router
from syncline.backend import AuthenticatedUser
from syncline.embedded import EmbeddedPostgres
from syncline.service.embedding import UVICORN_OPTIONS, SyncService

HERE = Path(__file__).parent
URL = f"http://127.0.0.1:{sys.argv[1] if len(sys.argv) > 1 else 8000}"

signal.signal(signal.SIGTERM, signal.default_int_handler)  # uvicorn passes it on when it has stopped: as Ctrl-C
with EmbeddedPostgres() as postgres, tempfile.TemporaryDirectory() as folder:
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute((HERE / "tables.sql").read_bytes())
    secret = secrets.token_urlsafe(32)  # with it the backend signs tokens, and the service checks them
    os.environ.update(PS_DATABASE_URI=postgres.dsn(), PS_STORAGE=f"{folder}/buckets", PS_TOKEN_SECRET=secret)
    backend = make_backend(postgres.dsn(), secret, service_url=f"{URL}/sync-service")
    sync = SyncService(HERE / "service.yaml")

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        await backend.open()
        async with sync:
            await sync.wait_until_serving()
            token = backend.auth.issue(AuthenticatedUser("alice")).token
            print(f"# Postgres: {postgres.dsn()}\nexport BACKEND_URL={URL} USER_ID=alice")
            print(f"export POWERSYNC_URL={backend.auth.service_url} POWERSYNC_TOKEN={token}", flush=True)
            yield
        await backend.close()

    app = FastAPI(lifespan=lifespan)
    app.include_router(make_router(backend, Path(folder), URL))
    app.mount("/sync-service", sync.app)
    uvicorn.run(app, host="127.0.0.1", port=int(URL.rpartition(":")[2]), log_level="warning", **UVICORN_OPTIONS)
