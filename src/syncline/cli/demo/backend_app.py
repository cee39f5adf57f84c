"""The demo's backend: a FastAPI app with the toolkit mounted, as an app's server would do it."""

from __future__ import annotations

import contextlib

from fastapi import FastAPI

from syncline.auth.signer import TokenSigner
from syncline.backend import BackendAuth, SyncBackend, TablePolicy
from syncline.backend.fastapi import backend_router
from syncline.backend.persisters.postgres import PostgresPersister
from syncline.backend.starlette import development_login

__all__ = ["AUDIENCE", "make_backend_app"]

AUDIENCE = "syncline-demo"


async def make_backend_app(
    dsn: str, *, signer: TokenSigner, service_url: str, closing: contextlib.AsyncExitStack
) -> FastAPI:
    """The app, with its database open until `closing` is closed."""
    backend = SyncBackend(
        persister=PostgresPersister(dsn),
        auth=BackendAuth(signer, audience=AUDIENCE, service_url=service_url),
        tables={"lists": TablePolicy(owner="owner_id"), "todos": TablePolicy(owner="created_by")},
    )
    await backend.open()
    closing.push_async_callback(backend.close)
    app = FastAPI(title="Syncline demo backend")
    app.include_router(backend_router(backend, current_user=development_login()))
    return app
