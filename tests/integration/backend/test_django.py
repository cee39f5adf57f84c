"""What only the Django face has: the user of Django's session, and CSRF checks. With Django's own tables of users."""

from __future__ import annotations

import asyncio
import contextlib
import io
import threading
import uuid
from collections.abc import Generator
from typing import Any

import jwt
import pytest

from syncline.backend import AuthenticatedUser
from syncline.backend import django as face
from syncline.backend.background import BackgroundBackend
from syncline.backend.django import DjangoUser, signed_in_user, sync_urls
from syncline.errors import AuthError
from syncline.testing.waiting import eventually
from tests.support.backend_faces import django_browser, project_urls
from tests.unit.backend.asgi import RecordingPersister, bearer, make_backend, operation, upload


@contextlib.contextmanager
def browser(current_user: DjangoUser = signed_in_user) -> Generator[Any]:
    background = BackgroundBackend(make_backend(RecordingPersister()))
    urls = sync_urls(background, current_user=current_user)
    with contextlib.closing(background), django_browser(list(urls)) as client:
        yield client


@pytest.fixture
def client() -> Generator[Any]:
    with browser() as client:
        yield client


def new_user() -> Any:
    from django.contrib.auth import models

    users: Any = models
    return users.User.objects.create_user(f"kim {uuid.uuid4()}")  # the database lives as long as the process


@pytest.mark.requirement(121)
def test_the_user_of_the_session_gets_a_token(client: Any) -> None:
    assert client.get("/api/auth/token").status_code == 401
    kim = new_user()
    client.force_login(kim)
    answer = client.get("/api/auth/token")
    assert answer.status_code == 200
    claims: Any = jwt.decode(answer.json()["token"], options={"verify_signature": False})
    assert claims["sub"] == str(kim.pk)


def test_a_bearer_token_needs_no_csrf_token_but_a_session_does(client: Any) -> None:
    client.force_login(new_user())
    body = upload([operation()])
    posted = client.post("/api/data", body, content_type="application/json", headers=bearer("ann"))
    assert posted.status_code == 200
    assert client.post("/api/powersync/auth").status_code == 403


class SlowBodies:
    """Bodies that come when they are let; how many are waited for at a time is remembered."""

    def __init__(self) -> None:
        self.let = threading.Event()
        self.reading = self.most = 0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Blocks a thread, as a WSGI server's input does."""
        with self._lock:
            self.reading += 1
            self.most = max(self.most, self.reading)
        self.let.wait(20)
        with self._lock:
            self.reading -= 1


class SlowBody(io.BytesIO):
    """One of them."""

    def __init__(self, body: bytes, bodies: SlowBodies) -> None:
        super().__init__(body)
        self._bodies = bodies

    def read(self, size: int | None = -1, /) -> bytes:
        """A part of it, when it is let."""
        self._bodies.wait()
        return super().read(size)


async def test_slow_senders_share_the_threads_that_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(face, "BODY_THREADS_MAX", 2)
    background = BackgroundBackend(make_backend(RecordingPersister()))
    urls: Any = sync_urls(background)
    view = next(url.callback for url in urls if url.pattern.match("api/data"))
    bodies = SlowBodies()

    async def send() -> int:
        body = upload([operation()])
        head = {"REQUEST_METHOD": "POST", "HTTP_AUTHORIZATION": bearer("ann")["authorization"]}
        environ = head | {"CONTENT_LENGTH": str(len(body)), "wsgi.input": SlowBody(body, bodies)}
        from django import test

        factory: Any = test.RequestFactory()
        return (await view(factory.request(**environ))).status_code

    with contextlib.closing(background), project_urls(list(urls)):
        sending = [asyncio.create_task(send()) for _ in range(5)]
        await eventually(lambda: bodies.reading == 2)
        bodies.let.set()
        assert await asyncio.gather(*sending) == [200] * 5
    assert bodies.most == 2


def test_a_login_that_refuses_is_told_with_its_reason() -> None:
    def nobody(_request: object) -> AuthenticatedUser | None:
        raise AuthError("Not from here.", hint="Use the app.")

    with browser(nobody) as client:
        answer = client.get("/api/auth/token")
    assert (answer.status_code, answer.json()["message"]) == (401, "Not from here. Use the app.")
