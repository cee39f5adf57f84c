"""Every program in examples/ runs as a process of its own, against one server that is started as the README there says."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Generator

import psycopg
import pytest

from syncline.testing.waiting import eventually_sync
from tests.acceptance.example_server import EXAMPLES, PROGRAM_S, Server, example_server

PROGRAMS = sorted(path.name for path in EXAMPLES.glob("*.py") if path.name != "todo_schema.py")
LINES_MAX = 40
CODE_LINES_MAX = 15  # of the quickstart


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    with example_server(tmp_path_factory.mktemp("examples")) as running:
        yield running


# -- what each example has to print, and to leave in Postgres; programs without a check fail

Check = Callable[[Server, str], None]
CHECKS: dict[str, Check] = {}


def check(name: str) -> Callable[[Check], Check]:
    """Register the check of an example."""

    def register(function: Check) -> Check:
        CHECKS[name] = function
        return function

    return register


@check("quickstart.py")
def _(server: Server, user_id: str) -> None:
    assert server.run("quickstart.py", user_id=user_id) == f"Groceries: the backend says that it is {user_id}'s\n"
    assert server.rows("SELECT name FROM lists WHERE owner_id = %s", user_id) == [("Groceries",)]


@check("quickstart_blocking.py")
def _(server: Server, user_id: str) -> None:
    assert (
        server.run("quickstart_blocking.py", user_id=user_id) == f"Groceries: the backend says that it is {user_id}'s\n"
    )
    assert server.rows("SELECT name FROM lists WHERE owner_id = %s", user_id) == [("Groceries",)]


@check("todo_list.py")
def _(server: Server, user_id: str) -> None:
    process = server.start("todo_list.py", user_id=user_id)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "Nothing to do\n"
        for typed, shown in (("Milk", ["1. Milk"]), ("Bread", ["1. Bread", "2. Milk"]), ("2", ["1. Bread"])):
            process.stdin.write(f"{typed}\n")
            process.stdin.flush()
            _read_until(process, shown)
        eventually_sync(
            lambda: (
                server.rows("SELECT title, done FROM todos WHERE owner_id = %s ORDER BY 1", user_id)
                == [("Bread", False), ("Milk", True)]
            ),
            timeout_s=30,
        )
        _, errors = process.communicate("\n", timeout=PROGRAM_S)
    finally:
        process.kill()
    assert (process.returncode, errors) == (0, "")


def _read_until(process: subprocess.Popen[str], shown: list[str]) -> None:
    """Read whole screens until one is `shown`: sync may have the same one printed again."""
    assert process.stdout is not None
    seen: list[str] = []
    while seen[-len(shown) :] != shown:
        line = process.stdout.readline()
        assert line, f"ended after {seen}"
        seen.append(line.rstrip("\n"))


@check("typed_rows.py")
def _(server: Server, user_id: str) -> None:
    printed = server.run("typed_rows.py", user_id=user_id)
    assert [line.rstrip() for line in printed.splitlines()] == [
        "Buy milk is open until 31 January 2030",
        "Rest is done",
        "1 done",
    ]
    assert server.rows("SELECT title, done FROM todos WHERE owner_id = %s ORDER BY 1", user_id) == [
        ("Buy milk", False),
        ("Rest", True),
    ]


@check("uploads.py")
def _(server: Server, user_id: str) -> None:
    printed = server.run("uploads.py", user_id=user_id).splitlines()
    assert printed[:3] == ["2 writes wait", "Refused: 1 row, CHECK_VIOLATION", "On the device: ['Books']"]
    assert printed[3].startswith("Refused was PUT lists {'name': ''}: ")
    assert printed[4:] == ["On the device: ['Books', 'Untitled']"]
    names = server.rows("SELECT name FROM lists WHERE owner_id = %s ORDER BY 1", user_id)
    assert names == [("Books",), ("Untitled",)]


@check("first_sync.py")
def _(server: Server, user_id: str) -> None:
    del user_id  # the rows are alice's
    printed = server.run("first_sync.py", user_id="alice")
    lines = printed.splitlines()
    assert "Lists ['Getting started'] are here; all is here: False" in lines  # read while the rest was on its way
    percents = [int(line.split("%")[0]) for line in lines if "% of " in line]
    assert percents == sorted(percents)
    assert len([percent for percent in percents if 0 < percent < 100]) >= 3
    assert lines[-1] == "10000 rows of history are here; all is here: True"


@check("streams.py")
def _(server: Server, user_id: str) -> None:
    printed = server.run("streams.py", user_id=user_id).splitlines()
    assert printed[:2] == ["Not subscribed: []", "Subscribed: ['Ask Ann']"]
    assert re.fullmatch(r"Released: \['Ask Ann'\] until \d{4}-\d\d-\d\d .*\+00:00", printed[2])
    assert printed[3:] == ["Unsubscribed: []"]
    assert server.rows("SELECT text FROM notes WHERE owner_id = %s", user_id) == [("Ask Ann",)]


@check("account_switch.py")
def _(server: Server, user_id: str) -> None:
    assert server.run("account_switch.py", user_id=user_id).splitlines() == [
        """ann sees ["ann's list"]""",
        """ben sees ["ben's list"]""",
        """ann sees ["ann's list", "ann's list"]""",
        "Nobody sees []",
    ]


@check("attachments.py")
def _(server: Server, user_id: str) -> None:
    assert server.run("attachments.py", user_id=user_id) == "The tablet has 2 bytes of the photo\n"
    photos = [path.read_bytes() for path in (server.folder / user_id).rglob("*.jpg")]
    assert photos == [b"\xff\xd8"] * 2


@check("sqlalchemy_orm.py")
def _(server: Server, user_id: str) -> None:
    assert server.run("sqlalchemy_orm.py", user_id=user_id) == f"Books belongs to {user_id}\n"
    assert server.rows("SELECT name FROM lists WHERE owner_id = %s", user_id) == [("Books",)]


@check("pandas_report.py")
def _(server: Server, user_id: str) -> None:
    printed = [line.split() for line in server.run("pandas_report.py", user_id=user_id).splitlines()]
    assert printed == [["size", "sum"], ["due"], ["2030-01", "4", "2"], ["2030-02", "2", "0"], ["2030-03", "3", "1"]]
    by_month = "SELECT count(*), sum(done::int) FROM todos WHERE owner_id = %s GROUP BY to_char(due, 'YYYY-MM') ORDER BY min(due)"
    assert server.rows(by_month, user_id) == [(4, 2), (2, 0), (3, 1)]


@check("background_job.py")
def _(server: Server, user_id: str) -> None:
    add = "INSERT INTO todos (id, title, done, owner_id) VALUES (gen_random_uuid(), %s, %s, 'alice')"
    with psycopg.connect(server.dsn) as connection:  # the token is alice's
        connection.cursor().executemany(add, [("Milk", True), ("Bread", False), ("Tea", True)])
    assert server.run("background_job.py", user_id=user_id) == "Removed: 2\nWaiting for upload: 0\n"
    assert server.rows("SELECT title FROM todos WHERE owner_id = %s", "alice") == [("Bread",)]


@check("test_background_job.py")
def _(server: Server, user_id: str) -> None:
    assert "1 passed" in server.run("test_background_job.py", user_id=user_id)


@check("two_processes.py")
def _(server: Server, user_id: str) -> None:
    assert server.run("two_processes.py", user_id=user_id).splitlines() == [
        "The first process syncs, and sees the row of the other",
        "The second process has taken over; writes that wait: 0",
    ]
    [(name,)] = server.rows("SELECT name FROM lists WHERE owner_id = %s", user_id)
    assert str(name).startswith("by ")


PROVES = {"quickstart.py": 48, "sqlalchemy_orm.py": 96, "first_sync.py": 238}  # rows of the requirements


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.requirement(PROVES[name])] if name in PROVES else []) for name in PROGRAMS],
)
def test_an_example_runs_and_does_what_it_says(server: Server, name: str) -> None:
    CHECKS[name](server, f"of-{name.removesuffix('.py')}")


# -- without running them


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_example_is_short_and_says_what_it_needs(name: str) -> None:
    text = (EXAMPLES / name).read_text("utf-8")
    assert len(text.splitlines()) < LINES_MAX
    first = text.splitlines()[0]
    extras = re.search(r"Needs (nothing but syncline|syncline\[([\w,]+)\].*)\.$", first.rstrip('"'))
    assert extras is not None, first
    imported = {alias.split(".")[0] for alias in _imports(text)} - set(sys.stdlib_module_names)
    allowed = {"syncline", *(path.stem for path in EXAMPLES.glob("*.py"))}
    foreign = {"sqlalchemy_orm.py": {"sqlalchemy"}, "test_background_job.py": {"pytest"}}
    assert imported - allowed == foreign.get(name, set())


def _imports(text: str) -> Generator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.requirement(48)
def test_an_app_needs_few_lines_and_no_connector_of_its_own() -> None:
    for name in ("quickstart.py", "quickstart_blocking.py"):
        code = [line for line in (EXAMPLES / name).read_text().splitlines()[1:] if line.strip()]
        assert len(code) < CODE_LINES_MAX
    for name in PROGRAMS:
        classes = [
            node for node in ast.walk(ast.parse((EXAMPLES / name).read_text())) if isinstance(node, ast.ClassDef)
        ]
        bases = [ast.unparse(base) for node in classes for base in node.bases]
        assert not any("Connector" in base for base in bases), name


@pytest.mark.requirement(96)
def test_one_schema_module_serves_apps_jobs_tests_and_the_orm() -> None:
    users = {name for name in PROGRAMS if "todo_schema" in set(_imports((EXAMPLES / name).read_text()))}
    assert {"todo_list.py", "background_job.py", "test_background_job.py", "sqlalchemy_orm.py"} <= users


def test_the_readme_names_every_example_and_its_links_lead_somewhere() -> None:
    text = (EXAMPLES / "README.md").read_text("utf-8")
    table = re.findall(r"^\| \[([\w.]+)\]\(([\w.]+)\) \|", text, re.MULTILINE)
    assert all(shown == target for shown, target in table)
    assert sorted(target for _, target in table) == PROGRAMS
    assert [target for target in re.findall(r"\]\(([^)#]+)\)", text) if not (EXAMPLES / target).exists()] == []
