"""The routes for Starlette: uploads, tokens, keys. `syncline.backend.fastapi` mounts the same ones."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from syncline.backend.core import SyncBackend
from syncline.backend.limits import BODY_BYTES_MAX
from syncline.backend.tokens import AuthenticatedUser
from syncline.errors import AuthError, RequestInvalid

__all__ = ["CurrentUser", "backend_routes", "development_login"]

CurrentUser = Callable[[Request], Awaitable[AuthenticatedUser | None]]
"""The app's own login: the user of a request, or None for nobody."""

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def development_login() -> CurrentUser:
    """`?user_id=` names the user, without any proof. For demos: refused where the server is not reached over loopback."""

    async def current_user(request: Request) -> AuthenticatedUser | None:
        server = request.scope.get("server")
        if server is None or server[0] not in _LOOPBACK:
            return None
        user_id = request.query_params.get("user_id")
        return AuthenticatedUser(user_id) if user_id else None

    return current_user


def backend_routes(backend: SyncBackend, *, current_user: CurrentUser) -> list[Route]:
    """`POST /api/data`, `GET /api/auth/token`, `GET /api/auth/jwks` with its older names, `GET /api/powersync/config`."""
    handlers = _Handlers(backend, current_user)
    return [
        Route("/api/data", handlers.upload, methods=["POST"]),
        Route("/api/auth/token", handlers.token, methods=["GET"]),
        Route("/api/powersync/config", handlers.config, methods=["GET"]),
        *(
            Route(path, handlers.jwks, methods=["GET"])
            for path in ("/api/auth/jwks", "/api/auth/keys", "/.well-known/jwks.json")
        ),
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
            return _message(401, str(exc.message), code=exc.error_code)
        except RequestInvalid as exc:
            return _message(400, "; ".join(exc.problems))
        except _BodyTooLarge:
            return _message(413, f"The upload is larger than {BODY_BYTES_MAX} bytes.")
        return Response(msgspec.json.encode(answer), media_type="application/json")

    async def token(self, request: Request) -> Response:
        user = await self._current_user(request)
        if user is None:
            return _message(401, "Nobody is signed in.")
        issued = self._backend.auth.issue(user)
        expires_at = datetime.fromtimestamp(issued.expires_at_s, UTC).isoformat().replace("+00:00", "Z")
        answer = {"token": issued.token, "expiresAt": expires_at, "powersync_url": self._backend.auth.service_url}
        return JSONResponse(answer, headers={"cache-control": "no-store"})

    async def config(self, request: Request) -> Response:
        user = await self._current_user(request)
        if user is None:
            return _message(401, "Nobody is signed in.")
        return JSONResponse({"powersyncUrl": self._backend.auth.service_url, "userId": user.user_id})

    async def jwks(self, _request: Request) -> Response:
        return JSONResponse(self._backend.auth.jwks(), headers={"cache-control": "public, max-age=60"})


class _BodyTooLarge(Exception):
    pass


async def _read_body(request: Request) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > BODY_BYTES_MAX:
            raise _BodyTooLarge
        parts.append(part)
    return b"".join(parts)


def _message(status: int, text: str, *, code: str = "") -> Response:
    return JSONResponse({"message": text} | ({"code": code} if code else {}), status_code=status)
