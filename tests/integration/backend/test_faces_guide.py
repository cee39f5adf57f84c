"""The code of docs/howto/backend-faces.md runs as it stands there, and the answers to its curl commands are the ones that it shows."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from syncline.backend import AuthenticatedUser, SyncBackend
from syncline.backend import django as django_face
from syncline.backend.asgi import SyncApp
from syncline.backend.background import BackgroundBackend
from syncline.backend.http.messages import BackendRequest
from syncline.testing.postgres import ScratchDatabase
from tests.support.backend_faces import over_http, project_urls, serving_asgi
from tests.unit.backend.asgi import operation, upload

PAGE = Path(__file__).parents[3] / "docs" / "howto" / "backend-faces.md"
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE))
SHARED = PAGE.read_text("utf-8").split("\n## ")[0]


def blocks(text: str, language: str = "python") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.fixture
def page(
    postgres_database: ScratchDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> dict[str, Any]:
    """The names that the shared block and the block of one section define."""
    postgres_database.execute("CREATE TABLE lists (id text PRIMARY KEY, name text, owner_id text NOT NULL)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", postgres_database.dsn)
    names: dict[str, Any] = {"__name__": "page"}
    for block in (*blocks(SHARED), *blocks(SECTIONS[request.param])):
        exec(compile(block, f"{PAGE.name}, {request.param}", "exec", dont_inherit=True), names)
    return names


def head(names: dict[str, Any]) -> dict[str, str]:
    token = names["auth"].issue(AuthenticatedUser("ann")).token
    return {"authorization": f"Bearer {token}", "content-type": "application/json"}


BODY = upload([operation(row_id="l1", op_data={"name": "Milk"})])
ROWS = [("l1", "Milk", "ann")]


def rows(database: ScratchDatabase) -> list[tuple[Any, ...]]:
    return database.execute("SELECT id, name, owner_id FROM lists")


@pytest.mark.requirement(151)
@pytest.mark.parametrize("page", ["FastAPI", "Starlette", "Any ASGI server"], indirect=True)
def test_an_asgi_face_runs_as_it_is_written(page: dict[str, Any], postgres_database: ScratchDatabase) -> None:
    with serving_asgi(page["app"]) as url:
        ask = over_http(url)
        assert ask("POST", "/api/data", head(page), BODY).status == 200
        assert ask("GET", "/api/auth/token", {"x-signed-in": "kim"}, b"").status == 200
        assert ask("GET", "/api/auth/token", {}, b"").status == 401
    assert rows(postgres_database) == ROWS


@pytest.mark.parametrize("page", ["A function, or any framework with requests and answers"], indirect=True)
def test_the_function_runs_as_it_is_written(page: dict[str, Any], postgres_database: ScratchDatabase) -> None:
    event = {"rawPath": "/api/data", "headers": head(page), "body": BODY.decode()}
    with contextlib.closing(page["background"]):
        answer = page["lambda_handler"](event | {"requestContext": {"http": {"method": "POST"}}}, None)
    assert answer["statusCode"] == 200
    assert rows(postgres_database) == ROWS


@contextlib.contextmanager
def closing_all(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """Close what Django would keep until the process ends."""
    made: list[BackgroundBackend] = []

    class Noted(BackgroundBackend):
        def __init__(self, backend: SyncBackend) -> None:
            super().__init__(backend)
            made.append(self)

    monkeypatch.setattr(django_face, "BackgroundBackend", Noted)
    yield
    for background in made:
        background.close()


@pytest.fixture
def _closing(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    with closing_all(monkeypatch):
        yield


@pytest.mark.usefixtures("_closing")
@pytest.mark.parametrize("page", ["Django"], indirect=True)
def test_the_project_runs_as_it_is_written(page: dict[str, Any], postgres_database: ScratchDatabase) -> None:
    with project_urls(page["urlpatterns"]) as client:
        answer = client("POST", "/api/data", head(page), BODY)
    assert answer.status == 200
    assert rows(postgres_database) == ROWS


@pytest.mark.parametrize("page", ["Limits", "Metrics and the log"], indirect=True)
async def test_limits_and_metrics_are_given_as_it_is_written(page: dict[str, Any]) -> None:
    backend: SyncBackend = page["backend"]
    await backend.open()
    assert (await backend.handle(BackendRequest("POST", "/api/data", headers=head(page), body=BODY))).status == 200
    if "metrics" in page:
        scraped = await backend.handle(BackendRequest("GET", "/internal/metrics"))
        assert b'syncline_backend_transactions_total{code="",status="success"} 1.0' in scraped.body
    else:
        body = b" " * (4 * 1024 * 1024 + 1)
        assert (await backend.handle(BackendRequest("POST", "/api/data", headers=head(page), body=body))).status == 413
    await backend.close()


@pytest.mark.requirement(257)
@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")
@pytest.mark.parametrize("page", ["Ask it with curl"], indirect=True)
def test_curl_gets_the_answers_that_are_shown(page: dict[str, Any]) -> None:
    section = SECTIONS["Ask it with curl"]
    commands, shown = blocks(section, "sh"), blocks(section, "json")
    assert len(commands) == len(shown) == 4
    with serving_asgi(SyncApp(page["backend"])) as url:
        token = head(page)["authorization"].removeprefix("Bearer ")
        environment = {"BACKEND": url, "TOKEN": token, "PATH": os.environ["PATH"], "NO_PROXY": "*"}
        for command, wanted in zip(commands, shown, strict=True):
            ran = subprocess.run(["sh", "-euc", command], env=environment, capture_output=True, text=True, timeout=60)
            assert (ran.returncode, json.loads(ran.stdout)) == (0, json.loads(wanted)), ran.stderr


def test_every_block_of_the_page_is_run() -> None:
    run = {
        "FastAPI", "Starlette", "Any ASGI server", "Django", "Limits", "Metrics and the log",
        "A function, or any framework with requests and answers",
    }  # fmt: skip
    assert {name for name, text in SECTIONS.items() if blocks(text)} == run
