"""The table of all routes: each module that answers requests adds its own by one line.

A handler takes a `Call` (the backend, the request, the parameters of the path, the proved user) and returns a `BackendResponse`; what it
may raise says `routing.Handler`. Faces (Starlette, FastAPI, plain ASGI, Django, serverless) serve whatever stands here.
"""

from __future__ import annotations

from syncline.backend.http.auth_endpoints import AUTH_ROUTES
from syncline.backend.http.dead_letter_endpoints import DEAD_LETTER_ROUTES
from syncline.backend.http.dialect_endpoints import DIALECT_ROUTES
from syncline.backend.http.openapi import OPENAPI_ROUTES
from syncline.backend.http.routing import Route
from syncline.backend.http.upload_endpoints import UPLOAD_ROUTES
from syncline.backend.staged.endpoints import STAGED_ROUTES

__all__ = ["ALL_ROUTES"]

ALL_ROUTES: tuple[Route, ...] = (
    *UPLOAD_ROUTES,
    *DIALECT_ROUTES,
    *AUTH_ROUTES,
    *OPENAPI_ROUTES,
    *DEAD_LETTER_ROUTES,
    *STAGED_ROUTES,
)
