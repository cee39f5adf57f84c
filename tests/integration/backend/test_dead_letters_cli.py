"""`syncline dead-letters …` against a backend behind a socket, over real Postgres."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from syncline.backend import AuthenticatedUser, TablePolicy
from syncline.cli.exit_codes import EXIT_FAILED, EXIT_OK, EXIT_UNREACHABLE, EXIT_USAGE
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.service_process import token
from tests.support.backend_server import running_backend
from tests.support.command_line import Outcome, run_command_line

SQL = "CREATE TABLE lists (id text PRIMARY KEY, name text UNIQUE, owner_id text); INSERT INTO lists VALUES ('z', 'taken', 'zoe')"


def is_root(user: AuthenticatedUser) -> bool:
    return user.user_id == "root"


@pytest.fixture
def backend_url(postgres_database: ScratchDatabase) -> Generator[str]:
    """A backend that has refused a write of ann's and one of bob's."""
    postgres_database.execute(SQL)
    tables = {"lists": TablePolicy(owner="owner_id")}
    with running_backend(
        postgres_database.dsn, service_url="http://127.0.0.1:1", tables=tables, dead_letters_admin=is_root
    ) as url:
        for user in ("ann", "bob"):
            crud = [{"op": "PUT", "table": "lists", "id": user, "op_data": {"name": "taken"}}]
            body = json.dumps({"transactions": [{"crud": crud}]}).encode()
            headers = {"authorization": f"Bearer {token(user)}"}
            with urllib.request.urlopen(urllib.request.Request(f"{url}/api/data", body, headers)) as answer:
                assert json.load(answer)["results"][0]["status"] == "fatal_error"
        yield url


@pytest.mark.requirement(147)
def test_letters_are_listed_shown_retried_and_discarded(
    backend_url: str, postgres_database: ScratchDatabase, tmp_path: Path
) -> None:
    def run(*words: str, user: str = "ann") -> Outcome:
        variables = {"SYNCLINE_BACKEND_URL": backend_url, "SYNCLINE_BACKEND_TOKEN": token(user)}
        return run_command_line(tmp_path, "dead-letters", *words, **variables)

    def listed(*words: str, user: str = "ann") -> list[dict[str, Any]]:
        outcome = run("list", *words, "--output", "json", user=user)
        assert outcome.code == EXIT_OK, outcome.text
        return json.loads(outcome.out)

    [letter] = listed()
    assert (letter["user_id"], letter["code"], letter["transaction"]["crud"][0]["id"]) == (
        "ann",
        "UNIQUE_VIOLATION",
        "ann",
    )
    line = run("list").out
    assert letter["id"] in line
    assert "UNIQUE_VIOLATION" in line
    assert "taken" not in line
    assert "taken" in run("show", letter["id"]).out
    assert [each["user_id"] for each in listed("--all", user="root")] == ["ann", "bob"]
    assert [each["user_id"] for each in listed("--all", "--limit", "1", user="root")] == ["ann"]

    foreign = run("list", "--all")
    assert (foreign.code, "Only an admin" in foreign.err) == (EXIT_FAILED, True)
    again = run("retry", letter["id"])
    assert (again.code, again.out.strip()) == (EXIT_FAILED, "fatal_error")
    postgres_database.execute("DELETE FROM lists")
    assert run("retry", letter["id"]).code == EXIT_OK
    assert postgres_database.execute("SELECT id, owner_id FROM lists") == [("ann", "ann")]
    assert (listed(), len(listed("--state", "retried"))) == ([], 1)

    [of_bob] = listed("--user", "bob", user="root")
    assert "no dead letter" in run("discard", of_bob["id"], "--yes").err
    assert run("discard", of_bob["id"], "--yes", user="root").code == EXIT_OK
    assert "No dead letters." in run("list", user="bob").out


def test_a_bad_token_and_a_backend_that_is_away_are_told_without_the_token(backend_url: str, tmp_path: Path) -> None:
    refused = run_command_line(tmp_path, "dead-letters", "list", "--backend-url", backend_url, "--token", "not.a.token")
    assert (refused.code, "not.a.token" in refused.text, "PSYNC_" in refused.err) == (EXIT_FAILED, False, True)
    away = run_command_line(tmp_path, "dead-letters", "list", "--backend-url", "http://127.0.0.1:1", "--token", "x")
    assert (away.code, "cannot be reached" in away.err) == (EXIT_UNREACHABLE, True)


@pytest.mark.requirement(147)
def test_letters_are_found_in_the_database_without_the_backend(
    backend_url: str, postgres_database: ScratchDatabase, tmp_path: Path
) -> None:
    def run(*words: str, database: str = postgres_database.dsn) -> Outcome:
        return run_command_line(tmp_path, "dlq", *words, "--database", database, SYNCLINE_BACKEND_TOKEN="")

    letters = json.loads(run("ls", "--output", "json").out)
    assert [letter["user_id"] for letter in letters] == ["ann", "bob"]
    over_http = run_command_line(
        tmp_path, "dlq", "ls", "--all", "--backend-url", backend_url, "--token", token("root"), "--output", "json"
    )
    assert json.loads(over_http.out) == letters
    [bobs] = json.loads(run("ls", "--user", "bob", "--output", "json").out)
    assert json.loads(run("show", bobs["id"]).out) == bobs
    assert len(json.loads(run("ls", "--limit", "1", "--output", "json").out)) == 1
    assert run("discard", bobs["id"], "--yes").out.strip() == f"{bobs['id']} is discarded"
    assert run("ls", "--user", "bob").out.strip() == "No dead letters."
    assert len(json.loads(run("ls", "--state", "discarded", "--output", "json").out)) == 1
    assert (run("show", "nothing").code, run("ls", "--state", "lost").code) == (EXIT_FAILED, EXIT_USAGE)


def test_a_database_that_has_no_letters_says_so(postgres_database: ScratchDatabase, tmp_path: Path) -> None:
    def run(database: str) -> Outcome:
        return run_command_line(tmp_path, "dlq", "ls", "--database", database, SYNCLINE_BACKEND_TOKEN="")

    none = run(postgres_database.dsn)
    assert (none.code, "There is no table syncline_dead_letters." in none.err) == (EXIT_FAILED, True)
    away = run("postgresql://ann:secret@127.0.0.1:1/none")
    assert (away.code, "cannot be reached" in away.err, "secret" in away.text) == (EXIT_UNREACHABLE, True, False)
    assert run("mysql://127.0.0.1/none").code == EXIT_USAGE
    nobody = run_command_line(tmp_path, "dlq", "ls", SYNCLINE_BACKEND_TOKEN="")
    assert (nobody.code, "--token" in nobody.err) == (EXIT_USAGE, True)
