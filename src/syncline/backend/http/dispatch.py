"""From a request to an answer: find the route, prove who asks, read the body, call the handler, and turn its errors into answers.

Who may not ask is told before the body is read, so that nobody without a token makes us hold one.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from syncline.backend.http.body_checks import check_repeated_names
from syncline.backend.http.messages import (
    BackendRequest,
    BackendResponse,
    EncodingNotAccepted,
    RequestRefused,
    message_response,
)
from syncline.backend.http.request_limits import Admission
from syncline.backend.http.routing import Access, Call, Route, RouteTable
from syncline.backend.limits import RETRY_AFTER_MS
from syncline.backend.persisters.base import RetryLater
from syncline.backend.rule_failures import log_failure
from syncline.backend.tokens import AuthenticatedUser
from syncline.errors import AuthError, RequestInvalid

if TYPE_CHECKING:
    from syncline.backend.core import SyncBackend

__all__ = ["BodyParts", "Dispatcher", "SignIn"]

BodyParts = AsyncIterable[bytes]
"""A body as it arrives; the dispatcher stops reading at its limits. Raises BodyIncomplete where the client has gone."""

SignIn = Callable[[], Awaitable[AuthenticatedUser | None]]
"""Asks the app's own login who is asking. May raise AuthError."""

_LENGTH_DIGITS_MAX = 18  # digits of a content-length that are read

_RETRY_HEADERS = {"retry-after": str(max(1, round(RETRY_AFTER_MS / 1000)))}


class Dispatcher:
    """Answers all requests of one backend, within the limits of `admission`."""

    def __init__(self, backend: SyncBackend, routes: Iterable[Route], admission: Admission) -> None:
        self._backend = backend
        self._admission = admission
        self.table = RouteTable(routes)

    async def handle(
        self, request: BackendRequest, *, body_parts: BodyParts | None = None, sign_in: SignIn | None = None
    ) -> BackendResponse:
        """The answer; 404 and 405 for what is not in the table.

        `body_parts` are read where the body is wanted, instead of `request.body`; `sign_in` is called likewise instead of `request.user`.
        Raises what `sign_in` raises, but for AuthError.
        """
        found = self.table.match(request.method, request.path)
        if found.route is None:
            return self.refuse(found.allowed)
        return await self.serve(found.route, request, found.parameters, body_parts=body_parts, sign_in=sign_in)

    async def serve(
        self,
        route: Route,
        request: BackendRequest,
        parameters: Mapping[str, str],
        *,
        body_parts: BodyParts | None = None,
        sign_in: SignIn | None = None,
    ) -> BackendResponse:
        """The answer of a route, for frameworks that have found it themselves. Other arguments as in `handle`.

        Raises what `sign_in` raises, but for AuthError: a framework's own exceptions are for the framework.
        """
        user: AuthenticatedUser | None = None
        failure: AuthError | None = None
        if route.access is Access.LOGIN:
            try:
                user = await sign_in() if sign_in is not None else request.user
            except AuthError as exc:
                failure = exc
        if failure is not None:
            answer = _unauthenticated(failure)
        else:
            answer = await self._judged(route, Call(self._backend, request, parameters, user), body_parts)
        self._counted(route.path, answer)
        return replace(answer, body=b"") if request.method == "HEAD" else answer

    def refuse(self, allowed: Collection[str]) -> BackendResponse:
        """The answer to a request without a route: 405 where its path takes the `allowed` methods, 404 where it takes none."""
        return self._counted("", _not_found(allowed))

    def _counted(self, path: str, answer: BackendResponse) -> BackendResponse:
        if self._backend.metrics is not None:
            self._backend.metrics.request(path, answer.status)
        return answer

    async def _judged(self, route: Route, call: Call, body_parts: BodyParts | None) -> BackendResponse:
        """The handler's answer, or that to its error."""
        try:
            if route.access is Access.TOKEN:
                authorization = call.request.headers.get("authorization")
                call = replace(call, known_user=await self._backend.auth.authenticate(authorization))
            if call.known_user is not None:
                self._admission.check_rate(call.known_user.user_id)
            return await self._answer(route, call, body_parts)
        except AuthError as exc:
            return _unauthenticated(exc)
        except RequestInvalid as exc:
            return message_response(exc.status, "; ".join(exc.problems))
        except RequestRefused as exc:
            return message_response(exc.status, exc.message, headers=exc.headers)
        except RetryLater as exc:
            return message_response(503, str(exc), headers=_RETRY_HEADERS)
        except Exception as exc:
            log_failure(exc, f"{route.method} {route.path} failed", event="backend.failed")
            return message_response(500, "The backend failed. Its log says where.")

    async def _answer(self, route: Route, call: Call, body_parts: BodyParts | None) -> BackendResponse:
        """Read the body where the route wants one, and call the handler."""
        request = call.request
        if not route.reads_body:
            return await route.handler(replace(call, request=replace(request, body=b"")))
        if request.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
            raise EncodingNotAccepted
        async with self._admission.body(
            _whole(request.body) if body_parts is None else body_parts,
            bytes_max=self._admission.limits.body_bytes if route.body_bytes_max is None else route.body_bytes_max,
            announced=_announced_bytes(request),
        ) as body:
            check_repeated_names(body)
            return await route.handler(replace(call, request=replace(request, body=body)))


def _unauthenticated(exc: AuthError) -> BackendResponse:
    text = f"{exc.message} {exc.hint}".rstrip()
    return message_response(401, text, code=exc.error_code, headers={"www-authenticate": "Bearer"})


def _announced_bytes(request: BackendRequest) -> int:
    """What the client says its body has; 0 for what is no number. Python refuses to read very long numbers."""
    announced = request.headers.get("content-length", "")
    return int(announced[:_LENGTH_DIGITS_MAX]) if announced.isdecimal() else 0


async def _whole(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _not_found(allowed: Collection[str]) -> BackendResponse:
    if not allowed:
        return message_response(404, "There is nothing here. The routes are listed in GET /api/openapi.json.")
    methods = ", ".join(sorted(allowed))
    return message_response(405, f"This path takes {methods} only.", headers={"allow": methods})
