"""The demo's backend: a FastAPI app with the toolkit mounted, as an app's server would do it."""

from __future__ import annotations

import contextlib

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from syncline.auth.signer import TokenSigner
from syncline.backend import BackendAuth, SyncBackend, TablePolicy, via
from syncline.backend.conflicts import RecordConflicts, ThreeWay
from syncline.backend.fastapi import backend_router
from syncline.backend.persisters.postgres import PostgresPersister
from syncline.backend.starlette import development_login
from syncline.cli.demo.model import CONFLICTS_TABLE

__all__ = ["AUDIENCE", "make_backend_app", "open_backend"]

AUDIENCE = "syncline-demo"

# Who may write what. A todo belongs to whom its list belongs to. Where two devices have changed one text, neither is lost: the row stays
# as it is, and the difference goes back to the user as a row of its own.
_POLICIES = {
    "lists": TablePolicy(owner="owner_id"),
    "todos": TablePolicy(
        owner=via("lists", "list_id"),
        tenants={"created_by": "sub"},
        conflicts=RecordConflicts(ThreeWay({}), table=CONFLICTS_TABLE),
    ),
    "powersync_write_results": TablePolicy(owner="user_id", columns=["resolved"]),
    CONFLICTS_TABLE: TablePolicy(owner="user_id", columns=["resolved"]),
}


async def open_backend(
    dsn: str, *, signer: TokenSigner, service_url: str, closing: contextlib.AsyncExitStack
) -> SyncBackend:
    """The toolkit, with its database open until `closing` is closed."""
    backend = SyncBackend(
        persister=PostgresPersister(dsn),
        auth=BackendAuth(signer, audience=AUDIENCE, service_url=service_url),
        tables=_POLICIES,
        write_results=True,
    )
    await backend.open()
    closing.push_async_callback(backend.close)
    return backend


def make_backend_app(backend: SyncBackend, *, page_origins: frozenset[str]) -> FastAPI:
    """The app. In a browser only pages of `page_origins` may call it."""
    app = FastAPI(title="Syncline demo backend")
    app.include_router(backend_router(backend, current_user=development_login()))
    app.add_middleware(CORSMiddleware, allow_origins=sorted(page_origins), allow_methods=["POST"], allow_headers=["*"])
    return app
