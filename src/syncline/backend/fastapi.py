"""The routes for FastAPI: `app.include_router(backend_router(backend, current_user=…))`."""

from __future__ import annotations

from fastapi import APIRouter

from syncline.backend.core import SyncBackend
from syncline.backend.starlette import CurrentUser, route_endpoint

__all__ = ["backend_router"]


def backend_router(backend: SyncBackend, *, current_user: CurrentUser) -> APIRouter:
    """A router with all routes of the toolkit."""
    router = APIRouter()
    for route in backend.dispatcher.table.ordered:
        router.add_api_route(
            route.path,
            route_endpoint(backend, route, current_user),
            methods=[route.method],
            response_model=None,
            summary=route.summary,
        )
    return router
