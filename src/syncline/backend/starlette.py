"""The face for Starlette: the routes of the toolkit as Starlette routes. `syncline.backend.fastapi` mounts the same ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route as StarletteRoute

from syncline.backend.core import SyncBackend
from syncline.backend.http.messages import BackendRequest, BodyIncomplete
from syncline.backend.http.routing import Route
from syncline.backend.tokens import AuthenticatedUser
from syncline.errors import AuthError

__all__ = ["CurrentUser", "backend_routes", "development_login", "route_endpoint"]

CurrentUser = Callable[[Request], Awaitable[AuthenticatedUser | None]]
"""The app's own login: the user of a request, or None for nobody."""

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")  # left by proxies


def development_login() -> CurrentUser:
    """`?user_id=` names the user, without any proof. For demos: it raises AuthError for requests that did not come over loopback.

    Besides the server's own address, the name that was asked for must be a loopback one: a page elsewhere that points its own name
    to 127.0.0.1 (DNS rebinding), or a proxy in front, would be loopback otherwise.
    """

    async def current_user(request: Request) -> AuthenticatedUser | None:
        if not _over_loopback(request):
            raise AuthError(
                "The development login works over loopback only.",
                hint="Open http://127.0.0.1, or give backend_routes a current_user that asks your own login.",
            )
        user_id = request.query_params.get("user_id")
        return AuthenticatedUser(user_id) if user_id else None

    return current_user


def _over_loopback(request: Request) -> bool:
    server = request.scope.get("server")
    names = {server[0] if server else None, request.url.hostname}
    return names <= _LOOPBACK and not any(name in request.headers for name in _FORWARDED)


def backend_routes(backend: SyncBackend, *, current_user: CurrentUser) -> list[StarletteRoute]:
    """All routes of the toolkit (`backend.http.routes.ALL_ROUTES`): uploads, tokens, keys, and whatever else it has."""
    return [
        StarletteRoute(route.path, route_endpoint(backend, route, current_user), methods=[route.method])
        for route in backend.dispatcher.table.ordered
    ]


def route_endpoint(
    backend: SyncBackend, route: Route, current_user: CurrentUser
) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint of one route, which the framework has found: so it may stand under any prefix."""

    async def endpoint(request: Request) -> Response:
        answer = await backend.dispatcher.serve(
            route,
            BackendRequest(
                request.method,
                request.scope["path"],  # decoded, unlike the path of the URL
                dict(request.query_params),
                {name.lower(): value for name, value in request.headers.items()},
            ),
            request.path_params,
            body_parts=_body_parts(request),
            sign_in=lambda: current_user(request),
        )
        return Response(answer.body, answer.status, dict(answer.headers))

    endpoint.__name__ = route.operation_id
    return endpoint


async def _body_parts(request: Request) -> AsyncIterator[bytes]:
    try:
        async for part in request.stream():
            yield part
    except ClientDisconnect:
        raise BodyIncomplete from None
