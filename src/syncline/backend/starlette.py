"""The routes for Starlette: uploads, tokens, keys. `syncline.backend.fastapi` mounts the same ones."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from syncline.backend.auth_endpoints import JWKS_ROUTES, TOKEN_ROUTES, AuthAnswer, answer_jwks, answer_token
from syncline.backend.changes import answer_changes
from syncline.backend.core import SyncBackend
from syncline.backend.limits import BODY_BYTES_MAX
from syncline.backend.persisters.base import RetryLater
from syncline.backend.tokens import AuthenticatedUser
from syncline.errors import AuthError, RequestInvalid

__all__ = ["CurrentUser", "backend_routes", "development_login"]

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


def backend_routes(backend: SyncBackend, *, current_user: CurrentUser) -> list[Route]:
    """`POST /api/data`, `GET /api/auth/token`, `GET /api/auth/jwks` with its older names, `GET /api/powersync/config`,
    and for devices that poll `GET /api/powersync/sync`.
    """
    handlers = _Handlers(backend, current_user)
    return [
        Route("/api/data", handlers.upload, methods=["POST"]),
        Route("/api/data/checkpoint", handlers.checkpoint, methods=["PUT"]),
        *(Route(path, handlers.token, methods=[method]) for method, path in TOKEN_ROUTES),
        Route("/api/powersync/sync", handlers.changes, methods=["GET"]),
        Route("/api/powersync/config", handlers.config, methods=["GET"]),
        *(Route(path, handlers.jwks, methods=[method]) for method, path in JWKS_ROUTES),
    ]


class _Handlers:
    def __init__(self, backend: SyncBackend, current_user: CurrentUser) -> None:
        self._backend = backend
        self._current_user = current_user

    async def upload(self, request: Request) -> Response:
        """Verdicts always come with 200; other statuses mean that no transaction was looked at."""
        try:
            user = await self._backend.auth.authenticate(request.headers.get("authorization"))
            body = await _read_body(request)
            answer = await self._backend.handle_upload(body, user)
        except AuthError as exc:
            return _refused(exc)
        except RequestInvalid as exc:
            return _message(400, "; ".join(exc.problems))
        except _BodyTooLarge:
            return _message(413, f"The upload is larger than {BODY_BYTES_MAX} bytes.")
        except ClientDisconnect:
            return _message(400, "The upload ended early.")  # nobody hears it; no transaction was looked at
        return Response(msgspec.json.encode(answer), media_type="application/json")

    async def checkpoint(self, request: Request) -> Response:
        """A custom write checkpoint. Whose it is, the token says; a `user_id` in the body is ignored."""
        try:
            user = await self._backend.auth.authenticate(request.headers.get("authorization"))
            asked = msgspec.json.decode(await _read_body(request), type=_CheckpointRequest)
            value = await self._backend.next_checkpoint(asked.client_id, user)
        except AuthError as exc:
            return _refused(exc)
        except (msgspec.DecodeError, UnicodeDecodeError, _BodyTooLarge) as exc:
            return _message(400, f"The body must be a JSON object with `client_id`: {exc}")
        except RetryLater as exc:
            return _message(503, str(exc))
        return JSONResponse({"checkpoint": str(value)})

    async def changes(self, request: Request) -> Response:
        """A page of changes, where the app has a change feed."""
        feed = self._backend.change_feed
        if feed is None:
            return _message(404, "This backend has no change feed: SyncBackend(change_feed=…).")
        try:
            user = await self._backend.auth.authenticate(request.headers.get("authorization"))
            body = await answer_changes(feed, user, request.query_params.get("since"))
        except AuthError as exc:
            return _refused(exc)
        except RequestInvalid as exc:
            return _message(400, "; ".join(exc.problems))
        except RetryLater as exc:
            return _message(503, str(exc))
        return Response(body, media_type="application/json", headers={"cache-control": "no-store"})

    async def token(self, request: Request) -> Response:
        try:
            user = await self._current_user(request)
        except AuthError as exc:
            return _refused(exc)
        return _answer(answer_token(self._backend.auth, user))

    async def config(self, request: Request) -> Response:
        user = await self._signed_in(request)
        if isinstance(user, Response):
            return user
        answer = {"powersyncUrl": self._backend.auth.service_url, "userId": user.user_id}
        return JSONResponse(answer, headers={"cache-control": "no-store"})

    async def jwks(self, _request: Request) -> Response:
        return _answer(answer_jwks(self._backend.auth))

    async def _signed_in(self, request: Request) -> AuthenticatedUser | Response:
        """Who the app says is asking, or the answer that nobody is."""
        try:
            user = await self._current_user(request)
        except AuthError as exc:
            return _refused(exc)
        return user or _message(401, "Nobody is signed in.")


def _answer(answer: AuthAnswer) -> Response:
    return JSONResponse(answer.body, status_code=answer.status, headers=dict(answer.headers))


class _CheckpointRequest(msgspec.Struct):
    client_id: str


class _BodyTooLarge(Exception):
    pass


async def _read_body(request: Request) -> bytes:
    """The whole body. Raises _BodyTooLarge, before reading where the client says the size; ClientDisconnect."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > BODY_BYTES_MAX:
        raise _BodyTooLarge
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > BODY_BYTES_MAX:
            raise _BodyTooLarge
        parts.append(part)
    return b"".join(parts)


def _refused(exc: AuthError) -> Response:
    return _message(401, f"{exc.message} {exc.hint}".rstrip(), code=exc.error_code)


def _message(status: int, text: str, *, code: str = "") -> Response:
    return JSONResponse({"message": text} | ({"code": code} if code else {}), status_code=status)
