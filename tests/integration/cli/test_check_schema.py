"""`check schema` and `check policies` against a real Postgres, and docs/howto/check-schema.md as it stands there."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import yaml

from syncline.cli.exit_codes import EXIT_FAILED, EXIT_OK, EXIT_USAGE
from syncline.cli.schema_check.findings import Rule
from syncline.client import Column, Schema, SyncDatabase, Table
from syncline.testing.postgres import PostgresServer, ScratchDatabase
from syncline.testing.service_process import ServiceProcess
from tests.support.command_line import Outcome, run_command_line

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/howto/check-schema.md").read_text("utf-8")
TABLES = "CREATE TABLE lists (id text PRIMARY KEY, name text NOT NULL, done boolean, owner_id text NOT NULL)"
LISTS = [("name", "TEXT"), ("done", "INTEGER"), ("owner_id", "TEXT")]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def source(postgres_server: PostgresServer) -> Generator[ScratchDatabase]:
    database = postgres_server.create()
    database.execute(TABLES)
    yield database
    postgres_server.drop(database)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of the page: the app's schema, its backend, and the sync config."""
    for name, text in zip(("app_schema.py", "app_backend.py"), blocks("python"), strict=True):
        (tmp_path / name).write_text(text)
        monkeypatch.delitem(sys.modules, name.removesuffix(".py"), raising=False)
    (tmp_path / "powersync").mkdir()
    (tmp_path / "powersync/sync-config.yaml").write_text(blocks("yaml")[0])
    # The command looks for modules in the folder where it runs: that folder must not stay for other tests.
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return tmp_path


def schema_file(project: Path, columns: list[tuple[str, str]], **more: Any) -> str:
    listed = [{"name": name, "type": kind} for name, kind in columns]
    (project / "schema.json").write_text(json.dumps({"tables": [{"name": "lists", "columns": listed, **more}]}))
    return "schema.json"


def check(project: Path, client: str, source: ScratchDatabase, *more: str) -> tuple[Outcome, list[tuple[str, str]]]:
    done = run_command_line(
        project, "check", "schema", "--client", client, "--source", source.dsn, "--output", "json", *more
    )
    value = json.loads(done.out)
    return done, [(finding["rule"], finding["column"] or finding["table"]) for finding in value["drift"]]


@pytest.mark.requirement(161, 162)
def test_the_guide_runs(project: Path, source: ScratchDatabase) -> None:
    """A service takes the place of `--source` there; its lines about other files run with those files."""
    schema_file(project, LISTS)

    async def open_once() -> None:
        schema = Schema([Table("lists", [Column.text("name"), Column.integer("done"), Column.text("owner_id")])])
        async with SyncDatabase(project / "app.db", schema=schema):
            pass

    asyncio.run(open_once())
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    assert len(lines) == 5
    for line in lines:
        asks = ["--source", source.dsn] if " schema " in line else []
        done = run_command_line(project, *line.split()[1:], *asks)
        assert done.code == EXIT_OK, done.text


@pytest.mark.requirement(162)
def test_the_workflow_of_the_guide_and_the_hooks_run_as_written(project: Path, source: ScratchDatabase) -> None:
    _, workflow, hooks = (yaml.safe_load(block) for block in blocks("yaml"))
    steps = [step["run"] for step in workflow["jobs"]["check"]["steps"] if "run" in step]
    offered = {hook["id"]: hook for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))}
    commands = [step for step in steps if step.startswith("syncline check")]
    used = hooks["repos"][0]["hooks"]
    commands += [f"{offered[hook['id']]['entry']} {' '.join(hook['args'])}" for hook in used]
    assert len(commands) == 4
    for command in commands:
        done = run_command_line(project, *command.replace('"$SOURCE"', source.dsn).split()[1:])
        assert done.code == EXIT_OK, (command, done.text)
    assert any("psql" in step for step in steps)


def test_the_guide_names_every_rule() -> None:
    named = {name for row in PAGE.splitlines() if row.startswith("| `") for name in re.findall(r"`([a-z-]+)`", row)}
    assert {rule.value for rule in Rule} <= named


@pytest.mark.requirement(161)
@pytest.mark.parametrize(
    ("columns", "more", "drift"),
    [
        (LISTS, {}, []),
        ([("name", "TEXT"), ("owner_id", "TEXT")], {}, [("column-not-on-device", "done")]),
        ([*LISTS, ("colour", "TEXT")], {}, [("column-never-arrives", "colour")]),
        ([("name", "TEXT"), ("done", "TEXT"), ("owner_id", "TEXT")], {}, [("type-differs", "done")]),
        ([("name", "INTEGER"), ("done", "INTEGER"), ("owner_id", "TEXT")], {}, [("type-differs", "name")]),
        (LISTS, {"local_only": True}, [("table-not-on-device", "lists")]),
    ],
)
def test_each_drift_ends_with_1_and_stands_in_the_json(
    project: Path, source: ScratchDatabase, columns: list[tuple[str, str]], more: dict[str, Any], drift: list[Any]
) -> None:
    done, found = check(project, schema_file(project, columns, **more), source)
    assert (found, done.code) == (drift, EXIT_FAILED if drift else EXIT_OK)


@pytest.mark.requirement(163)
def test_a_null_of_the_source_is_advice_until_it_is_allowed_and_owners_are_free(
    project: Path, source: ScratchDatabase
) -> None:
    done, _ = check(project, "app_schema:SCHEMA", source)
    assert [(entry["rule"], entry["column"]) for entry in json.loads(done.out)["advice"]] == [("null-differs", "name")]
    assert done.code == EXIT_OK
    assert check(project, "app_schema:SCHEMA", source, "--strict")[0].code == EXIT_FAILED
    allowed, _ = check(project, "app_schema:SCHEMA", source, "--strict", "--allow", "null-differs:lists.name")
    assert allowed.code == EXIT_OK
    assert json.loads(allowed.out)["allowed"] == 1


def test_a_running_service_tells_the_same_as_its_source(project: Path, source: ScratchDatabase) -> None:
    """Its columns always; NULL and unique indexes where its connection has debug_api."""
    source.execute("CREATE PUBLICATION powersync FOR ALL TABLES")
    connection = {"type": "postgresql", "uri": source.dsn, "sslmode": "disable", "debug_api": True}
    config = (project / "powersync/sync-config.yaml").read_text()
    service = ServiceProcess(
        project / "service",
        dsn=source.dsn,
        sync_config=config,
        api={"tokens": ["check-admin-token"]},
        replication={"connections": [connection]},
    )
    command = ["check", "schema", "--client", "app_schema:SCHEMA", "--output", "json"]
    with service:
        asked = run_command_line(project, *command, "--api-url", service.base_url, PS_ADMIN_TOKEN="check-admin-token")
    directly = run_command_line(project, *command, "--source", source.dsn)
    assert asked.code == EXIT_OK, asked.text
    assert json.loads(asked.out) == json.loads(directly.out)
    assert json.loads(asked.out)["notes"] == []
    source.execute("DROP PUBLICATION powersync")


@pytest.mark.requirement(138)
def test_a_backend_that_fills_no_owner_fails(project: Path) -> None:
    path = project / "app_backend.py"
    path.write_text(path.read_text().replace('owner="owner_id"', "owner=None"))
    done = run_command_line(project, "check", "policies", "--backend", "app_backend:backend")
    assert done.code == EXIT_FAILED
    assert 'TablePolicy(owner="owner_id")' in done.out


@pytest.mark.parametrize(
    ("client", "says"),
    [
        ("nowhere.json", "there is no file"),
        ("no_module:SCHEMA", "cannot be imported"),
        ("app_schema:Column", "not a Schema"),
        ("broken.json", "cannot be read as JSON"),
        ("other.json", "is no schema"),
        ("text.db", "cannot be read as a device's database"),
        ("empty.db", "has no tables of a device's schema"),
    ],
)
def test_a_schema_that_cannot_be_read_is_told(project: Path, client: str, says: str) -> None:
    (project / "broken.json").write_text("{")
    (project / "other.json").write_text('{"tables": [{"name": "x", "columns": [{"name": "y", "type": "BLOB"}]}]}')
    (project / "text.db").write_text("This is no database, and long enough to be looked at." * 20)
    (project / "empty.db").touch()
    done = run_command_line(project, "check", "schema", "--client", client, "--offline")
    assert done.code == EXIT_FAILED
    assert says in done.err
    both = ("--offline", "--source", "postgresql://x")
    assert run_command_line(project, "check", "schema", "--client", client, *both).code == EXIT_USAGE
