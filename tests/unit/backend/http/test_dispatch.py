"""The dispatcher: which route a request means, who may ask, and what an error becomes."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import pytest

from syncline.backend import AuthenticatedUser, SyncBackend
from syncline.backend.asgi import SyncApp
from syncline.backend.http.messages import BackendRequest, BackendResponse, json_response
from syncline.backend.http.openapi import openapi_document
from syncline.backend.http.routes import ALL_ROUTES
from syncline.backend.http.routing import Access, Call, Route, RouteTable
from syncline.backend.persisters.base import RetryLater
from syncline.errors import AuthError, RequestInvalid
from tests.unit.backend.asgi import RecordingPersister, ask, bearer, make_backend, operation, upload


async def nothing(_call: Call) -> BackendResponse:
    return json_response({})


def route(method: str, path: str) -> Route:
    return Route(method, path, nothing, "")


def test_the_more_literal_path_is_meant_whatever_the_order() -> None:
    table = RouteTable([route("PUT", "/a/{x}/{rest:path}"), route("PUT", "/a/{x}/{y}"), route("PUT", "/a/b/{y}")])
    found = {path: table.match("PUT", path) for path in ("/a/b/1", "/a/c/1", "/a/c/1/2")}
    assert [match.route and match.route.path for match in found.values()] == [
        "/a/b/{y}",
        "/a/{x}/{y}",
        "/a/{x}/{rest:path}",
    ]
    assert found["/a/c/1/2"].parameters == {"x": "c", "rest": "1/2"}


@pytest.mark.parametrize("path", ["/a", "/a/", "/a/b/", "x/a/b", "/A/b", "/a/b\n"])
def test_a_path_that_is_not_quite_it_is_not_it(path: str) -> None:
    assert RouteTable([route("GET", "/a/{x}/c"), route("GET", "/a/b")]).match("GET", path).route is None


def test_one_method_and_path_has_one_route() -> None:
    with pytest.raises(ValueError, match="Two routes for GET /a"):
        RouteTable([route("GET", "/a"), route("GET", "/a")])


def test_every_route_has_a_name_and_a_summary_of_its_own() -> None:
    names = [route.operation_id for route in ALL_ROUTES]
    assert len(set(names)) == len(names)
    assert all(route.summary for route in ALL_ROUTES)


async def answer(backend: SyncBackend, method: str = "GET", path: str = "/made", **request: object) -> BackendResponse:
    return await backend.handle(BackendRequest(method, path, **request))  # pyright: ignore[reportArgumentType]  # fields by name


def raising(error: Exception) -> Route:
    async def handler(_call: Call) -> BackendResponse:
        raise error

    return Route("GET", "/made", handler, "Fails", access=Access.PUBLIC)


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (AuthError("no", hint="sign in"), 401, "no sign in"),
        (RequestInvalid(["a is wrong", "b too"]), 400, "a is wrong; b too"),
        (RetryLater("later"), 503, "later"),
        (RuntimeError("a secret"), 500, "The backend failed. Its log says where."),
    ],
)
async def test_an_error_becomes_an_answer(error: Exception, status: int, text: str) -> None:
    got = await answer(make_backend(more_routes=[raising(error)]))
    assert (got.status, text in got.body.decode()) == (status, True)
    assert b"secret" not in got.body
    assert ("retry-after" in got.headers) == (status == 503)


async def test_the_log_tells_where_it_failed_but_not_what_the_error_says(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "syncline.backend"):
        await answer(make_backend(more_routes=[raising(RuntimeError("a secret"))]))
    [record] = [record for record in caplog.records if getattr(record, "event", "") == "backend.failed"]
    assert "RuntimeError" in record.getMessage()
    assert all("a secret" not in str(record.__dict__) for record in caplog.records)


async def test_unknown_paths_and_methods_have_clear_answers() -> None:
    unknown = await answer(make_backend(), path="/api/nothing")
    assert (unknown.status, unknown.headers["content-type"]) == (404, "application/json")
    other = await answer(make_backend(), method="DELETE", path="/api/auth/jwks")
    assert (other.status, other.headers["allow"], b"message" in other.body) == (405, "GET", True)


async def test_head_is_get_without_a_body() -> None:
    got = await answer(make_backend(), method="HEAD", path="/api/auth/jwks")
    assert (got.status, got.body, got.headers["content-type"]) == (200, b"", "application/json")


async def test_a_body_is_not_read_for_somebody_without_a_token() -> None:
    async def parts() -> AsyncIterator[bytes]:
        raise AssertionError("read")
        yield b""

    request = BackendRequest("POST", "/api/data")
    assert (await make_backend().handle(request, body_parts=parts())).status == 401


async def test_a_whole_request_is_answered_without_a_framework() -> None:
    """As a function of a cloud calls it (write path reference, 2.3)."""
    persister = RecordingPersister()
    backend = make_backend(persister)
    request = BackendRequest("POST", "/api/data", headers=bearer("ann"), body=upload([operation(row_id="l1")]))
    assert (await backend.handle(request)).status == 200
    assert persister.applied[0][0].owner == ("owner_id", "ann")
    token = await backend.handle(BackendRequest("GET", "/api/auth/token", user=AuthenticatedUser("kim")))
    assert b'"token"' in token.body
    assert "ann" not in repr(request)  # neither the token nor the body


async def test_an_asgi_app_opens_and_closes_its_backend() -> None:
    persister = RecordingPersister()
    app = SyncApp(make_backend(persister))
    incoming = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    states: list[tuple[str, bool]] = []

    async def receive() -> dict[str, str]:
        return incoming.pop(0)

    async def send(message: object) -> None:
        states.append((str(message), persister.opened))

    await app({"type": "lifespan"}, receive, send)  # pyright: ignore[reportArgumentType]  # as little as a server says
    assert states == [
        ("{'type': 'lifespan.startup.complete'}", True),
        ("{'type': 'lifespan.shutdown.complete'}", False),
    ]


async def test_the_document_has_every_route_of_the_backend_and_is_served() -> None:
    extra = Route("GET", "/app/{name}", nothing, "Of the app", access=Access.PUBLIC)
    got = await ask(SyncApp(make_backend(more_routes=[extra])), "GET", "/api/openapi.json")
    paths = got.json()["paths"]
    assert paths["/app/{name}"]["get"]["parameters"][0]["name"] == "name"
    assert paths.keys() == openapi_document((*ALL_ROUTES, extra))["paths"].keys()
    assert len([1 for methods in paths.values() for _ in methods]) == len(ALL_ROUTES) + 1
