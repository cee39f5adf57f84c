"""The backend that the todo demos of the field talk to: tokens for devices, and the rows that they write."""

import re
from typing import cast
from uuid import UUID

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from syncline.auth.signer import TokenSigner
from syncline.backend import AuthenticatedUser, BackendAuth, SyncBackend, TablePolicy, via
from syncline.backend.fastapi import backend_router
from syncline.backend.persisters.postgres import PostgresPersister
from syncline.backend.starlette import development_login

AUDIENCE = "powersync-dev"  # and issuer
DEMO_USER = AuthenticatedUser(str(UUID("a11ce000-0000-4000-8000-000000000001")))  # owns the list that is there at first
LOOPBACK_PAGES = r"https?://(localhost|127\.0\.0\.1)(:\d+)?"


def make_backend(dsn: str, *, service_url: str, is_open: bool = False) -> SyncBackend:
    """Lists belong to the user of the token, todos to whom their list belongs; `is_open`: everybody may write every row."""
    auth = BackendAuth(
        TokenSigner.generate("RS256"),
        audience=AUDIENCE,
        service_url=service_url,
        lifetime_s=300,
        claims=lambda _: {"iss": AUDIENCE},
    )
    lists = TablePolicy(owner=None if is_open else "owner_id")
    todos = TablePolicy(owner=None if is_open else via("lists", "list_id"))
    return SyncBackend(persister=PostgresPersister(dsn), auth=auth, tables={"lists": lists, "todos": todos})


def public_key(backend: SyncBackend) -> dict[str, str]:
    """What the service's configuration needs to accept the backend's tokens."""
    [key] = cast("list[dict[str, str]]", backend.auth.jwks()["keys"])
    return {"PS_KEY_ID": key["kid"], "PS_KEY_MODULUS": key["n"]}


def add_routes(app: FastAPI, backend: SyncBackend, *, is_open: bool = False) -> None:
    """Everything below `/api`, for pages of this machine too. Users say who they are and need no password: an app has its own login."""
    login = development_login()

    async def current_user(request: Request) -> AuthenticatedUser | None:
        return await login(request) or (DEMO_USER if is_open else None)

    app.include_router(backend_router(backend, current_user=current_user))
    if is_open:
        app.add_middleware(UploadsWithoutToken, backend=backend)
    app.add_middleware(CORSMiddleware, allow_origin_regex=LOOPBACK_PAGES, allow_methods=["*"], allow_headers=["*"])


class UploadsWithoutToken:
    """Takes uploads that carry no token for the demo user's: demo apps send them so. Not those of pages from elsewhere."""

    def __init__(self, app: ASGIApp, backend: SyncBackend) -> None:
        self._app = app
        self._backend = backend

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] == "http" and scope["path"].startswith("/api/data"):
            headers = Headers(scope=scope)
            is_ours = re.fullmatch(LOOPBACK_PAGES, headers.get("origin", "http://localhost"))
            if "authorization" not in headers and is_ours:
                token = self._backend.auth.issue(DEMO_USER).token
                scope = {**scope, "headers": [*scope["headers"], (b"authorization", f"Bearer {token}".encode())]}
        await self._app(scope, receive, send)
