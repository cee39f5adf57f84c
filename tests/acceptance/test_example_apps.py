"""The apps in the folders of examples/, each as its README starts it, against one server: what they show, and what Postgres has."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from examples.textual_tui.todo_app import SCHEMA, TodoApp
from textual.pilot import Pilot
from textual.widgets import OptionList, Static

from syncline.client import HttpConnector, SyncDatabase, UploadPolicy
from syncline.embedded.ports import free_port
from syncline.testing.waiting import eventually, eventually_sync
from tests.acceptance.example_server import EXAMPLES, PROGRAM_S, START_S, Server, answers, example_server

APPS = sorted(path.name for path in EXAMPLES.iterdir() if (path / "README.md").exists())
NOWHERE = {"BACKEND_URL": "http://127.0.0.1:1"}  # nobody listens there
WITHIN_S = 30.0  # seconds for what a machine without other work does in one


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    with example_server(tmp_path_factory.mktemp("example-apps")) as running:
        yield running


# -- a plain script


def test_the_script_works_without_a_network_and_sends_what_waits_with_the_next_run(server: Server) -> None:
    def run(*arguments: str, **more: Any) -> list[str]:
        return server.run("plain_script", *arguments, user_id="of-script", **more).splitlines()

    assert run("add", "Milk") == ["- Milk"]
    assert run("add", "Bread", environment=NOWHERE) == ["Offline. Waiting for upload: 1", "- Bread", "- Milk"]
    titles = "SELECT title, done FROM todos WHERE owner_id = %s ORDER BY 1"
    assert server.rows(titles, "of-script") == [("Milk", False)]
    assert run("done", "Milk") == ["- Bread"]
    assert server.rows(titles, "of-script") == [("Bread", False), ("Milk", True)]


# -- a gateway


def kill_after(process: subprocess.Popen[str], line: str) -> list[str]:
    """Kill a program as soon as it has printed a line; all that it has printed."""
    assert process.stdout is not None
    printed: list[str] = []
    while line not in printed:
        got = process.stdout.readline()
        assert got, f"ended after {printed}"
        printed.append(got.rstrip("\n"))
    process.send_signal(signal.SIGKILL)
    rest, _ = process.communicate(timeout=PROGRAM_S)
    return printed + rest.splitlines()


def batches_of(server: Server, user_id: str) -> list[tuple[object, ...]]:
    """How many readings Postgres has of each batch: (batch, readings)."""
    counts = "SELECT batch, count(*) FROM readings WHERE owner_id = %s GROUP BY 1 ORDER BY 1"
    return server.rows(counts, user_id)


def test_a_gateway_that_is_killed_sends_each_batch_once_and_whole(server: Server) -> None:
    options = ("--interval", "0.005")
    away = server.start("iot_gateway", *options, user_id="of-gateway", environment=NOWHERE)
    offline = kill_after(away, "Batch 4 is stored")
    assert batches_of(server, "of-gateway") == []
    online = kill_after(server.start("iot_gateway", *options, user_id="of-gateway"), "Batch 12 is stored")
    last = server.run("iot_gateway", "--batches", "2", *options, user_id="of-gateway").splitlines()
    assert last[-1] == "Waiting for upload: 0"
    told = [int(number) for number in re.findall(r"Batch (\d+) is stored", "\n".join([*offline, *online, *last]))]
    newest = max(told)
    # A batch may have been stored in the moment of the kill, before it was told; none that was told may be missing.
    assert batches_of(server, "of-gateway") == [(number, 20) for number in range(1, newest + 1)]
    assert len(told) == len(set(told)) >= 14


def test_a_gateway_that_is_offline_for_long_keeps_as_many_readings_as_it_may(server: Server) -> None:
    options = ("--interval", "0.001", "--waiting-max", "50")
    away = server.start("iot_gateway", *options, user_id="of-full-gateway", environment=NOWHERE)
    full = "Dropped 20 readings: as many wait as may"
    assert kill_after(away, full)[:3] == ["Batch 1 is stored", "Batch 2 is stored", full]
    last = server.run("iot_gateway", "--batches", "0", user_id="of-full-gateway").splitlines()
    assert last == ["Waiting for upload: 0"]
    assert batches_of(server, "of-full-gateway") == [(1, 20), (2, 20)]


# -- a notebook


class Output:
    """What a notebook's `display` gives: the place of an output, which can be shown anew."""

    def __init__(self, shown: Any) -> None:
        self.shown = [shown]

    def update(self, shown: Any) -> None:
        self.shown.append(shown)


def code_cells(name: str) -> list[str]:
    cells = json.loads((EXAMPLES / "notebook" / name).read_text("utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def test_the_frame_of_the_notebook_follows_what_others_write(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in (server.environment | {"USER_ID": "of-notebook"}).items():
        monkeypatch.setenv(name, value)
    outputs: list[Output] = []

    def display(shown: Any, *, display_id: bool) -> Output:
        assert display_id
        outputs.append(Output(shown))
        return outputs[-1]

    names: dict[str, Any] = {"__name__": "__main__", "display": display}
    *before, last = code_cells("todos.ipynb")
    try:
        for number, cell in enumerate(before):
            exec(compile(cell, f"cell {number}", "exec"), names)
        [output] = outputs
        assert output.shown[0].to_dict("records") == [
            {"month": "2030-01", "todos": 2, "finished": 1},
            {"month": "2030-02", "todos": 1, "finished": 0},
        ]
        assert [str(kind) for kind in names["frame"].dtypes[1:]] == ["boolean", "datetime64[us, UTC]"]
        done = "SELECT count(*) FROM todos WHERE owner_id = %s"
        eventually_sync(lambda: server.rows(done, "of-notebook") == [(3,)], timeout_s=WITHIN_S)
        with psycopg.connect(server.dsn) as connection:
            connection.execute("UPDATE todos SET done = true WHERE owner_id = 'of-notebook'")
        eventually_sync(lambda: list(output.shown[-1]["finished"]) == [2, 1], timeout_s=WITHIN_S)
    finally:
        if "live" in names:  # else a cell before it has failed, and says so
            exec(last, names)


# -- a terminal


def lines_of(app: TodoApp, name: str) -> list[str]:
    """What one of the lists on the screen shows."""
    return [str(option.prompt) for option in app.query_one(f"#{name}", OptionList).options]


def text_of(app: TodoApp, name: str) -> str:
    return str(app.query_one(f"#{name}", Static).visual)


async def type_in(pilot: Pilot[None], key: str, text: str) -> None:
    """Ask for a new list or todo, and name it."""
    await pilot.press(key, *text, "enter")


async def test_the_terminal_shows_and_writes_lists_and_todos_offline_too(server: Server, tmp_path: Path) -> None:
    policy = UploadPolicy(backend_keeps_refusals=False)
    connector = HttpConnector(server.environment["BACKEND_URL"], user_id="of-terminal", policy=policy)
    todos = "SELECT title, done FROM todos WHERE owner_id = %s ORDER BY 1"
    async with SyncDatabase(tmp_path / "todos.db", schema=SCHEMA) as db:
        app = TodoApp(db, connector)
        async with app.run_test() as pilot:
            await type_in(pilot, "n", "Food")
            await eventually(lambda: lines_of(app, "lists") == ["Food"], timeout_s=WITHIN_S)
            await type_in(pilot, "a", "Milk")
            await eventually(lambda: lines_of(app, "todos") == ["· Milk"], timeout_s=WITHIN_S)
            await eventually(lambda: server.rows(todos, "of-terminal") == [("Milk", False)], timeout_s=WITHIN_S)
            await eventually(lambda: text_of(app, "status").startswith("synced · 0 waiting"), timeout_s=WITHIN_S)

            await pilot.press("o")
            await type_in(pilot, "a", "Bread")
            await eventually(lambda: text_of(app, "status").startswith("offline · 1 waiting"), timeout_s=WITHIN_S)
            with psycopg.connect(server.dsn) as connection:
                connection.execute("UPDATE todos SET done = true WHERE owner_id = 'of-terminal'")
            assert lines_of(app, "todos") == ["· Bread", "· Milk"]
            await pilot.press("o")
            await eventually(lambda: lines_of(app, "todos") == ["· Bread", "✓ Milk"], timeout_s=WITHIN_S)
            app.query_one("#todos", OptionList).focus().highlighted = 0
            await pilot.press("enter")
            ticked = [("Bread", True), ("Milk", True)]
            await eventually(lambda: server.rows(todos, "of-terminal") == ticked, timeout_s=WITHIN_S)
            app.query_one("#todos", OptionList).highlighted = 1
            await pilot.press("d")
            await eventually(lambda: server.rows(todos, "of-terminal") == ticked[:1], timeout_s=WITHIN_S)


async def test_the_terminal_says_what_the_backend_refuses(server: Server, tmp_path: Path) -> None:
    policy = UploadPolicy(backend_keeps_refusals=False)
    connector = HttpConnector(server.environment["BACKEND_URL"], user_id="of-refused", policy=policy)
    async with SyncDatabase(tmp_path / "todos.db", schema=SCHEMA) as db:
        app = TodoApp(db, connector)
        async with app.run_test() as pilot:
            await type_in(pilot, "n", "")
            await eventually(lambda: text_of(app, "refused").startswith("Refused: "), timeout_s=WITHIN_S)
            await eventually(lambda: lines_of(app, "lists") == [], timeout_s=WITHIN_S)
            await pilot.press("x")
            await eventually(lambda: text_of(app, "refused") == "", timeout_s=WITHIN_S)
            assert await db.dead_letters.count() == 0


# -- a window; in a process of its own, because a process has one QApplication


def test_the_window_shows_and_writes_lists_and_todos_offline_too(server: Server, tmp_path: Path) -> None:
    program = [sys.executable, str(Path(__file__).parent / "example_window.py"), str(tmp_path / "todos.db"), server.dsn]
    done = subprocess.run(
        program,
        capture_output=True,
        text=True,
        timeout=PROGRAM_S,
        check=False,
        env=os.environ | server.environment | {"USER_ID": "of-window", "QT_QPA_PLATFORM": "offscreen"},
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr  # but Qt has its own remarks on having no screen
    assert done.stdout == "The window did all that it should\n"
    todos = "SELECT title, done FROM todos WHERE owner_id = %s ORDER BY 1"
    assert server.rows(todos, "of-window") == [("Bread", True), ("Milk", True)]


# -- a whole app with FastAPI, with a database of its own in the same Postgres


def test_the_tests_of_the_app_pass() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=EXAMPLES / "fastapi_todo",
        capture_output=True,
        text=True,
        timeout=PROGRAM_S,
        check=False,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


@contextmanager
def own_database(server: Server, name: str) -> Generator[str]:
    """A database beside that of the examples' server; gives its DSN."""
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    yield server.dsn.rpartition("/")[0] + f"/{name}"


@contextmanager
def served(command: list[str], folder: Path, *, page: str, environment: Mapping[str, str]) -> Generator[None]:
    """Run a server until the block ends, from the moment when it has the page."""
    told = folder / "served.out"
    with told.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"} | dict(environment),
        )
    try:

        def is_ready() -> bool:
            assert process.poll() is None, told.read_text()
            return answers(page)

        eventually_sync(is_ready, timeout_s=START_S, what=page)
        yield
    finally:
        process.terminate()
        code = process.wait(30)
    assert code in (0, -signal.SIGTERM), told.read_text()
    assert "Traceback" not in told.read_text(), told.read_text()


def test_the_app_takes_todos_of_its_users_and_of_nobody_else(server: Server, tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, str(EXAMPLES / "fastapi_todo"), str(port)]

    def device(*arguments: str, name: str) -> str:
        return server.run("fastapi_todo/device.py", *arguments, user_id=name, environment={"BACKEND_URL": url})

    with (
        own_database(server, "fastapi_todo") as dsn,
        served(command, tmp_path, page=f"{url}/docs", environment={"DATABASE_URL": dsn}),
    ):
        assert device("ann", "a-good-password", "Milk", name="ann-phone") == "Inbox: Milk\n"
        assert device("ann", "a-good-password", "Bread", name="ann-laptop") == "Inbox: Bread\nInbox: Milk\n"
        assert device("bob", "another-password", name="bob-phone") == ""
        wrong = server.start(
            "fastapi_todo/device.py", "ann", "a-bad-password", user_id="x", environment={"BACKEND_URL": url}
        )
        assert wrong.communicate(timeout=PROGRAM_S) == ("", "Not signed in: The password is wrong.\n")
        assert wrong.returncode == 1
        with psycopg.connect(dsn) as connection:
            owners = connection.execute("SELECT owner_id, name FROM lists").fetchall()
        assert owners == [("ann", "Inbox")]


# -- a site with Django, with a database of its own in the same Postgres


def test_devices_of_django_s_users_write_to_its_models(server: Server, tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    folder = EXAMPLES / "django_backend"
    with own_database(server, "django_backend") as dsn:
        environment = {
            "DATABASE_URL": dsn,
            "SITE_URL": url,
            "PS_STORAGE": str(tmp_path / "buckets"),
            "DJANGO_SUPERUSER_PASSWORD": "a-good-password",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

        def manage(*arguments: str) -> str:
            command = [sys.executable, str(folder / "manage.py"), *arguments]
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=PROGRAM_S, check=False, env=os.environ | environment
            )
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout

        manage("migrate")
        manage("createsuperuser", "--noinput", "--username", "ann", "--email", "ann@example.com")
        assert "No changes detected" in manage("makemigrations", "--check", "--dry-run")
        options = ["--host", "127.0.0.1", "--port", str(port), "--timeout-graceful-shutdown", "5"]
        command = [sys.executable, "-m", "uvicorn", "--app-dir", str(folder), *options, "asgi:application"]

        def device(title: str, *, name: str) -> str:
            asked = ("ann", "a-good-password", title)
            return server.run("fastapi_todo/device.py", *asked, user_id=name, environment={"BACKEND_URL": url})

        with served(command, tmp_path, page=f"{url}/api/auth/jwks", environment=environment):
            assert device("Milk", name="django-phone") == "Inbox: Milk\n"
            assert device("Bread", name="django-laptop") == "Inbox: Bread\nInbox: Milk\n"
            wrong = urllib.request.Request(f"{url}/login", b'{"name": "ann", "password": "a-bad-password"}')
            with (
                pytest.raises(urllib.error.HTTPError, match="401") as refused,
                urllib.request.urlopen(wrong, timeout=30),
            ):
                pass
            refused.value.close()
            with psycopg.connect(dsn) as connection:
                users = "SELECT username, name FROM lists JOIN auth_user ON auth_user.id = owner_id"
                assert connection.execute(users).fetchall() == [("ann", "Inbox")]


# -- all of them


@pytest.mark.parametrize("name", APPS)
def test_an_app_says_how_it_is_started_in_three_commands_at_most(name: str) -> None:
    text = (EXAMPLES / name / "README.md").read_text("utf-8")
    assert re.match(r"# \w", text)
    first = re.search(r"```console\n(.*?)```", text, re.DOTALL)
    assert first is not None
    assert 1 <= len(re.findall(r"^\$ ", first[1], re.MULTILINE)) <= 3
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert [link for link in links if not (EXAMPLES / name / link).exists()] == []


def test_the_index_names_every_app() -> None:
    text = (EXAMPLES / "README.md").read_text("utf-8")
    assert sorted(re.findall(r"^\| \[(\w+)\]\(\1/README\.md\) \|", text, re.MULTILINE)) == APPS
