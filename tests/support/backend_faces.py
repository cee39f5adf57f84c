"""Every face of the backend toolkit behind one way to ask, for the contract that all of them keep (`test_faces`)."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
import json
import socket
import sys
import threading
import types
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from socketserver import ThreadingMixIn
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import uvicorn
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Mount

from syncline.backend import AuthenticatedUser, SyncBackend
from syncline.backend.asgi import SyncApp
from syncline.backend.background import BackgroundBackend
from syncline.backend.fastapi import backend_router
from syncline.backend.http.messages import BackendRequest
from syncline.backend.starlette import backend_routes
from syncline.testing.waiting import eventually_sync

__all__ = ["FACES", "LOGIN", "Answer", "Ask", "django_browser", "over_http", "project_urls", "serving_asgi"]

LOGIN = "x-signed-in"  # header with the user whom the app of these tests has signed in


@dataclass(frozen=True)
class Answer:
    """Of one request; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


Ask = Callable[[str, str, Mapping[str, str], bytes | Iterable[bytes]], Answer]
"""Method, path with query, headers, body; several parts are sent without a content-length."""


def over_http(url: str, prefix: str = "") -> Ask:
    """Ask a server, each time on a connection of its own."""
    port = urlsplit(url).port

    def ask(method: str, path: str, headers: Mapping[str, str], body: bytes | Iterable[bytes]) -> Answer:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            whole = isinstance(body, bytes)
            connection.request(
                method, prefix + path, body if whole else iter(body), dict(headers), encode_chunked=not whole
            )
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())

    return ask


@contextlib.contextmanager
def serving_asgi(app: Any, *, lifespan: bool = True) -> Generator[str]:
    """An ASGI app behind uvicorn, in a thread with a loop of its own; gives the base URL."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(100)
    config = uvicorn.Config(app, lifespan="on" if lifespan else "off", log_config=None, ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server._serve([listening])), name="asgi", daemon=True)
    thread.start()
    try:
        eventually_sync(lambda: server.started or not thread.is_alive(), timeout_s=60)
        assert server.started, "the app's lifespan has failed"
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        listening.close()


def _opening(backend: SyncBackend) -> Any:
    @contextlib.asynccontextmanager
    async def lifespan(_app: Any) -> AsyncGenerator[None]:
        await backend.open()
        yield
        await backend.close()

    return lifespan


async def _of_request(request: Request) -> AuthenticatedUser | None:
    return _user(request.headers.get(LOGIN))


async def _of_scope(scope: Any) -> AuthenticatedUser | None:
    return _user(dict(scope["headers"]).get(LOGIN.encode(), b"").decode())


def _user(name: str | None) -> AuthenticatedUser | None:
    return AuthenticatedUser(name) if name else None


@contextlib.contextmanager
def _starlette(backend: SyncBackend) -> Generator[Ask]:
    app = Starlette(routes=backend_routes(backend, current_user=_of_request), lifespan=_opening(backend))
    with serving_asgi(app) as url:
        yield over_http(url)


@contextlib.contextmanager
def _fastapi(backend: SyncBackend) -> Generator[Ask]:
    app = FastAPI(lifespan=_opening(backend))
    app.include_router(backend_router(backend, current_user=_of_request), prefix="/v1")
    with serving_asgi(app) as url:
        yield over_http(url, "/v1")


@contextlib.contextmanager
def _asgi(backend: SyncBackend) -> Generator[Ask]:
    with serving_asgi(SyncApp(backend, current_user=_of_scope)) as url:
        yield over_http(url)


@contextlib.contextmanager
def _mounted(backend: SyncBackend) -> Generator[Ask]:
    app = Starlette(routes=[Mount("/sync", SyncApp(backend, current_user=_of_scope))], lifespan=_opening(backend))
    with serving_asgi(app) as url:
        yield over_http(url, "/sync")


@contextlib.contextmanager
def _function(backend: SyncBackend) -> Generator[Ask]:
    """As a function of a cloud is called: events in the form of AWS Lambda's HTTP API (version 2)."""
    background = BackgroundBackend(backend)

    def lambda_handler(event: dict[str, Any]) -> dict[str, Any]:
        body = event.get("body") or ""
        answer = background.handle(
            BackendRequest(
                event["requestContext"]["http"]["method"],
                unquote(event["rawPath"]),
                event.get("queryStringParameters") or {},
                event["headers"],
                base64.b64decode(body) if event.get("isBase64Encoded") else body.encode(),
                user=_user(event["headers"].get(LOGIN)),
            )
        )
        return {"statusCode": answer.status, "headers": dict(answer.headers), "body": answer.body.decode()}

    def ask(method: str, path: str, headers: Mapping[str, str], body: bytes | Iterable[bytes]) -> Answer:
        raw_path, _, query = path.partition("?")
        event = {
            "rawPath": raw_path,
            "queryStringParameters": dict(parse_qsl(query)),
            "headers": {name.lower(): value for name, value in headers.items()},
            "body": base64.b64encode(body if isinstance(body, bytes) else b"".join(body)).decode(),
            "isBase64Encoded": True,
            "requestContext": {"http": {"method": method}},
        }
        got = lambda_handler(event)
        return Answer(got["statusCode"], got["headers"], got["body"].encode())

    with contextlib.closing(background):
        yield ask


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base's
        pass


class _ThreadingServer(ThreadingMixIn, WSGIServer):
    """A thread for each request, as application servers have them."""

    daemon_threads = True
    request_queue_size = 100


@contextlib.contextmanager
def _project(urlpatterns: list[Any]) -> Generator[None]:
    """A Django project with these URLs, as small as can be. Settings are made once for a process."""
    import django
    from django import conf

    settings: Any = conf.settings
    if not settings.configured:
        settings.configure(
            SECRET_KEY="tests",
            ALLOWED_HOSTS=["127.0.0.1", "testserver"],
            MIDDLEWARE=[
                "django.contrib.sessions.middleware.SessionMiddleware",
                "django.middleware.common.CommonMiddleware",
                "django.middleware.csrf.CsrfViewMiddleware",
                "django.contrib.auth.middleware.AuthenticationMiddleware",
            ],
            INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"],
            SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
            DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
            DATA_UPLOAD_MAX_MEMORY_SIZE=1000,
        )
        django.setup()
    from django.test import override_settings

    urls: Any = types.ModuleType(f"urls_of_tests_{id(urlpatterns)}")
    urls.urlpatterns = urlpatterns
    sys.modules[urls.__name__] = urls
    try:
        with override_settings(ROOT_URLCONF=urls.__name__):
            yield
    finally:
        del sys.modules[urls.__name__]


@contextlib.contextmanager
def django_browser(urlpatterns: list[Any]) -> Generator[Any]:
    """Django's own test client at a project with users, in a database in memory; it checks CSRF tokens as a server does."""
    with _project(urlpatterns):
        from django import db, test
        from django.core import management

        commands: Any = management
        commands.call_command("migrate", verbosity=0)
        client: Any = test.Client(enforce_csrf_checks=True)
        try:
            yield client
        finally:
            db.connections.close_all()


@contextlib.contextmanager
def project_urls(urlpatterns: list[Any], prefix: str = "") -> Generator[Ask]:
    """Ask a project through Django's own test client, which checks CSRF tokens as a server does."""
    with _project(urlpatterns):
        from django.test import Client

        client: Any = Client(enforce_csrf_checks=True)

        def ask(method: str, path: str, headers: Mapping[str, str], body: bytes | Iterable[bytes]) -> Answer:
            whole = body if isinstance(body, bytes) else b"".join(body)
            kind = headers.get("content-type", "application/json")
            got = client.generic(method, prefix + path, whole, content_type=kind, headers=dict(headers))
            return Answer(got.status_code, {k.lower(): v for k, v in got.headers.items()}, got.content)

        yield ask


@contextlib.contextmanager
def _django_urls(backend: SyncBackend, *, asynchronous_login: bool = False) -> Generator[list[Any]]:
    """The toolkit's URLs under `/app/`."""
    from django import urls

    from syncline.backend.django import sync_urls

    def sync_login(request: Any) -> AuthenticatedUser | None:
        return _user(request.headers.get(LOGIN))

    async def async_login(request: Any) -> AuthenticatedUser | None:
        return _user(request.headers.get(LOGIN))

    parts: Any = urls
    login = async_login if asynchronous_login else sync_login
    with contextlib.closing(BackgroundBackend(backend)) as background:
        yield [parts.path("app/", parts.include(sync_urls(background, current_user=login)))]


@contextlib.contextmanager
def _django_wsgi(backend: SyncBackend) -> Generator[Ask]:
    with _django_urls(backend) as urlpatterns, _project(urlpatterns):
        from django.core.handlers.wsgi import WSGIHandler

        app: Any = WSGIHandler()
        server = make_server("127.0.0.1", 0, app, _ThreadingServer, _QuietHandler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield over_http(f"http://127.0.0.1:{server.server_port}", "/app")
        finally:
            server.shutdown()
            server.server_close()
            thread.join(10)


@contextlib.contextmanager
def _django_asgi(backend: SyncBackend) -> Generator[Ask]:
    with _django_urls(backend, asynchronous_login=True) as urlpatterns, _project(urlpatterns):
        from django.core.handlers.asgi import ASGIHandler

        with serving_asgi(ASGIHandler(), lifespan=False) as url:
            yield over_http(url, "/app")


@contextlib.contextmanager
def _django_client(backend: SyncBackend) -> Generator[Ask]:
    with _django_urls(backend) as urlpatterns, project_urls(urlpatterns, "/app") as ask:
        yield ask


FACES: Mapping[str, Callable[[SyncBackend], contextlib.AbstractContextManager[Ask]]] = {
    "starlette": _starlette,
    "fastapi under a prefix": _fastapi,
    "asgi": _asgi,
    "asgi, mounted": _mounted,
    "function": _function,
    "django over wsgi": _django_wsgi,
    "django over asgi": _django_asgi,
    "django's test client": _django_client,
}
