"""The routes of the service. `/sync/stream` is a plain ASGI app; everything else is a handler that returns a JSON body."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

import orjson

from syncline.api.answers import CORS_HEADERS, InternalError, Receive, Scope, Send, send_error, send_json
from syncline.api.checkpoints import WriteCheckpointBatcher
from syncline.api.probes import Probes
from syncline.api.requests import ClientGone, authenticate
from syncline.api.stream import SyncStreamApp
from syncline.auth.verifier import TokenVerifier
from syncline.errors import SynclineError
from syncline.sync.stream import user_key_of

__all__ = ["ServiceApp"]

log = logging.getLogger(__name__)

Handler = Callable[[Scope], Awaitable[tuple[int, bytes]]]


class RouteNotFound(SynclineError):
    """No such route."""

    code = "PSYNC_S2002"
    status = 404


class ServiceApp:
    """The ASGI app of the sync service."""

    def __init__(
        self,
        *,
        stream: SyncStreamApp,
        verifier: TokenVerifier,
        write_checkpoints: WriteCheckpointBatcher,
        probes: Probes,
    ) -> None:
        self._stream = stream
        self._verifier = verifier
        self._write_checkpoints = write_checkpoints
        self._handlers: dict[tuple[str, str], Handler] = {
            ("GET", "/write-checkpoint2.json"): self._write_checkpoint,
            ("GET", "/probes/startup"): probes.startup,
            ("GET", "/probes/liveness"): probes.liveness,
            ("GET", "/probes/readiness"): probes.readiness,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Route one request."""
        if scope["type"] != "http":
            return  # no WebSocket here yet: uvicorn refuses the upgrade
        method, path = scope["method"], scope["path"]
        if method == "OPTIONS":
            await _send_preflight(send)
        elif (method, path) == ("POST", "/sync/stream"):
            await self._stream(scope, receive, send)
        else:
            await self._answer(scope, send, self._handlers.get((method, path)))

    async def _answer(self, scope: Scope, send: Send, handler: Handler | None) -> None:
        try:
            if handler is None:
                raise RouteNotFound(f"There is no route {scope['method']} {scope['path']}.")
            status, body = await handler(scope)
        except ClientGone:
            return
        except SynclineError as exc:
            await send_error(send, exc)
            return
        except Exception:
            log.exception("A request failed", extra={"event": "api.crash", "path": scope["path"]})
            await send_error(send, InternalError("Something went wrong."))
            return
        await send_json(send, body, status=status)

    async def _write_checkpoint(self, scope: Scope) -> tuple[int, bytes]:
        token = await authenticate(scope, self._verifier)
        query = parse_qs(scope["query_string"].decode("latin-1"))
        client_id = query.get("client_id", [""])[0]
        value = await self._write_checkpoints.create(user_key_of(token.user_id, client_id or None))
        return 200, orjson.dumps({"data": {"write_checkpoint": str(value)}})


async def _send_preflight(send: Send) -> None:
    headers = [
        *CORS_HEADERS,
        (b"access-control-allow-methods", b"GET,HEAD,POST"),
        (b"access-control-allow-headers", b"Content-Type, Authorization, User-Agent, X-User-Agent"),
        (b"access-control-max-age", b"3600"),
        (b"content-length", b"0"),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
