"""The face for Django: `path("", include(sync_urls(backend)))`. Works under WSGI and under ASGI.

The views are asynchronous. They hand each request to one event loop in a thread of the process (`background`), because Django under WSGI
runs every asynchronous view in a loop of its own, and a pool of database connections lives in one loop only. Under ASGI no thread of
Django's is held while an upload is applied.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, re_path

from syncline.backend.background import BackgroundBackend
from syncline.backend.core import SyncBackend
from syncline.backend.http.dispatch import SignIn
from syncline.backend.http.messages import BackendRequest, BodyIncomplete
from syncline.backend.http.routing import Access, Route, path_pattern
from syncline.backend.limits import BODY_THREADS_MAX
from syncline.backend.tokens import AuthenticatedUser
from syncline.errors import AuthError

__all__ = ["DjangoUser", "signed_in_user", "sync_urls"]

DjangoUser = Callable[[HttpRequest], AuthenticatedUser | Awaitable[AuthenticatedUser | None] | None]
"""The app's own login: the user of a request, or None for nobody; may be a coroutine function, and may use the ORM where it is none."""

_PART_BYTES = 64 * 1024  # bytes of a body that are read at a time


def signed_in_user(request: HttpRequest) -> AuthenticatedUser | None:
    """The user of Django's session, by their primary key; None where nobody is signed in."""
    user = cast("Any", request).user
    return AuthenticatedUser(str(user.pk)) if user.is_authenticated else None


def sync_urls(
    backend: SyncBackend | BackgroundBackend, *, current_user: DjangoUser = signed_in_user
) -> list[URLPattern]:
    """All routes of the toolkit, for `include`. Routes that take a Bearer token are exempt from CSRF checks: no cookie speaks for them.

    The backend opens at the first request of the process, and closes when the process ends; who wants to close it earlier gives a
    `BackgroundBackend` of their own.
    """
    background = backend if isinstance(backend, BackgroundBackend) else BackgroundBackend(backend)
    face = _Face(background, current_user)
    paths: dict[str, dict[str, Route]] = {}
    for route in background.backend.dispatcher.table.ordered:
        paths.setdefault(route.path, {})[route.method] = route
    return [cast("URLPattern", re_path(_django_pattern(path), face.view(routes))) for path, routes in paths.items()]


def _django_pattern(path: str) -> str:
    return f"^{path_pattern(path.removeprefix('/'))}$"


class _Face:
    """The views of one backend."""

    def __init__(self, background: BackgroundBackend, current_user: DjangoUser) -> None:
        self._dispatcher = background.backend.dispatcher
        self._background = background
        self._current_user = current_user
        self._readers = concurrent.futures.ThreadPoolExecutor(BODY_THREADS_MAX, thread_name_prefix="syncline-body")

    def view(self, routes: dict[str, Route]) -> Callable[..., Awaitable[HttpResponse]]:
        """The view of one path, with its routes by method."""

        async def view(request: HttpRequest, **parameters: str) -> HttpResponse:
            asked = _request(request)
            route = routes.get("GET" if asked.method == "HEAD" else asked.method)
            if route is None:
                answer = self._dispatcher.refuse(routes)
            else:
                sign_in = await self._signing_in(request) if route.access is Access.LOGIN else None
                serving = self._dispatcher.serve(
                    route, asked, parameters, body_parts=self._body_parts(request), sign_in=sign_in
                )
                done = self._background.submit(self._background.answer(serving))
                answer = await asyncio.shield(asyncio.wrap_future(done))  # an upload that has begun is finished
            return HttpResponse(answer.body, status=answer.status, headers=dict(answer.headers))

        exempt = all(route.access is not Access.LOGIN for route in routes.values())
        cast("Any", view).csrf_exempt = exempt
        return view

    async def _signing_in(self, request: HttpRequest) -> SignIn:
        """Ask the app's login here, in Django's own threads, and tell the answer in the background loop."""
        failure: AuthError | None = None
        user: AuthenticatedUser | None = None
        try:
            if inspect.iscoroutinefunction(self._current_user):
                user = await self._current_user(request)
            else:
                user = await sync_to_async(cast("Callable[[HttpRequest], Any]", self._current_user))(request)
        except AuthError as exc:
            failure = exc

        async def sign_in() -> AuthenticatedUser | None:
            if failure is not None:
                raise failure
            return user

        return sign_in

    async def _body_parts(self, request: Any) -> AsyncIterator[bytes]:
        """The body, read in a thread: under WSGI that waits for the network. DATA_UPLOAD_MAX_MEMORY_SIZE does not apply."""
        loop = asyncio.get_running_loop()
        try:
            while part := await loop.run_in_executor(self._readers, request.read, _PART_BYTES):
                yield part
        except (OSError, ValueError):  # broken off; or closed, because the answer is not waited for
            raise BodyIncomplete from None


def _request(request: Any) -> BackendRequest:
    return BackendRequest(
        request.method,
        request.path_info,
        request.GET.dict(),
        {name.lower(): value for name, value in request.headers.items()},
    )
