"""What `init` writes: it holds no secret, starts as it is, and passes `validate`; its programs run."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import logging
import re
import secrets
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import yaml

from syncline.cli.json_schemas import service_config_schema
from syncline.cli.project_templates import TEMPLATES, template_files
from syncline.service.config import load_config
from syncline.service.sync_configs import configured_sync_config
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.service_process import ServiceProcess
from tests.support.command_line import run_command_line

START_TIMEOUT_S = 60.0  # seconds, on a busy machine
TABLES = "CREATE TABLE lists (id uuid PRIMARY KEY, name text, owner_id text);"
TODOS = (
    "CREATE TABLE todos (id uuid PRIMARY KEY, list_id uuid, title text); CREATE PUBLICATION powersync FOR ALL TABLES"
)
VARIABLES = {"PS_SSLMODE": "disable", "PS_JWT_KEY": secrets.token_urlsafe(32), "PS_ADMIN_TOKEN": "an-admin-token"}
TEMPLATES_STARTED = (
    "minimal",
    "fastapi",
)  # `full` differs from the first in comments alone, `tui` from the second in a program


@pytest.mark.requirement(193, 198, 214)
@pytest.mark.parametrize("template", TEMPLATES_STARTED)
def test_a_new_project_starts_and_passes_validate(
    template: str, postgres_database: ScratchDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = run_command_line(tmp_path, "init", "--template", template)
    assert made.code == 0, made.err
    tables = tmp_path / "tables.sql"
    postgres_database.execute(tables.read_text() if tables.exists() else TABLES + TODOS)
    for name, value in (VARIABLES | {"PS_SOURCE_URI": postgres_database.dsn}).items():
        monkeypatch.setenv(name, value)
    assert run_command_line(tmp_path, "validate").code == 0
    with _service(tmp_path / "powersync") as service:
        assert run_command_line(tmp_path, "link", "self-hosted", "--api-url", service.base_url).code == 0
        status = run_command_line(tmp_path, "status", "--wait", "30", "--output", "json")
        assert status.code == 0, status.text
        assert "active_sync_rules" in json.loads(status.out)
        checked = run_command_line(tmp_path, "validate", "--output", "json")
        assert checked.code == 0, checked.text
        assert not [test for test in json.loads(checked.out)["tests"] if "Not tested" in str(test)]


@contextlib.contextmanager
def _service(directory: Path) -> Generator[ServiceProcess]:
    """The service of a project, as it was written but for its port."""
    text = (directory / "service.yaml").read_text()
    config = (directory / "sync-config.yaml").read_text()
    service = ServiceProcess(directory, dsn="", sync_config=config)
    (directory / "service.yaml").write_text(text.replace("port: 8080", f"port: {service.port}"))
    service.start(timeout_s=START_TIMEOUT_S)
    try:
        yield service
    finally:
        service.stop()


def test_the_full_template_passes_validate(tmp_path: Path) -> None:
    assert run_command_line(tmp_path, "init", "--template", "full").code == 0
    done = run_command_line(tmp_path, "validate", "--offline")
    assert done.code == 0, done.text


@pytest.mark.requirement(202)
@pytest.mark.parametrize("template", TEMPLATES)
def test_no_template_holds_a_secret(template: str) -> None:
    secret_keys = re.compile(
        r"^[^#\n]*\b(password|uri|k|supabase_jwt_secret|client_private_key)\s*:\s*(.*)$", re.MULTILINE
    )
    for name, text in template_files(template).items():
        if name.endswith(".yaml"):
            for key, value in secret_keys.findall(text):
                assert value.lstrip().startswith("!env PS_"), f"{name}: {key}"


def test_the_full_template_names_every_setting_that_does_something() -> None:
    """All but those that are read for the sake of the reference's files alone."""
    text = template_files("full")["powersync/service.yaml"]
    named = set(re.findall(r"(\w+):", text))
    ignored = {"sync_rules", "parameters", "batch_limits", "default_storage_version", "connect_timeout"}
    schema = service_config_schema()
    top = set(schema["$defs"]["ServiceSettings"]["properties"])
    assert top - named - ignored == set()
    unknown = [key for key in _keys_with_comments_taken_away(text) if key not in _all_keys(schema)]
    assert unknown == []


def _keys_with_comments_taken_away(text: str) -> set[str]:
    """Keys of the template with every setting in a comment switched on."""
    return {match[1] for line in text.splitlines() if (match := re.match(r"\s*(?:# )?\s*(?:- )?(\w+):(?: |$)", line))}


def _all_keys(schema: dict[str, Any]) -> set[str]:
    keys = {key for definition in schema["$defs"].values() for key in definition.get("properties", {})}
    return keys | {"_type", "deployment", "in"}


@pytest.mark.requirement(220)
def test_the_backend_of_a_template_can_be_imported(
    postgres_database: ScratchDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_command_line(tmp_path, "init", "--template", "tui").code == 0
    for name, value in (VARIABLES | {"PS_SOURCE_URI": postgres_database.dsn}).items():
        monkeypatch.setenv(name, value)
    backend = _module(tmp_path / "backend.py")
    assert "/api/data" in backend.app.openapi()["paths"]
    checked = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--select", "E,F,I", "--line-length", "120", "backend.py", "app.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


async def test_the_terminal_app_of_a_template_takes_a_todo_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from syncline.client import SyncDatabase
    from syncline.client.textual import provide_database

    (tmp_path / "app.py").write_text(template_files("tui")["app.py"])
    module = _module(tmp_path / "app.py")
    rows = []
    async with SyncDatabase(tmp_path / "alice.db", schema=module.SCHEMA) as db:
        app = module.TodoApp()
        provide_database(app, db)
        async with app.run_test() as pilot:
            await pilot.press(*"milk", "enter")
            async with asyncio.timeout(20):
                async for rows in db.watch("SELECT title FROM todos"):
                    if rows:
                        break
    assert [row["title"] for row in rows] == ["milk"]


def _module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"template_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.requirement(170)
@pytest.mark.parametrize("template", TEMPLATES)
def test_a_new_project_has_streams_of_the_newest_edition(
    template: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = template_files(template)["powersync/sync-config.yaml"]
    document = yaml.safe_load(text)
    assert document["config"]["edition"] == 3
    assert document["streams"]
    assert "bucket_definitions" not in document
    assert _told_of(text, tmp_path, caplog) == []


@pytest.mark.requirement(170)
def test_sync_rules_go_on_to_work_and_their_author_is_told_of_streams(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rules = "bucket_definitions:\n  all:\n    data: [SELECT * FROM lists]\n"
    [note] = _told_of(rules, tmp_path, caplog)
    assert "syncline migrate sync-rules" in note.getMessage()
    assert note.levelno == logging.INFO  # nothing is wrong with them


def _told_of(sync_config: str, folder: Path, caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What the service says of sync rules when it takes a sync config."""
    (folder / "sync-config.yaml").write_text(sync_config)
    (folder / "service.yaml").write_text(template_files("minimal")["powersync/service.yaml"])
    environment = VARIABLES | {"PS_SOURCE_URI": "postgresql://app@db.example/app"}
    service = load_config(path=Path("service.yaml"), environment=environment, working_directory=folder)
    with caplog.at_level(logging.INFO, logger="syncline.service.sync_configs"):
        wanted = configured_sync_config(service)
    assert wanted is not None
    assert wanted.plan is not None
    return [record for record in caplog.records if getattr(record, "event", "") == "sync_config.legacy"]
