"""The app's backend: who may write what, tokens for the devices, and signed URLs for photos."""

from base64 import urlsafe_b64decode
from pathlib import Path

from fastapi import APIRouter

from photos import photo_routes
from syncline.auth.signer import TokenSigner
from syncline.backend import BackendAuth, SyncBackend, TablePolicy
from syncline.backend.fastapi import backend_router
from syncline.backend.persisters.postgres import PostgresPersister
from syncline.backend.starlette import development_login


def make_backend(dsn: str, secret: str, *, service_url: str) -> SyncBackend:
    """Takes writes of users to their own rows; the owner comes from the token, never from the device."""
    signer = TokenSigner.from_secret(urlsafe_b64decode(f"{secret}="), kid="examples")
    auth = BackendAuth(signer, audience="examples", service_url=service_url, lifetime_s=3600)
    tables = {name: TablePolicy(owner="owner_id") for name in ("lists", "todos", "notes", "readings")}
    return SyncBackend(persister=PostgresPersister(dsn), auth=auth, tables=tables)


def make_router(backend: SyncBackend, folder: Path, url: str) -> APIRouter:
    """The routes of the toolkit, and those for photos. Users say who they are, and need no password: an app has its own login."""
    router = backend_router(backend, current_user=development_login())
    router.routes.extend(photo_routes(folder, url, backend.auth))
    return router
