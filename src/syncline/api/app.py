"""The routes of the service. `/sync/stream` is a plain ASGI app; everything else is a handler that returns an answer.

The order of checks is the field's: fields of the request (400), then who asks (401), then the work (protocol reference, 1).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from syncline.api.answers import (
    CORS_HEADERS,
    Answer,
    InternalError,
    Receive,
    RouteNotFound,
    Scope,
    Send,
    data_answer,
    send_error,
    send_json,
    send_too_many,
)
from syncline.api.checkpoints import ReplicationWait, WriteCheckpointBatcher, client_id_of, request_id_of
from syncline.api.dashboard.pages import DASHBOARD_PREFIXES
from syncline.api.groups import (
    ADMIN_QUEUED_MAX,
    ADMIN_RUNNING_MAX,
    CHECKPOINTS_QUEUED_MAX,
    CHECKPOINTS_RUNNING_MAX,
    GroupFull,
    RequestGroup,
)
from syncline.api.openapi import OPENAPI_BODY
from syncline.api.probes import Probes
from syncline.api.requests import ClientGone, authenticate, query_fields, read_fields
from syncline.api.stream import SyncStreamApp
from syncline.auth.verifier import TokenVerifier
from syncline.errors import RequestInvalid, SynclineError
from syncline.sync.stream import user_key_of

__all__ = ["AsgiApp", "Handler", "ServiceApp"]

log = logging.getLogger(__name__)

AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Handler = Callable[[Scope, Receive], Awaitable[Answer]]
STREAM_ROUTE = ("POST", "/sync/stream")
SERVER_ERROR = 500  # statuses from here on are told in the log: the answer does not say all


class _Route(NamedTuple):
    handler: Handler
    group: RequestGroup | None = None


class ServiceApp:
    """The ASGI app of the sync service.

    `admin` are the handlers of administrators by method and path. `websocket` gets every WebSocket, whatever its path; `dashboard` gets
    what is below its prefixes.
    `uses_custom_checkpoints` says whether the active sync config has write checkpoints of its own (protocol reference, 5.4).
    """

    def __init__(
        self,
        *,
        stream: SyncStreamApp,
        verifier: TokenVerifier,
        write_checkpoints: WriteCheckpointBatcher,
        probes: Probes | None = None,
        admin: dict[tuple[str, str], Handler] | None = None,
        websocket: AsgiApp | None = None,
        dashboard: AsgiApp | None = None,
        replication_wait: ReplicationWait | None = None,
        uses_custom_checkpoints: Callable[[], bool] = lambda: False,
    ) -> None:
        self._stream = stream
        self._websocket = websocket
        self._dashboard = dashboard
        self._verifier = verifier
        self._write_checkpoints = write_checkpoints
        self._replication_wait = replication_wait
        self._uses_custom_checkpoints = uses_custom_checkpoints
        admins = RequestGroup(running_max=ADMIN_RUNNING_MAX, queued_max=ADMIN_QUEUED_MAX)
        checkpoints = RequestGroup(running_max=CHECKPOINTS_RUNNING_MAX, queued_max=CHECKPOINTS_QUEUED_MAX)
        self._routes: dict[tuple[str, str], _Route] = {
            ("GET", "/write-checkpoint2.json"): _Route(self._count_up, checkpoints),
            ("POST", "/sync/checkpoint-request"): _Route(self._request, checkpoints),
            ("GET", "/openapi.json"): _Route(_openapi),
        }
        if replication_wait is not None:
            self._routes["GET", "/write-checkpoint.json"] = _Route(self._wait_until_passed, checkpoints)
        if probes is not None:
            for name in ("startup", "liveness", "readiness"):
                self._routes["GET", f"/probes/{name}"] = _Route(_probe(getattr(probes, name)))
        for route, handler in (admin or {}).items():
            self._routes[route] = _Route(handler, admins)

    @property
    def routes(self) -> frozenset[tuple[str, str]]:
        """Method and path of everything that is served over HTTP."""
        return frozenset({*self._routes, STREAM_ROUTE})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "websocket" and self._websocket is not None:
            await self._websocket(scope, receive, send)
        if scope["type"] != "http":
            return
        method, path = scope["method"], scope["path"]
        if self._dashboard is not None and path.startswith(DASHBOARD_PREFIXES):
            await self._dashboard(scope, receive, send)
        elif method == "OPTIONS":
            await _send_preflight(send)
        elif (method, path) == STREAM_ROUTE:
            await self._stream(scope, receive, send)
        else:
            # A HEAD is a GET whose body the server leaves out.
            await self._answer(scope, receive, send, self._routes.get(("GET" if method == "HEAD" else method, path)))

    async def _answer(self, scope: Scope, receive: Receive, send: Send, route: _Route | None) -> None:
        try:
            if route is None:
                raise _not_found(scope)
            if route.group is None:
                answer = await route.handler(scope, receive)
            else:
                async with route.group.place():
                    answer = await route.handler(scope, receive)
        except ClientGone:
            return
        except GroupFull:
            await send_too_many(send)
            return
        except SynclineError as exc:
            if exc.status >= SERVER_ERROR:
                log.warning("A request failed: %s", exc, extra={"event": "api.refused", "code": exc.error_code})
            await send_error(send, exc)
            return
        except Exception:
            log.exception("A request failed", extra={"event": "api.crash", "path": scope["path"]})
            await send_error(send, InternalError("Something went wrong."))
            return
        await send_json(send, answer.body, status=answer.status)

    async def _count_up(self, scope: Scope, _receive: Receive) -> Answer:
        client_id = client_id_of(query_fields(scope))
        token = await authenticate(scope, self._verifier)
        self._refuse_managed()
        value = await self._write_checkpoints.create(user_key_of(token.user_id, client_id))
        return data_answer({"write_checkpoint": str(value)})

    async def _request(self, scope: Scope, receive: Receive) -> Answer:
        fields = await read_fields(scope, receive)
        client_id, request_id = client_id_of(fields, required=True), request_id_of(fields)
        token = await authenticate(scope, self._verifier)
        self._refuse_managed()
        stored = await self._write_checkpoints.request(user_key_of(token.user_id, client_id), request_id)
        return data_answer({"checkpoint_request_id": str(stored)})

    async def _wait_until_passed(self, scope: Scope, _receive: Receive) -> Answer:
        await authenticate(scope, self._verifier)
        assert self._replication_wait is not None, "the route is there with it"
        return data_answer({"checkpoint": str(await self._replication_wait.passed())})

    def _refuse_managed(self) -> None:
        """With write checkpoints from a table of its own, numbers of ours would never be reached."""
        if self._uses_custom_checkpoints():
            raise RequestInvalid(["the sync config has write checkpoints of its own (event_definitions)"])


def _not_found(scope: Scope) -> RouteNotFound:
    return RouteNotFound(
        "There is no such route.", details=f"This service has no route {scope['method']} {scope['path'][:200]!r}."
    )


def _probe(probe: Callable[[Scope], Awaitable[tuple[int, bytes]]]) -> Handler:
    async def answer(scope: Scope, _receive: Receive) -> Answer:
        return Answer(*await probe(scope))

    return answer


async def _openapi(_scope: Scope, _receive: Receive) -> Answer:
    return Answer(200, OPENAPI_BODY)


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
