"""The dashboard's ASGI app: the page for everybody who can reach it, its questions for whoever has a token of `api.tokens`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import orjson

from syncline.api.answers import InternalError, Receive, RouteNotFound, Scope, Send, error_body, send_too_many
from syncline.api.dashboard.clients import Clients
from syncline.api.dashboard.configs import Configs, connection_of
from syncline.api.dashboard.explaining import Explaining
from syncline.api.dashboard.limits import (
    REQUESTS_QUEUED_MAX,
    REQUESTS_RUNNING_MAX,
    TAIL_CLOSE_S,
    TAIL_S_MAX,
    TAIL_STUCK_S,
)
from syncline.api.dashboard.overview import Overview
from syncline.api.dashboard.pages import PAGE_HEADERS, page_files
from syncline.api.dashboard.recent_errors import RecentErrors
from syncline.api.dashboard.sizes import Sizes
from syncline.api.dashboard.tail import Tails
from syncline.api.groups import GroupFull, RequestGroup
from syncline.api.requests import ClientGone, header, read_fields
from syncline.auth.api_tokens import ApiTokens
from syncline.errors import SourceError, SynclineError, TooManyConnections

__all__ = ["DashboardApp", "DashboardOff"]

log = logging.getLogger(__name__)

_API = "/api/dashboard/v1"
_JSON = b"application/json; charset=utf-8"
_NDJSON = b"application/x-ndjson"
SERVER_ERROR = 500  # statuses from here on are told in the log

_Question = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


class DashboardApp:
    """Serves the page and answers its questions, all of them read-only; the page deploys through the admin API."""

    def __init__(
        self,
        *,
        tokens: ApiTokens,
        overview: Overview,
        clients: Clients,
        errors: RecentErrors,
        configs: Configs,
        explaining: Explaining,
        sizes: Sizes,
        tails: Tails,
    ) -> None:
        self._tokens = tokens
        self._tails = tails
        self._sending: set[asyncio.Task[None]] = set()  # of open tails
        self._files = page_files()
        self._group = RequestGroup(running_max=REQUESTS_RUNNING_MAX, queued_max=REQUESTS_QUEUED_MAX)

        async def newest_errors() -> dict[str, Any]:
            return {"pid": os.getpid(), "errors": errors.newest()}

        self._questions: dict[tuple[str, str], _Question] = {
            ("GET", f"{_API}/overview"): lambda _: overview(),
            ("GET", f"{_API}/clients"): lambda _: clients(),
            ("GET", f"{_API}/errors"): lambda _: newest_errors(),
            ("GET", f"{_API}/config"): lambda _: configs.config(),
            ("GET", f"{_API}/buckets"): lambda _: sizes(),
            ("POST", f"{_API}/preview"): configs.preview,
            ("POST", f"{_API}/explain"): explaining,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whose path begins with one of DASHBOARD_PREFIXES."""
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        path: str = scope["path"]
        try:
            if method == "GET" and path == "/dashboard/":
                await _send(send, b"", _JSON, status=308, headers=[(b"location", b"../dashboard")])
            elif method == "GET" and (found := self._files.get(path)) is not None:
                await _send(send, found.body, found.media_type)
            elif (method, path) == ("POST", f"{_API}/tail"):
                await self._tail(scope, receive, send)
            elif (question := self._questions.get((method, path))) is not None:
                self._tokens.check(header(scope, b"authorization"))
                async with self._group.place():
                    answer = await question(await read_fields(scope, receive))
                await _send(send, _json({"data": answer}), _JSON)
            else:
                raise RouteNotFound("There is no such route.", details=f"The dashboard has no {method} {path[:200]!r}.")
        except ClientGone:
            return
        except (GroupFull, TooManyConnections):
            await send_too_many(send)
        except SourceError as exc:
            await _send(send, _source_error(exc), _JSON, status=exc.status)
        except SynclineError as exc:
            if exc.status >= SERVER_ERROR:
                log.warning("A request failed: %s", exc, extra={"event": "api.refused", "code": exc.error_code})
            await _send(send, error_body(exc), _JSON, status=exc.status)
        except Exception:
            log.exception("A request failed", extra={"event": "api.crash", "path": path})
            await _send(send, error_body(InternalError("Something went wrong.")), _JSON, status=500)

    async def close(self) -> None:
        """End all tails: the service stops."""
        for task in list(self._sending):
            task.cancel()

    async def _tail(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A tail of the user in the body, until it ends or the page goes away."""
        self._tokens.check(header(scope, b"authorization"))
        user = connection_of((await read_fields(scope, receive)).get("user"), "user")
        async with aclosing(self._tails.lines(user)) as lines:
            first = await anext(lines)  # what is wrong is an answer of its own, not a broken stream
            sending = asyncio.create_task(_send_lines(send, first, lines))
            leaving = asyncio.create_task(_until_gone(receive))
            self._sending.add(sending)
            try:
                # The tail ends by itself; the timeout is for a page that takes nothing any more.
                await asyncio.wait(
                    {sending, leaving}, return_when=asyncio.FIRST_COMPLETED, timeout=TAIL_S_MAX + TAIL_STUCK_S
                )
            finally:
                self._sending.discard(sending)
                for task in (sending, leaving):
                    task.cancel()
                await asyncio.wait({sending, leaving})
            if not sending.cancelled() and (error := sending.exception()) is not None:
                log.warning("A tail failed: %r", error, extra={"event": "dashboard.tail_error"})


class DashboardOff:
    """In the place of the dashboard where nobody could sign in: every request is answered as if there were no such route."""

    def __init__(self) -> None:
        self._told = False

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer 404, and say once in the log why."""
        if not self._told:
            self._told = True
            log.warning(
                "The dashboard was asked for and is off: api.tokens has no token with which anybody could sign in.",
                extra={"event": "dashboard.off"},
            )
        exc = RouteNotFound(
            "There is no such route.", details=f"This service has no route {scope['method']} {scope['path'][:200]!r}."
        )
        await _send(send, error_body(exc), _JSON, status=exc.status)


def _source_error(exc: SourceError) -> bytes:
    """What the source said, with its hint: who asks here is told it by diagnostics too. It names hosts and roles, never passwords."""
    error = {"code": exc.error_code, "status": exc.status, "name": "ServiceError", "description": exc.message}
    return _json({"error": error | ({"details": exc.hint} if exc.hint else {})})


def _json(value: dict[str, Any]) -> bytes:
    """As JSON. Ids are a client's, and may hold what UTF-8 cannot: that is written as a question mark."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return orjson.dumps(_whole(value))


def _whole(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case dict():
            return {_whole(name): _whole(one) for name, one in value.items()}  # pyright: ignore[reportUnknownVariableType]  # of any JSON
        case list():
            return [_whole(one) for one in value]  # pyright: ignore[reportUnknownVariableType]  # of any JSON
        case _:
            return value


async def _send(
    send: Send, body: bytes, media_type: bytes, *, status: int = 200, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    head = [*PAGE_HEADERS, (b"content-type", media_type), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": head + (headers or [])})
    await send({"type": "http.response.body", "body": body})


async def _send_lines(send: Send, first: bytes, lines: AsyncGenerator[bytes]) -> None:
    headers = [*PAGE_HEADERS, (b"content-type", _NDJSON)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": first, "more_body": True})
    try:
        async for line in lines:
            await send({"type": "http.response.body", "body": line, "more_body": True})
    finally:
        # Whole for whoever still listens. The server drops what is sent to nobody, and holds what is not taken.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TAIL_CLOSE_S):
                await send({"type": "http.response.body", "body": b""})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
