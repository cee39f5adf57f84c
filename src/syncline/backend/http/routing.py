"""What a route is, and which one a request means. Pure.

A module that answers requests exports a tuple of `Route`s and adds it to the table in `routes`; nothing else has to know of it.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from syncline.backend.http.messages import BackendRequest, BackendResponse
from syncline.backend.tokens import AuthenticatedUser
from syncline.errors import TokenMissing

if TYPE_CHECKING:
    from syncline.backend.core import SyncBackend

__all__ = ["Access", "Call", "Handler", "Match", "Route", "RouteTable", "path_pattern"]

_PARAMETER = re.compile(r"\{(\w+)(:path)?\}")


class Access(enum.Enum):
    """Who may ask; the dispatcher sees to it before the handler is called and before a body is read."""

    PUBLIC = "public"  # everybody: public keys
    LOGIN = "login"  # whom the app's own login has signed in; the handler gets None for nobody
    TOKEN = "token"  # noqa: S105 - the bearer of a good token


@dataclass(frozen=True, slots=True)
class Call:
    """One request on its way to the handler of its route. `parameters` are those of the path, decoded."""

    backend: SyncBackend
    request: BackendRequest
    parameters: Mapping[str, str] = field(default_factory=dict[str, str])
    known_user: AuthenticatedUser | None = None

    @property
    def user(self) -> AuthenticatedUser:
        """Who asks, proved: by the token, or by the app's login. Raises TokenMissing for nobody."""
        if self.known_user is None:
            raise TokenMissing("Nobody is signed in.")
        return self.known_user


Handler = Callable[[Call], Awaitable[BackendResponse]]
"""Answers one route. May raise AuthError (401), RequestInvalid (400), RetryLater (503)."""


@dataclass(frozen=True, slots=True)
class Route:
    """Method and path of a handler; a path may have `{parameters}`, one segment each, and `{name:path}` at its end for the rest.

    `body_bytes_max` is None for the backend's own limit, 0 where a body is neither expected nor read. What else stands here is for the
    OpenAPI document: `receives` and `answers` are types that msgspec knows, or unions of Structs; `statuses` are those that the dispatcher
    does not know of; `query` has each parameter with what it means; `name` is the operation's id, made of method and path where empty.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    access: Access = Access.TOKEN
    body_bytes_max: int | None = None
    receives: Any = None
    answers: Any = None
    statuses: tuple[int, ...] = (200,)
    query: tuple[tuple[str, str], ...] = ()
    name: str = ""

    @property
    def reads_body(self) -> bool:
        """Whether a body is read at all: that of a DELETE only where the route says how large it may be."""
        if self.method == "DELETE":
            return bool(self.body_bytes_max)
        return self.method != "GET" and self.body_bytes_max != 0

    @property
    def operation_id(self) -> str:
        """The route's name in the OpenAPI document: its own, or made of method and path (`post_api_data`)."""
        words = re.sub(r"[^a-z0-9]+", "_", _PARAMETER.sub(r"\1", self.path).lower()).strip("_")
        return self.name or f"{self.method.lower()}_{words}"

    @property
    def specificity(self) -> tuple[int, ...]:
        """Compares routes: a literal segment goes before a parameter, a parameter before the rest of a path."""
        return tuple(2 if ":path}" in part else 1 if part.startswith("{") else 0 for part in self.path.split("/"))


@dataclass(frozen=True, slots=True)
class Match:
    """The route that a request means. Without `route`: `allowed` are the methods that its path has; none is an unknown path."""

    route: Route | None
    parameters: Mapping[str, str] = field(default_factory=dict[str, str])
    allowed: tuple[str, ...] = ()


class RouteTable:
    """All routes of a backend; `ordered` has the more literal paths first. Raises ValueError for a method and path that come twice."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        known: set[tuple[str, str]] = set()
        for route in self.routes:
            if (route.method, route.path) in known:
                raise ValueError(f"Two routes for {route.method} {route.path}.")
            known.add((route.method, route.path))
        self.ordered = tuple(sorted(self.routes, key=lambda route: route.specificity))
        self._patterns = [(re.compile(path_pattern(route.path), re.DOTALL), route) for route in self.ordered]

    def match(self, method: str, path: str) -> Match:
        """The route of a request; HEAD is answered as GET."""
        wanted = "GET" if method == "HEAD" else method
        allowed: set[str] = set()
        for pattern, route in self._patterns:
            found = pattern.fullmatch(path)
            if found is None:
                continue
            if route.method == wanted:
                return Match(route, found.groupdict())
            allowed.add(route.method)
        return Match(None, {}, tuple(sorted(allowed)))


def path_pattern(path: str) -> str:
    """The regular expression of a template, with a named group for each parameter."""
    parts: list[str] = []
    end = 0
    for found in _PARAMETER.finditer(path):
        parts += [re.escape(path[end : found.start()]), f"(?P<{found[1]}>{'.+' if found[2] else '[^/]+'})"]
        end = found.end()
    return "".join(parts) + re.escape(path[end:])
