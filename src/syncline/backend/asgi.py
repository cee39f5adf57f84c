"""The face for any ASGI server, and for frameworks that mount ASGI apps: `app = SyncApp(backend, current_user=…)`.

Its lifespan opens and closes the backend. Where the server or the framework runs no lifespan of a mounted app, call `backend.open()` and
`backend.close()` yourself, in the event loop that serves.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

from syncline.backend.core import SyncBackend
from syncline.backend.http.messages import BackendRequest, BackendResponse, BodyIncomplete
from syncline.backend.tokens import AuthenticatedUser

__all__ = ["ScopeUser", "SyncApp"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

ScopeUser = Callable[[Scope], Awaitable[AuthenticatedUser | None]]
"""The app's own login: the user of a request, from its ASGI scope; None for nobody."""


class SyncApp:
    """All routes of the toolkit as one ASGI app. Without `current_user` nobody is signed in: then it gives no tokens."""

    def __init__(self, backend: SyncBackend, *, current_user: ScopeUser | None = None) -> None:
        self._backend = backend
        self._current_user = current_user

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, or the lifespan of the server."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await _send(send, await self._answer(scope, receive))
        else:
            await send({"type": "websocket.close"})  # the toolkit has no WebSocket routes

    async def _answer(self, scope: Scope, receive: Receive) -> BackendResponse:
        current_user = self._current_user

        async def sign_in() -> AuthenticatedUser | None:
            return await current_user(scope) if current_user is not None else None

        return await self._backend.handle(_request(scope), body_parts=_body_parts(receive), sign_in=sign_in)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self._backend.open()
        except Exception as exc:  # a server tells its operator what the message says
            await send({"type": "lifespan.startup.failed", "message": str(exc)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._backend.close()
        await send({"type": "lifespan.shutdown.complete"})


def _request(scope: Scope) -> BackendRequest:
    """The request of a scope; `path` is relative to where the app is mounted."""
    return BackendRequest(
        scope["method"],
        scope["path"].removeprefix(scope.get("root_path", "")) or "/",
        dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)),
        {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]},
    )


async def _body_parts(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BodyIncomplete
        yield message.get("body", b"")
        more = message.get("more_body", False)


async def _send(send: Send, answer: BackendResponse) -> None:
    headers = {**answer.headers, "content-length": str(len(answer.body))}
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": encoded})
    await send({"type": "http.response.body", "body": answer.body})
