"""The routes for FastAPI: `app.include_router(backend_router(backend, current_user=…))`."""

from __future__ import annotations

from fastapi import APIRouter

from syncline.backend.core import SyncBackend
from syncline.backend.starlette import CurrentUser, backend_routes

__all__ = ["backend_router"]


def backend_router(backend: SyncBackend, *, current_user: CurrentUser) -> APIRouter:
    """A router with all routes of the toolkit."""
    router = APIRouter()
    for route in backend_routes(backend, current_user=current_user):
        # Without Starlette's HEAD: FastAPI documents each method under the route's one operation id, and warns of the repeat.
        methods = sorted((route.methods or set()) - {"HEAD"})
        router.add_api_route(route.path, route.endpoint, methods=methods, response_model=None)
    return router
