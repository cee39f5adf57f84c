"""The app: its login, the routes that devices talk to, and the sync service, in one ASGI application."""

import os
import secrets
from base64 import urlsafe_b64decode
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from psycopg_pool import AsyncConnectionPool

from accounts import Accounts
from rules import TABLES
from syncline.auth.signer import TokenSigner
from syncline.backend import BackendAuth, SyncBackend
from syncline.backend.fastapi import backend_router
from syncline.backend.persisters.postgres import PostgresPersister
from syncline.service.embedding import SyncService

HERE = Path(__file__).parent


def create_app(dsn: str, *, url: str, storage: Path) -> FastAPI:
    """`dsn` is the app's database, `url` where devices reach this app, `storage` a file for the buckets of the sync service."""
    secret = secrets.token_urlsafe(32)  # the backend signs tokens with it, and the service checks them
    os.environ.update(PS_DATABASE_URI=dsn, PS_STORAGE=str(storage), PS_TOKEN_SECRET=secret)
    signer = TokenSigner.from_secret(urlsafe_b64decode(f"{secret}="), kid="todos")
    auth = BackendAuth(signer, audience="todos", service_url=f"{url}/sync-service", lifetime_s=300)
    backend = SyncBackend(persister=PostgresPersister(dsn), auth=auth, tables=TABLES)
    pool: AsyncConnectionPool = AsyncConnectionPool(dsn, open=False, max_size=4)
    accounts = Accounts(pool)
    sync = SyncService(HERE / "service.yaml")

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        async with pool:
            async with pool.connection() as connection:
                await connection.execute((HERE / "tables.sql").read_bytes())
            await backend.open()
            async with sync:
                yield
            await backend.close()

    app = FastAPI(title="Todos", lifespan=lifespan)
    app.include_router(accounts.router)
    app.include_router(backend_router(backend, current_user=accounts.current_user))
    app.mount("/sync-service", sync.app)
    return app
