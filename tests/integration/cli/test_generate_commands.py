"""`generate schema --check`, its other sources and outputs, and `migrate sync-rules --check`, as an operator runs them."""

from __future__ import annotations

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from syncline.sync_config import compile_sync_config
from syncline.testing.postgres import PostgresServer, ScratchDatabase
from tests.support.command_line import Outcome, run_command_line

CONFIG = """config:
  edition: 3
streams:
  lists:
    auto_subscribe: true
    query: SELECT * FROM lists WHERE owner_id = auth.user_id()
"""
RULES = """bucket_definitions:
  mine:
    # Of one owner.
    parameters: SELECT request.user_id() AS owner
    data:
      - SELECT * FROM lists WHERE owner_id = bucket.owner
"""


@pytest.fixture(scope="module")
def database(postgres_server: PostgresServer) -> Generator[ScratchDatabase]:
    """A source; the tests change its table only by adding columns."""
    found = postgres_server.create()
    found.execute("CREATE TABLE lists (id uuid PRIMARY KEY, name text, done bool, owner_id text, _secret text)")
    yield found
    postgres_server.drop(found)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "powersync").mkdir()
    (tmp_path / "powersync/sync-config.yaml").write_text(CONFIG)
    return tmp_path


def schema(folder: Path, *arguments: str, output: str = "python", path: str = "schema.py") -> Outcome:
    return run_command_line(folder, "generate", "schema", "--output", output, "--output-path", path, *arguments)


@pytest.mark.requirement(199)
@pytest.mark.parametrize("output", ["python", "ts"])
def test_a_check_ends_with_1_where_the_file_is_out_of_date(
    output: str, folder: Path, database: ScratchDatabase
) -> None:
    from_source = ("--source-uri", database.dsn)
    missing = schema(folder, *from_source, "--check", output=output)
    assert (missing.code, missing.out) == (1, "")
    assert "schema.py does not exist" in missing.err
    assert schema(folder, *from_source, output=output).code == 0
    assert schema(folder, *from_source, "--check", output=output).out == "schema.py is up to date.\n"
    before = (folder / "schema.py").read_bytes()
    changed = CONFIG.replace("SELECT *", "SELECT id, name")
    (folder / "powersync/sync-config.yaml").write_text(changed)
    stale = schema(folder, *from_source, "--check", output=output)
    assert (stale.code, stale.out) == (1, "")
    assert "schema.py is out of date" in stale.err
    assert ("the sync config has changed" in stale.err) is (output == "python")  # the others have no head
    assert (folder / "schema.py").read_bytes() == before


def test_a_check_finds_columns_that_came_later(folder: Path, database: ScratchDatabase) -> None:
    from_source = ("--source-uri", database.dsn)
    assert schema(folder, *from_source).code == 0
    database.execute("ALTER TABLE lists ADD COLUMN added_later int4")
    stale = schema(folder, *from_source, "--check")
    assert stale.code == 1
    assert "the columns of the source have changed" in stale.err


@pytest.mark.requirement(199)
def test_offline_columns_are_text_and_a_check_compares_the_hash(folder: Path, database: ScratchDatabase) -> None:
    alone = schema(folder, "--offline", path="-")
    assert alone.code == 0
    assert 'Column.text("owner_id")' in alone.out
    assert "its columns are taken for text" in alone.err
    assert "columns of * " in alone.err
    assert 'Column.text("done")' not in alone.out  # nothing names it
    assert schema(folder, "--source-uri", database.dsn).code == 0
    checked = schema(folder, "--offline", "--check")
    assert (checked.code, "were not compared" in checked.out) == (0, True)
    (folder / "powersync/sync-config.yaml").write_text(CONFIG.replace("owner_id =", "name ="))
    assert schema(folder, "--offline", "--check").code == 1


def test_standard_output_has_the_schema_and_nothing_else(folder: Path, database: ScratchDatabase) -> None:
    printed = schema(folder, "--source-uri", database.dsn, path="-")
    assert (printed.code, printed.err) == (0, "")
    assert schema(folder, "--source-uri", database.dsn).code == 0
    assert printed.out == (folder / "schema.py").read_text()
    assert 'Column.boolean("done")' in printed.out


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--offline", "--source-uri", "postgresql://x"), 2, "exclude each other"),
        (("--check", "--offline", "--output-path", "-"), 2, "--check needs the path of a file"),
        (("--source-uri", "mysql://user:hidden@host/db"), 1, "no address of a Postgres"),
        (("--source-uri", "postgresql://user:hidden@127.0.0.1:1/db"), 1, "The source cannot be asked"),
        (("--offline", "--sync-config-file-path", "nowhere.yaml"), 1, "No active sync config found"),
    ],
)
def test_a_wrong_line_is_explained(arguments: tuple[str, ...], code: int, says: str, folder: Path) -> None:
    done = schema(folder, *arguments)
    assert (done.code, done.out) == (code, "")
    assert says in done.err
    assert "hidden" not in done.err
    assert not (folder / "schema.py").exists()


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ({"diagnostics": {"connections": []}}, "No active sync config found"),
        (
            {"diagnostics": {"active_sync_rules": {"content": CONFIG}}, "schema": {"tables": 1}},
            "is no schema of a source",
        ),
        (
            {"diagnostics": {"active_sync_rules": {"content": CONFIG}}, "schema": None},
            "did not answer as a sync service",
        ),
    ],
)
def test_a_service_without_a_config_or_with_another_answer_is_told(
    answers: dict[str, Any], says: str, tmp_path: Path
) -> None:
    (tmp_path / "powersync").mkdir()
    with answering(answers) as url:
        done = run_command_line(
            tmp_path,
            *("generate", "schema", "--output", "sql", "--output-path", "x.sql", "--api-url", url),
            PS_ADMIN_TOKEN="hidden",
        )
    assert (done.code, done.out) == (1, "")
    assert says in done.err
    assert "hidden" not in done.err


@contextmanager
def answering(answers: dict[str, Any]) -> Generator[str]:
    """A server that gives these answers to the admin API's questions; its address."""

    class Admin(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            body = json.dumps({"data": answers[self.path.rpartition("/")[2]]}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
            """Nothing: the tests' output is read by people."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Admin) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_migrating_can_be_checked_before(folder: Path) -> None:
    (folder / "in.yaml").write_text(RULES)
    checked = run_command_line(folder, "migrate", "sync-rules", "--input-file", "in.yaml", "--check")
    assert (checked.code, checked.out) == (1, "")
    assert "can be migrated" in checked.err
    assert "Note: line 6" in checked.err or "Note: line 2" in checked.err
    assert (folder / "in.yaml").read_text() == RULES
    assert run_command_line(folder, "migrate", "sync-rules", "--input-file", "in.yaml").code == 0
    assert "# Of one owner." in (folder / "in.yaml").read_text()
    again = run_command_line(folder, "migrate", "sync-rules", "--input-file", "in.yaml", "--check")
    assert (again.code, again.out) == (0, "in.yaml has streams already.\n")


def test_with_the_source_a_star_is_spelled_out(folder: Path, database: ScratchDatabase) -> None:
    (folder / "in.yaml").write_text(RULES)
    line = ("migrate", "sync-rules", "--input-file", "in.yaml", "--output-file", "-", "--source-uri", database.dsn)
    done = run_command_line(folder, *line)
    assert done.code == 0, done.err
    compile_sync_config(done.out)
    query = yaml.safe_load(done.out)["streams"]["mine"]["query"]
    assert "_secret" not in query
    assert "owner_id" in query
    assert "*" not in query


def test_migrate_alone_is_still_that_of_the_storage(folder: Path) -> None:
    shown = run_command_line(folder, "migrate", "--help")
    assert "bucket storage" in shown.out
    assert "migrate sync-rules" in shown.out
